"""A scripted server: speaks OP_MSG to the real PyMongo client, and injects faults.

It serves one change stream, a list of events, as a mongod does: replies of `reply_events`, each with a post-batch
resume token, and resuming by token. `script` lists actions for the next commands, one for each `aggregate` and
`getMore`; None means to serve.

    async with ScriptedServer(events=events, script=[None, Drop(sent=100)]) as server:
        ...  # a client of server.uri opens the stream; its first getMore is cut off

Several servers form a replica set or a sharded cluster: see `together`. It is a fake without queries, authentication
and pipelines, and responds to all other commands with a greeting.
"""

import asyncio
import itertools
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Literal, Self, cast
from uuid import UUID

import attrs
import bson
from bson.binary import UUID_SUBTYPE, Binary
from bson.objectid import ObjectId
from bson.timestamp import Timestamp as BsonTimestamp
from rigatoni_bson.elements import elements

from rigatoni_mongodb.decoding import CODEC

_HEADER = struct.Struct("<iiii")
OP_MSG, OP_COMPRESSED = 2013, 2012


@attrs.frozen
class Fail:
    """Respond with an error: its code, labels and message."""

    code: int
    labels: tuple[str, ...] = ()
    message: str = "scripted"

    def reply(self) -> dict[str, Any]:
        """Return the reply of a server that fails in this way."""
        labels = {"errorLabels": list(self.labels)} if self.labels else {}
        return {"ok": 0.0, "errmsg": self.message, "code": self.code, "codeName": f"Code{self.code}", **labels}


@attrs.frozen
class Drop:
    """Close the connection after `sent` bytes of the response."""

    sent: int = 0


@attrs.frozen
class Corrupt:
    """Respond with bytes of the right length that are not a BSON document."""


@attrs.frozen
class Damage:
    """Serve, but replace the first occurrence of `those` bytes in the reply by `these`."""

    those: bytes
    these: bytes


@attrs.frozen
class Rewrite:
    """Serve, but transform the reply's document with `how`."""

    how: Callable[[bytes], bytes]


@attrs.frozen
class Drip:
    """Serve, but in pieces of `size` bytes, `pause` seconds apart."""

    size: int
    pause: float


@attrs.frozen
class Invalidate:
    """End the cursor, as after an invalidate event."""


Action = Fail | Drop | Corrupt | Damage | Rewrite | Drip | Invalidate | None


@attrs.define(kw_only=True)
class ScriptedServer:
    """A context manager that listens at `uri`, on a free port of the loopback interface, until it exits.

    Attributes:
        events: The events of the stream.
        script: The actions for the next commands.
        reply_events: The maximum number of events in a reply.
        sends_tokens: Whether replies have a post-batch resume token.
        refused: Options of `$changeStream` that the server does not support.
        role: The role that the server reports.
        tags: The tags that it reports.
        fails: Errors in response to other commands, such as killCursors.
        replies: Replies to other commands, by name, made from the command.
        clock_ahead: Seconds by which its clock is ahead.
        poison: Events, by index, that the server cannot send: a reply with one is this error, and ends the cursor.
        compresses: Whether to accept and send zlib.
        version: The version that the server reports.
        collections: The UUIDs of the collections that it lists, by database and name.
        deployment_id: The id of the replica set or cluster; None: the user may not read it.
        commands: Every aggregate and getMore received.
    """

    events: Sequence[bytes] = ()
    script: list[Action] = attrs.field(factory=list)
    reply_events: int = 1000
    sends_tokens: bool = True
    refused: tuple[str, ...] = ()
    role: Literal["primary", "secondary", "mongos"] = "primary"
    tags: Mapping[str, str] = attrs.field(factory=dict)
    fails: Mapping[str, Fail] = attrs.field(factory=dict)
    replies: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = attrs.field(factory=dict)
    clock_ahead: float = 0.0
    poison: Mapping[int, Fail] = attrs.field(factory=dict)
    compresses: bool = False
    version: str = "8.0.4"
    collections: Mapping[str, Mapping[str, UUID]] = attrs.field(factory=dict)
    deployment_id: ObjectId | None = None
    operation_time: BsonTimestamp = attrs.field(factory=lambda: BsonTimestamp(1_900_000_000, 1))
    commands: list[dict[str, Any]] = attrs.field(factory=list, init=False)
    members: tuple[str, ...] = attrs.field(default=(), init=False)
    compressed: int = attrs.field(default=0, init=False)  # compressed messages received
    _port: int = attrs.field(default=0, init=False)
    _server: asyncio.Server | None = attrs.field(default=None, init=False)
    _connections: dict[asyncio.Task[None], asyncio.StreamWriter] = attrs.field(factory=dict, init=False, repr=False)
    _cursors: dict[int, tuple[str, int]] = attrs.field(factory=dict, init=False)
    _numbers: Iterator[int] = attrs.field(factory=lambda: itertools.count(1), init=False)

    @property
    def address(self) -> str:
        """Return host and port."""
        return f"127.0.0.1:{self._port}"

    @property
    def uri(self) -> str:
        """Return the URI for a direct connection."""
        return f"mongodb://{self.address}/?directConnection=true"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**24)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._connections.values():
            writer.transport.abort()  # `close` would wait for data that no client reads
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._connections[task] = writer
        try:
            while True:
                length, request, _, code = _HEADER.unpack(await reader.readexactly(16))
                body = await reader.readexactly(length - 16)
                if code == OP_COMPRESSED:
                    code, body = struct.unpack_from("<i", body)[0], zlib.decompress(body[9:])
                    self.compressed += 1
                command = bson.decode(body[5:], CODEC) if code == OP_MSG else {"hello": 1}
                await self._wait(command)
                action, response = self._respond(command)
                message = _message(request, response, legacy=code != OP_MSG)
                if self.compresses and code == OP_MSG and next(iter(command)) in ("aggregate", "getMore"):
                    message = _compressed(message)
                if isinstance(action, Drop):
                    writer.write(message[: action.sent])
                    await writer.drain()
                    break
                size = action.size if isinstance(action, Drip) else len(message)
                for start in range(0, len(message), size):
                    writer.write(message[start : start + size])
                    await writer.drain()
                    if isinstance(action, Drip):
                        await asyncio.sleep(action.pause)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away
        finally:
            writer.close()
            del self._connections[task]

    async def _wait(self, command: dict[str, Any]) -> None:
        """Wait until it is time to respond to this command; here: not at all."""

    def _respond(self, command: dict[str, Any]) -> tuple[Action, bytes]:
        name = next(iter(command))
        if name in self.fails:
            return None, bson.encode(self.fails[name].reply())
        if name in self.replies:
            return None, bson.encode({**self.replies[name](command), "ok": 1.0})
        if name in ("listCollections", "listDatabases", "replSetGetConfig", "find"):
            return None, bson.encode(self._describe(name, command["$db"]))
        if name not in ("aggregate", "getMore"):
            return None, bson.encode({**self._hello(), "ok": 1.0, "operationTime": self.operation_time})
        self.commands.append(command)
        action = self.script.pop(0) if self.script else None
        if isinstance(action, Fail):
            return action, bson.encode(action.reply())
        if isinstance(action, Corrupt):
            return action, struct.pack("<i", 64) + b"\xff" * 60
        if isinstance(action, Drop):
            return action, bson.encode({"padding": "x" * 1000})
        if name == "aggregate":
            response = self._open(command)
        else:
            response = self._more(command, ended=isinstance(action, Invalidate))
        match action:
            case Damage(those, these):
                response = response.replace(those, these, 1)
            case Rewrite(how):
                response = how(response)
        return action, response

    def _open(self, command: dict[str, Any]) -> bytes:
        stage = command["pipeline"][0]["$changeStream"]
        for option in self.refused:
            if option in stage:
                return bson.encode(Fail(40415, message=f"BSON field '$changeStream.{option}' is unknown").reply())
        token = stage.get("startAfter") or stage.get("resumeAfter")
        try:
            index = self._index(token) if token else 0 if "startAtOperationTime" in stage else self._newest()
        except ValueError:
            return bson.encode(Fail(280, message="the resume token was not found").reply())
        cursor = next(self._numbers)
        self._cursors[cursor] = (str(command["aggregate"]), index)
        return self._reply(command["$db"], cursor, "firstBatch", index, index)

    def _more(self, command: dict[str, Any], *, ended: bool) -> bytes:
        cursor = int(command["getMore"])
        if cursor not in self._cursors:
            return bson.encode(Fail(43, message="cursor not found").reply())
        collection, start = self._cursors[cursor]
        stop = min(start + min(self.reply_events, command.get("batchSize", self.reply_events)), self._count())
        if refused := next((self.poison[index] for index in range(start, stop) if index in self.poison), None):
            del self._cursors[cursor]
            return bson.encode(refused.reply())
        self._cursors[cursor] = (collection, stop)
        return self._reply(command["$db"], cursor, "nextBatch", start, stop, ended=ended)

    def _reply(self, database: str, cursor: int, name: str, start: int, stop: int, *, ended: bool = False) -> bytes:
        """Return the response around a pre-encoded array."""
        collection = self._cursors[cursor][0]
        head: dict[str, Any] = {"id": bson.Int64(0 if ended else cursor), "ns": f"{database}.{collection}"}
        if self.sends_tokens:
            head["postBatchResumeToken"] = self._token(stop)
        array = self._array(collection, start, stop) if stop > start else b"\x05\0\0\0\0"
        inner = bson.encode(head)[4:-1] + b"\x04" + name.encode() + b"\0" + array + b"\0"
        outer = b"\x03cursor\0" + struct.pack("<i", len(inner) + 4) + inner
        rest = bson.encode({"ok": 1.0, "operationTime": self.operation_time})
        return struct.pack("<i", len(outer) + len(rest)) + outer + rest[4:]

    def _count(self) -> int:
        """Return the number of events."""
        return len(self.events)

    def _newest(self) -> int:
        """Return the index at which a stream without a start position starts."""
        return self._count()

    def _array(self, collection: str, start: int, stop: int) -> bytes:
        """Return these events as a BSON array."""
        elements = b"".join(b"\x03%d\0" % index + raw for index, raw in enumerate(self.events[start:stop]))
        return struct.pack("<i", len(elements) + 5) + elements + b"\0"

    def _token(self, index: int) -> dict[str, Any]:
        """Return the token of the event before this index; at the start, a high-water mark."""
        raw = self.events[index - 1] if index else b""
        found = (raw[value:after] for _, key, value, after in elements(raw) if key == b"_id")
        return bson.decode(next(found)) if index else {"_data": "begin"}  # the rest of an event may be damaged

    def _index(self, token: dict[str, Any]) -> int:
        """Return the number of events up to this token. Raises ValueError if the token is unknown."""
        return [self._token(number) for number in range(len(self.events) + 1)].index(token)

    def _describe(self, name: str, database: str) -> dict[str, Any]:
        """Return the response to a command about the deployment; a `find` reads `config.version`."""
        if name == "listDatabases":
            return {"databases": [{"name": each} for each in self.collections], "ok": 1.0}
        if name == "listCollections":
            uuids = self.collections.get(database, {})
            found = [
                {"name": each, "type": "collection", "info": {"uuid": Binary(uuid.bytes, UUID_SUBTYPE)}}
                for each, uuid in uuids.items()
            ]
            return _listed(f"{database}.$cmd.listCollections", found)
        if self.deployment_id is None:
            return Fail(13, message=f"not authorized on {database} to execute command {name}").reply()
        if name == "find":
            return _listed("config.version", [{"_id": 1, "clusterId": self.deployment_id}])
        return {"config": {"_id": "scripted", "settings": {"replicaSetId": self.deployment_id}}, "ok": 1.0}

    def _hello(self) -> dict[str, Any]:
        kind: dict[str, Any] = {"msg": "isdbgrid"}
        if self.role != "mongos":
            kind = {"setName": "scripted", "hosts": list(self.members or (self.address,)), "me": self.address}
            kind |= {"tags": dict(self.tags), "lastWrite": {"lastWriteDate": datetime.now(UTC)}}
        return {
            "isWritablePrimary": self.role != "secondary",
            "secondary": self.role == "secondary",
            **kind,
            "maxBsonObjectSize": 16 * 2**20,
            "maxMessageSizeBytes": 48_000_000,
            "maxWriteBatchSize": 100_000,
            "logicalSessionTimeoutMinutes": 30,
            "localTime": datetime.now(UTC) + timedelta(seconds=self.clock_ahead),
            "version": self.version,
            "minWireVersion": 0,
            "maxWireVersion": 17,
            **({"compression": ["zlib"]} if self.compresses else {}),
        }


def together(*servers: ScriptedServer) -> str:
    """Return the URI of these running servers as one deployment: a replica set, or mongos of one cluster."""
    addresses = tuple(server.address for server in servers)
    for server in servers:
        server.members = addresses
    options = "" if servers[0].role == "mongos" else "replicaSet=scripted&"
    return f"mongodb://{','.join(addresses)}/?{options}heartbeatFrequencyMS=500"


def _listed(namespace: str, documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a reply with the whole result of a cursor."""
    return {"cursor": {"id": bson.Int64(0), "ns": namespace, "firstBatch": documents}, "ok": 1.0}


def _message(request: int, document: bytes, *, legacy: bool = False) -> bytes:
    """Return the document as an OP_MSG response, or as the OP_REPLY that a driver's first handshake may expect."""
    if legacy:
        body = struct.pack("<iqii", 8, 0, 0, 1) + document
        return _HEADER.pack(16 + len(body), 1, request, 1) + body
    body = struct.pack("<IB", 0, 0) + document
    return _HEADER.pack(16 + len(body), 1, request, OP_MSG) + body


def _compressed(message: bytes) -> bytes:
    """Wrap the message in OP_COMPRESSED; 2 is zlib (MongoDB's specification "Wire Compression")."""
    _, identity, request, code = _HEADER.unpack_from(message)
    body = struct.pack("<iiB", code, len(message) - 16, 2) + zlib.compress(message[16:])
    return _HEADER.pack(16 + len(body), identity, request, OP_COMPRESSED) + body
