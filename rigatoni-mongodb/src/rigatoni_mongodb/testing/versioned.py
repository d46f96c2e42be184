"""A scripted server with a history: it reads at a cluster time as mongod does, or cannot, as older servers.

    async with VersionedServer() as server:
        server.insert("shop.orders", {"_id": 1})
        ...  # a client of server.uri reads and watches; tests change documents before any command: `before`

It knows `find`, `aggregate`, `getMore`, `listCollections` and change streams, as far as snapshots use them. How it
replies was recorded from mongod 5.0.7 and 7.1 (tests/recordings): the cluster time of a read in every reply; codes 239,
246, 72 and 175; and for a name that does not exist any more an empty reply without a cluster time.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal
from uuid import UUID

import attrs
import bson
from bson.binary import UUID_SUBTYPE, Binary
from bson.max_key import MaxKey
from bson.timestamp import Timestamp

from rigatoni_mongodb.testing.bson_order import order
from rigatoni_mongodb.testing.expressions import matches, run
from rigatoni_mongodb.testing.wire import Action, Fail, ScriptedServer

START = 1_900_000_000

Document = dict[str, Any]

TimeReads = Literal["5.0", "7.0", "ignored", "refused"]
"""How the server reads at a time: with the catalog of now, with the catalog of the time, as of now, or not at all."""


@attrs.define(eq=False)
class Contents:
    """A collection: every version of its documents, by their key and the number of the moment."""

    uuid: UUID
    since: int  # when it was created or last renamed
    options: Mapping[str, Any]
    versions: dict[Any, list[tuple[int, Document | None]]] = attrs.field(factory=dict)

    def at(self, moment: int) -> list[Document]:
        """Return the documents as of this moment, in the order of their ids."""
        newest = (
            next((document for time, document in reversed(each) if time <= moment), None)
            for _, each in sorted(self.versions.items())
        )
        return [document for document in newest if document is not None]


@attrs.define
class Cursor:
    """An open cursor: `more` returns its next documents, at most as many as asked for, and whether there are others."""

    namespace: str
    more: Callable[[int], tuple[list[Document], bool]]
    read_time: Timestamp | None = None
    contents: Contents | None = None
    is_stream: bool = False
    index: int = 0  # of a stream's next event


@attrs.define(kw_only=True)
class VersionedServer(ScriptedServer):
    """A server whose cluster time is the number of its last change.

    Attributes:
        time_reads: How it reads at a time.
        opaque_tokens: Whether resume tokens hide their time.
        history_from: The oldest moment that can be read.
        before: Called before each of these commands, with the command: tests change documents in it.
        failing: Returns the error of a command, if it fails.
        shard_keys: What `config.collections` contains, by namespace.
        reads: Every `find`, `aggregate` and `getMore` received, change streams aside.
    """

    time_reads: TimeReads = "5.0"
    opaque_tokens: bool = False
    history_from: int = 0
    before: Callable[[Document], None] = lambda command: None
    failing: Callable[[Document], Fail | None] = lambda command: None
    shard_keys: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    reads: list[Document] = attrs.field(factory=list, init=False)
    _moment: int = attrs.field(default=1, init=False)
    _catalog: list[tuple[int, dict[str, Contents]]] = attrs.field(factory=lambda: [(0, {})], init=False)
    _log: list[tuple[int, Document]] = attrs.field(factory=list, init=False)  # events by their moment
    _open_cursors: dict[int, Cursor] = attrs.field(factory=dict, init=False)
    _uuids: Iterator[int] = attrs.field(factory=lambda: itertools.count(1), init=False)

    # ------------------------------------------------------------------------------------------------ what tests do
    @property
    def moment(self) -> int:
        """The present moment."""
        return self._moment

    def create(self, namespace: str, **options: Any) -> None:
        """Create a collection."""
        self._moment += 1
        self._name(namespace, Contents(UUID(int=next(self._uuids)), self._moment, options))

    def insert(self, namespace: str, document: Document, *, shard: int = 0) -> None:
        """Insert a document; on another shard, its `_id` may exist already."""
        self._write(namespace, "insert", document["_id"], document, shard)

    def replace(self, namespace: str, document: Document) -> None:
        """Replace the document with this `_id`."""
        self._write(namespace, "replace", document["_id"], document)

    def update(self, namespace: str, id_: Any, **fields: Any) -> None:
        """Set fields of a document: its event is a delta."""
        (old,) = (each for each in self.documents(namespace) if order(each["_id"]) == order(id_))
        self._write(namespace, "update", id_, {**old, **fields}, fields=fields)

    def delete(self, namespace: str, id_: Any) -> None:
        """Delete a document."""
        self._write(namespace, "delete", id_, None)

    def drop(self, namespace: str) -> None:
        """Drop a collection."""
        self._moment += 1
        self._name(namespace, None)
        self._record("drop", namespace)

    def rename(self, namespace: str, target: str) -> None:
        """Rename a collection, in place of another one if there is one."""
        self._moment += 1
        contents = self._names[namespace]
        contents.since = self._moment
        self._name(namespace, None)
        self._name(target, contents)
        self._record("rename", namespace, to=_names_of(target))

    def documents(self, namespace: str, moment: int | None = None) -> list[Document]:
        """Return the documents as of a moment, in order; by default, of now."""
        contents = self._names_at(self._moment if moment is None else moment).get(namespace)
        return contents.at(self._moment if moment is None else moment) if contents else []

    def time(self, moment: int | None = None) -> Timestamp:
        """Return the cluster time of a moment; by default, of now."""
        return Timestamp(START, self._moment if moment is None else moment)

    # ------------------------------------------------------------------------------------------------------- history
    @property
    def _names(self) -> dict[str, Contents]:
        return self._catalog[-1][1]

    def _names_at(self, moment: int) -> dict[str, Contents]:
        return next(names for time, names in reversed(self._catalog) if time <= moment)

    def _name(self, namespace: str, contents: Contents | None) -> None:
        names = {name: each for name, each in self._names.items() if name != namespace}
        self._catalog.append((self._moment, names | ({namespace: contents} if contents else {})))

    def _write(
        self,
        namespace: str,
        operation: str,
        id_: Any,
        document: Document | None,
        shard: int = 0,
        fields: Document | None = None,
    ) -> None:
        if namespace not in self._names:
            self.create(namespace)
        self._moment += 1
        self._names[namespace].versions.setdefault((order(id_), shard), []).append((self._moment, document))
        content: Document = {"fullDocument": document} if operation in ("insert", "replace") else {}
        if operation == "update":
            content = {"updateDescription": {"updatedFields": fields, "removedFields": []}}
        self._record(operation, namespace, documentKey={"_id": id_}, **content)

    def _record(self, operation: str, namespace: str, **content: Any) -> None:
        event: Document = {"_id": self._resume_token(self._moment, len(self._log)), "operationType": operation}
        event |= {"clusterTime": self.time(), "ns": _names_of(namespace), **content}
        self._log.append((self._moment, event))

    def _resume_token(self, moment: int, index: int) -> Document:
        if self.opaque_tokens:
            return {"_data": f"opaque{index:08d}"}
        return {"_data": f"82{START:08X}{moment:08X}2B{index:08X}"}

    # ------------------------------------------------------------------------------------------------------ commands
    def _respond(self, command: Document) -> tuple[Action, bytes]:
        self.operation_time = self.time()
        name = next(iter(command))
        handlers: dict[str, Callable[[Document], Document]] = {
            "find": self._find,
            "aggregate": self._aggregate,
            "getMore": self._get_more,
            "listCollections": self._list,
            "collStats": self._stats,
        }
        if name not in handlers:
            return super()._respond(command)
        self.before(command)
        if failure := self.failing(command):
            return None, bson.encode(failure.reply())
        response = handlers[name](command)
        return None, bson.encode({"ok": 1.0, **response, "operationTime": self.time()})

    def _list(self, command: Document) -> Document:
        condition = {name: value for name, value in command.get("filter", {}).items() if name != "type"}
        found = [
            {
                "name": name.partition(".")[2],
                "type": "collection",
                "options": dict(each.options),
                "info": {"uuid": Binary(each.uuid.bytes, UUID_SUBTYPE)},
            }
            for name, each in self._names.items()
            if name.startswith(f"{command['$db']}.") and _listed(name.partition(".")[2], condition.get("name"))
        ]
        return {"cursor": {"id": bson.Int64(0), "ns": f"{command['$db']}.$cmd", "firstBatch": found}}

    def _stats(self, command: Document) -> Document:
        documents = self.documents(f"{command['$db']}.{command['collStats']}")
        return {"size": sum(len(bson.encode(each)) for each in documents), "count": len(documents)}

    def _find(self, command: Document) -> Document:
        namespace = f"{command['$db']}.{command['find']}"
        if namespace == "config.collections":
            key = self.shard_keys.get(command["filter"]["_id"])
            found = [{"_id": command["filter"]["_id"], "key": key}] if key else []
            return {"cursor": {"id": bson.Int64(0), "ns": namespace, "firstBatch": found}}
        self.reads.append(command)
        low, high = command.get("min"), command.get("max")
        if low and high and order(low["_id"]) >= order(high["_id"]):
            return Fail(51175, message="The value provided for the key pattern is invalid").reply()

        def chosen(documents: list[Document]) -> list[Document]:
            found = [each for each in documents if _inside(each["_id"], low, high)]
            found = [each for each in found if matches(each, command.get("filter", {}))]
            found = found[:: command.get("sort", {}).get("_id", 1)][command.get("skip", 0) :]
            found = found[: command.get("limit") or None]
            return [{"_id": each["_id"]} for each in found] if "projection" in command else found

        return self._open_read(namespace, command, chosen)

    def _aggregate(self, command: Document) -> Document:
        namespace = f"{command['$db']}.{command['aggregate']}"
        stages = command["pipeline"]
        if "$changeStream" in stages[0]:
            return self._open_stream(namespace, command)
        self.reads.append(command)
        return self._open_read(namespace, command, lambda documents: run(stages, documents))

    def _open_read(
        self, namespace: str, command: Document, chosen: Callable[[list[Document]], list[Document]]
    ) -> Document:
        at = command.get("readConcern", {}).get("atClusterTime")
        names = self._names_at(at.inc) if at and self.time_reads == "7.0" else self._names
        contents = names.get(namespace)
        if at and (failure := self._failure_at(at, contents)):
            return failure.reply()
        if contents is None:
            return {"cursor": {"id": bson.Int64(0), "ns": namespace, "firstBatch": []}}
        as_of = at.inc if at and self.time_reads != "ignored" else self._moment
        found = None if command.get("readConcern", {}).get("level") == "majority" else chosen(contents.at(as_of))
        last: list[Any] = []  # the id of the last document that was sent

        def more(size: int) -> tuple[list[Document], bool]:
            """Without a time, each reply is as of its own moment, from where the one before it ended."""
            nonlocal found
            rest = found
            if rest is None:
                rest = [each for each in chosen(contents.at(self._moment)) if not last or _key(each) > last[0]]
            else:
                found = rest[size:]
            last[:] = [_key(each) for each in rest[:size]][-1:] or last
            return rest[:size], len(rest) > size

        read_time = at and (self.time() if self.time_reads == "ignored" else at)
        return self._opened(namespace, Cursor(namespace, more, read_time, contents), command)

    def _failure_at(self, at: Timestamp, contents: Contents | None) -> Fail | None:
        if self.time_reads == "refused" or at > self.time():
            return Fail(72, message="readConcern atClusterTime value must not be greater than the current clusterTime")
        if self.time_reads == "ignored" or contents is None:
            return None
        if at.inc < self.history_from:
            return Fail(239, message="Read timestamp is older than the oldest available timestamp.")
        if contents.options.get("capped") or (self.time_reads == "5.0" and contents.since > at.inc):
            return Fail(246, message="Unable to read from a snapshot due to pending collection catalog changes")
        return None

    def _opened(self, namespace: str, cursor: Cursor, command: Document) -> Document:
        size = command.get("batchSize", command.get("cursor", {}).get("batchSize", 101))
        documents, others = cursor.more(size) if size else ([], True)
        number = next(self._numbers)
        if others and not command.get("singleBatch"):
            self._open_cursors[number] = cursor
        else:
            number = 0
        return self._cursor_reply(number, namespace, "firstBatch", documents, cursor)

    def _get_more(self, command: Document) -> Document:
        number = int(command["getMore"])
        cursor = self._open_cursors.get(number)
        if cursor is None:
            return Fail(43, message="cursor not found").reply()
        if not cursor.is_stream:
            self.reads.append(command)
        moved = cursor.contents is not None and self._names.get(cursor.namespace) is not cursor.contents
        if moved and self.time_reads != "7.0":
            return Fail(175, message="collection dropped").reply()
        documents, others = cursor.more(min(self.reply_events, command.get("batchSize") or self.reply_events))
        if not others:
            del self._open_cursors[number]
            number = 0
        return self._cursor_reply(number, cursor.namespace, "nextBatch", documents, cursor)

    def _cursor_reply(
        self, number: int, namespace: str, name: str, documents: list[Document], cursor: Cursor
    ) -> Document:
        reply: Document = {"id": bson.Int64(number), "ns": namespace, name: documents}
        if cursor.is_stream:
            reply["postBatchResumeToken"] = self._reached(cursor)
        elif cursor.read_time is not None:
            reply["atClusterTime"] = cursor.read_time
        return {"cursor": reply}

    # ------------------------------------------------------------------------------------------------ change streams
    def _open_stream(self, namespace: str, command: Document) -> Document:
        (stage, *stages) = command["pipeline"]
        options = stage["$changeStream"]
        index = len(self._log)
        if start := options.get("startAtOperationTime"):
            index = next((place for place, (time, _) in enumerate(self._log) if time >= start.inc), index)
        elif token := options.get("startAfter") or options.get("resumeAfter"):
            index = next(place + 1 for place, (_, event) in enumerate(self._log) if event["_id"] == token)
        database, _, collection = namespace.partition(".")

        def more(size: int) -> tuple[list[Document], bool]:
            if cursor.index == len(self._log):
                self._moment += 1  # as an idle server's clock advances
            found: list[Document] = []
            ends = False
            while not found and cursor.index < len(self._log):  # it waits for events, so an empty reply proves the end
                events = [event for _, event in self._log[cursor.index : cursor.index + size]]
                cursor.index += len(events)
                ours = [each for each in events if _concerns(each, database, collection)]
                ends = collection != "1" and any(each["operationType"] in ("drop", "rename") for each in ours)
                found = run(stages, ours)
            return found, not ends

        cursor = Cursor(namespace, more, is_stream=True, index=index)
        return self._opened(namespace, cursor, command)

    def _reached(self, cursor: Cursor) -> Document:
        """Return the token of the last event read, or of the present moment if there is none to read."""
        moment = self._moment if cursor.index == len(self._log) else self._log[cursor.index - 1][0]
        return self._resume_token(moment, cursor.index)


def _key(document: Document) -> tuple[Any, ...]:
    """Return the key of a document, or of a row that the server has made."""
    id_ = document.get("_id")
    return order(id_["document"] if isinstance(id_, Mapping) and "snapshot" in id_ else id_)


def _inside(id_: Any, low: Document | None, high: Document | None) -> bool:
    """Return whether an index scan between two bounds finds this id: without `max` it ends before MaxKey."""
    if low and high is None and isinstance(id_, MaxKey):
        return False
    return (low is None or order(id_) >= order(low["_id"])) and (high is None or order(id_) < order(high["_id"]))


def _names_of(namespace: str) -> Document:
    database, _, collection = namespace.partition(".")
    return {"db": database, "coll": collection}


def _concerns(event: Document, database: str, collection: str) -> bool:
    names = [event["ns"], event.get("to", {})]
    return any(each.get("db") == database and collection in (each.get("coll"), "1") for each in names)


def _listed(name: str, condition: Any) -> bool:
    return condition is None or (
        name == condition if isinstance(condition, str) else re.match(condition["$regex"], name) is not None
    )
