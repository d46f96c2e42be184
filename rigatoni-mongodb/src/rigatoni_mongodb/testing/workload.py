"""A workload that can be checked, and the proof: what a writer did against what was delivered, and nothing else."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import attrs
from pymongo import MongoClient


class Change(NamedTuple):
    """One change: `version` is what the document holds after it (before it, for a delete)."""

    collection: str
    operation: str
    key: int
    version: int


class Writer(threading.Thread):
    """Inserts, updates and deletes at random, and keeps a log of what the server acknowledged, in order.

    `pause` is how many seconds it waits after each change.
    """

    def __init__(self, uri: str, database: str, collections: Sequence[str], *, seed: int, pause: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.uri = uri
        self.database = database
        self.collections = collections
        self.log: list[Change] = []
        self.finish = threading.Event()
        self._random = random.Random(seed)  # noqa: S311 (no secret)
        self._pause = pause

    def run(self) -> None:
        """Write until `finish` is set."""
        with MongoClient[dict[str, Any]](self.uri) as client:
            alive: dict[str, dict[int, int]] = {name: {} for name in self.collections}
            number = 0
            while not self.finish.is_set():
                name = self._random.choice(self.collections)
                collection, versions = client[self.database][name], alive[name]
                kind = self._random.random()
                if kind < 0.5 or len(versions) < 5:
                    number += 1
                    key, operation, versions[number] = number, "insert", 1
                    collection.insert_one({"_id": key, "version": 1, "text": "x" * self._random.randrange(400)})
                elif kind < 0.85:
                    key, operation = self._random.choice(list(versions)), "update"
                    versions[key] += 1
                    collection.update_one({"_id": key}, {"$set": {"version": versions[key]}})
                else:
                    key, operation = self._random.choice(list(versions)), "delete"
                    collection.delete_one({"_id": key})
                version = versions.pop(key) if operation == "delete" else versions[key]
                self.log.append(Change(name, operation, key, version))
                time.sleep(self._pause)

    def documents(self) -> Mapping[str, dict[int, dict[str, Any]]]:
        """What the collections hold now, by `_id`."""
        with MongoClient[dict[str, Any]](self.uri) as client:
            return {
                name: {document["_id"]: document for document in client[self.database][name].find()}
                for name in self.collections
            }


@attrs.frozen
class Proof:
    """What the delivered events tell, held against the writer's log and the collections; all zero and True is right."""

    written: int
    delivered: int
    lost: int
    repeated: int
    disordered: int
    """Collections whose events came in another order than they were written."""
    same: bool
    """Whether replaying the events gives the collections."""

    @property
    def holds(self) -> bool:
        return (self.lost, self.repeated, self.disordered, self.same) == (0, 0, 0, True) and self.written > 0

    @classmethod
    def of(cls, events: Iterable[Mapping[str, Any]], writer: Writer) -> "Proof":
        """Read every event, a JSON object as the serializer `json` writes it, in the order of its stream."""
        found: dict[str, list[Change]] = {name: [] for name in writer.collections}
        replayed: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in writer.collections}
        for event in events:
            change = _replay(event, replayed[event["ns"]["coll"]])
            found[change.collection].append(change)
        lost = repeated = disordered = 0
        for name in writer.collections:
            expected = [change for change in writer.log if change.collection == name]
            lost += (Counter(expected) - Counter(found[name])).total()
            repeated += (Counter(found[name]) - Counter(expected)).total()
            disordered += found[name] != expected
        delivered = sum(map(len, found.values()))
        return cls(len(writer.log), delivered, lost, repeated, disordered, writer.documents() == replayed)


def _replay(event: Mapping[str, Any], state: dict[int, dict[str, Any]]) -> Change:
    """Do to the state what the event says, by the server's update description; also where events before it are lost."""
    operation, key = event["operationType"], event["documentKey"]["_id"]
    if operation == "insert":
        state[key] = event["fullDocument"]
    elif operation == "update":
        state.setdefault(key, {}).update(event["updateDescription"]["updatedFields"])
    document = state.pop(key, {}) if operation == "delete" else state[key]
    return Change(event["ns"]["coll"], operation, key, document.get("version", 0))
