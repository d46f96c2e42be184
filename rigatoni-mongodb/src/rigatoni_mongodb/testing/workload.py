"""A workload that can be verified, and the proof: compares a writer's changes with the delivered events.

Every document goes through the same steps: it is inserted with 1, updated to 2, replaced with 3, updated to 4, deleted,
inserted again with 6, updated to 7 and replaced with 8. A document's events therefore show whether one is missing,
duplicated or out of order. Documents that exist before the pipeline starts have negative numbers; their changes are
updates.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import attrs
from pymongo import MongoClient
from pymongo.collection import Collection

WALK = ("insert", "update", "replace", "update", "delete", "insert", "update", "replace")
"""The steps of each document. The number of the last step, from 1, is in its field `step`."""

DELETED = WALK.index("delete") + 1


class Change(NamedTuple):
    """One step of one document. The namespace is a text such as `shop.orders`."""

    namespace: str
    key: int
    step: int


class Writer(threading.Thread):
    """Changes documents of all namespaces at random, and logs the changes that the server acknowledged.

    `pause` is the wait after each change in seconds, `existing` the number of documents in each namespace that
    `prepare` inserts; one change in ten is made to them.
    """

    def __init__(
        self, uri: str, namespaces: Sequence[str], *, seed: int, pause: float = 0.0, existing: int = 0
    ) -> None:
        super().__init__(daemon=True)
        self.uri = uri
        self.namespaces = namespaces
        self.log: list[Change] = []
        self.finish = threading.Event()
        self._random = random.Random(seed)  # noqa: S311 (no secret)
        self._pause = pause
        self.existing = existing

    def prepare(self) -> None:
        """Insert the documents that exist before the pipeline starts. They are not in the log."""
        with MongoClient[dict[str, Any]](self.uri) as client:
            for namespace in self.namespaces:
                documents = [{"_id": -number, "step": 0, "text": "x" * 200} for number in range(1, self.existing + 1)]
                if documents:
                    _collection(client, namespace).insert_many(documents)

    def run(self) -> None:
        """Write until `finish` is set; documents may stop at any step."""
        with MongoClient[dict[str, Any]](self.uri) as client:
            walking: list[Change] = []
            number = 0
            while not self.finish.is_set():
                if self.existing and self._random.random() < 0.1:
                    self._touch(client)
                if len(walking) < 4 * len(self.namespaces):
                    number += 1
                    walking.append(Change(self._random.choice(self.namespaces), number, 0))
                place = self._random.randrange(len(walking))
                change = walking[place] = walking[place]._replace(step=walking[place].step + 1)
                self._do(_collection(client, change.namespace), change)
                self.log.append(change)
                if change.step == len(WALK):
                    walking.pop(place)
                time.sleep(self._pause)

    def _do(self, collection: Collection[dict[str, Any]], change: Change) -> None:
        identity = {"_id": change.key}
        document = {**identity, "step": change.step, "text": "x" * self._random.randrange(400)}
        match WALK[change.step - 1]:
            case "insert":
                collection.insert_one(document)
            case "update":
                collection.update_one(identity, {"$set": {"step": change.step}})
            case "replace":
                collection.replace_one(identity, document)
            case _:
                collection.delete_one(identity)

    def _touch(self, client: MongoClient[dict[str, Any]]) -> None:
        """Update a document that existed before."""
        namespace = self._random.choice(self.namespaces)
        change = Change(namespace, -self._random.randint(1, self.existing), len(self.log) + 1)
        _collection(client, namespace).update_one({"_id": change.key}, {"$set": {"step": change.step}})
        self.log.append(change)

    def documents(self) -> Mapping[str, dict[int, dict[str, Any]]]:
        """Return the current documents of the collections, by `_id`."""
        with MongoClient[dict[str, Any]](self.uri) as client:
            return {
                namespace: {document["_id"]: document for document in _collection(client, namespace).find()}
                for namespace in self.namespaces
            }


def _collection(client: MongoClient[dict[str, Any]], namespace: str) -> Collection[dict[str, Any]]:
    database, _, collection = namespace.partition(".")
    return client[database][collection]


@attrs.frozen
class Proof:
    """The delivered events compared with the writer's log and the collections; see `holds`.

    `rows` counts the documents of snapshots among the events, which are no changes.
    """

    written: int
    delivered: int
    lost: int
    repeated: int
    disordered: int
    """Namespaces whose events were delivered in another order than written."""
    same: bool
    """Whether replaying the events reproduces the collections."""
    rows: int = 0

    @property
    def holds(self) -> bool:
        """Whether nothing is lost, repeated or out of order, and the documents are the same."""
        return (self.lost, self.repeated, self.disordered, self.same) == (0, 0, 0, True) and self.written > 0

    @classmethod
    def of(cls, events: Iterable[Mapping[str, Any]], writer: Writer) -> "Proof":
        """Compare all events, JSON objects of the serializer `json`, in the order of their streams.

        They are replayed in this order. If documents existed before, all are kept and replayed by cluster time instead,
        a row of a snapshot after the changes of its time.
        """
        found: dict[str, list[Change]] = {name: [] for name in writer.namespaces}
        replayed: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in writer.namespaces}
        kept, rows = list[Mapping[str, Any]](), 0
        for event in events:
            if writer.existing:
                kept.append(event)
            if event["operationType"] == "read":
                rows += 1
            else:
                namespace = _namespace(event)
                found[namespace].append(_replay(event, namespace, replayed[namespace]))
        if writer.existing:
            replayed = {name: {} for name in writer.namespaces}
            for event in sorted(kept, key=_order):
                _replay(event, _namespace(event), replayed[_namespace(event)])
        lost = repeated = disordered = 0
        for name in writer.namespaces:
            expected = [change for change in writer.log if change.namespace == name]
            lost += (Counter(expected) - Counter(found[name])).total()
            repeated += (Counter(found[name]) - Counter(expected)).total()
            disordered += found[name] != expected
        delivered = sum(map(len, found.values()))
        same = writer.documents() == replayed
        return cls(len(writer.log), delivered, lost, repeated, disordered, same, rows)


def _namespace(event: Mapping[str, Any]) -> str:
    return f"{event['ns']['db']}.{event['ns']['coll']}"


def _order(event: Mapping[str, Any]) -> tuple[int, int, bool]:
    time = event["clusterTime"]["$timestamp"]
    return time["t"], time["i"], event["operationType"] == "read"


def _replay(event: Mapping[str, Any], namespace: str, state: dict[int, dict[str, Any]]) -> Change:
    """Apply the event to the state by the server's update description, even if earlier events are lost."""
    operation, key = event["operationType"], event["documentKey"]["_id"]
    if operation == "delete":
        state.pop(key, None)
        return Change(namespace, key, DELETED)
    if operation == "update":
        state.setdefault(key, {}).update(event["updateDescription"]["updatedFields"])
    else:
        state[key] = event["fullDocument"]
    return Change(namespace, key, state[key].get("step", 0))
