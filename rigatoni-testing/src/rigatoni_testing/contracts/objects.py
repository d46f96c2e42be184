"""Contract tests for object stores. A destination over a store that passes them delivers effectively once."""

import secrets
import threading
from collections.abc import Callable, Sequence

import pytest
from rigatoni_objects.store import ObjectStore

from rigatoni_testing.contracts.obligations import Obligations, promised

RACERS = 8
"""Threads that create the same key at once."""

MakeStore = Callable[[], ObjectStore]

_TEXT = "text/plain"
_KEYS = (
    "k b/c=d/é.txt",
    "a/b.txt",
    "a/c.txt",
    "n" * 120,
    "_rigatoni/x/1",
    "_rigatoni/x/2",
    "date=2026-11-29/z",
    "date=2026-11-30/a",
)
# No folder name is a prefix of another name: stores differ in sorting `a/b` and `a.b`, and callers do not care.


class ObjectStoreContract(Obligations):
    """Contract tests for object stores; the fixture `make` returns a function that opens one stream's folder."""

    @pytest.fixture
    def store(self, make: MakeStore) -> ObjectStore:
        """A store whose folder is ready for writes."""
        return make()

    def test_an_object_is_created_once_and_never_changed(self, store: ObjectStore) -> None:
        carried = {"lead": "a path"} if store.metadata_limit else {}
        promised(store.head("one") is None, "head returns None for a key that does not exist")
        promised(store.read("one") is None, "read returns None for a key that does not exist")
        promised(store.create("one", b"first", media_type=_TEXT, record=carried) is True, "create returns True")
        promised(
            store.create("one", b"second", media_type=_TEXT, record={}) is False,
            "create returns False if the key exists",
        )
        promised(store.read("one") == b"first", "an existing object is not changed")
        promised(dict(store.head("one") or {}) == carried, "head returns the object's record")

    def test_of_several_writers_exactly_one_creates_an_object(self, make: MakeStore, store: ObjectStore) -> None:
        for number in range(5):
            key, results = f"race-{number}-{secrets.token_hex(4)}", _race(make, f"race-{number}")
            promised(results.count(True) == 1, f"one of {RACERS} concurrent writers of {key} gets True, not {results}")
            winner = results.index(True)
            promised(store.read(f"race-{number}") == b"%d" % winner, "the content is the winner's")

    def test_content_and_record_are_read_back_complete(self, store: ObjectStore) -> None:
        for size in (0, 1, 2**20, 9 * 2**20):
            content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            key = f"size/{size}"
            promised(store.create(key, memoryview(content), media_type=_TEXT, record={}), "create returns True")
            promised(store.read(key) == content, f"{size} bytes are read back unchanged")
        if store.metadata_limit:
            text = "r" * (store.metadata_limit - len("record"))
            store.create("record", b"", media_type=_TEXT, record={"record": text})
            promised(
                (store.head("record") or {}).get("record") == text,
                "a record of metadata_limit bytes is stored completely",
            )

    def test_keys_are_listed_at_once_by_prefix_and_after(self, store: ObjectStore) -> None:
        for key in _KEYS:
            store.create(key, b"", media_type=_TEXT, record={})
        listed = store.keys("", limit=1000)
        promised(sorted(listed) == sorted(_KEYS), f"a created key is listed immediately: {sorted(listed)}")
        for prefix in ("a", "a/", "_rigatoni/x/", "date=", "nothing"):
            expected = sorted(key for key in _KEYS if key.startswith(prefix))
            promised(sorted(store.keys(prefix, limit=1000)) == expected, f"the prefix {prefix!r} lists {expected}")
        if not store.ordered:
            return
        promised(list(listed) == sorted(_KEYS), f"an ordered store lists keys in byte order: {listed}")
        for after in (*_KEYS, "_rigatoni/x/1~", "zzz"):
            expected = [key for key in sorted(_KEYS) if key > after]
            promised(list(store.keys("", after=after, limit=1000)) == expected, f"after {after!r} come {expected}")
        promised(list(store.keys("", limit=3)) == sorted(_KEYS)[:3], "limit bounds a listing")

    def test_existing_objects_can_be_made_durable_again(self, store: ObjectStore) -> None:
        store.create("a/b", b"1", media_type=_TEXT, record={})
        store.make_durable(["a/b", "c/not-there"])
        promised(store.read("a/b") == b"1", "make_durable changes nothing")
        promised(store.head("c/not-there") is None, "make_durable creates nothing")

    def test_only_the_named_objects_are_removed_and_missing_ones_are_no_error(self, store: ObjectStore) -> None:
        for key in ("staged/a", "staged/ab"):
            store.create(key, b"rows", media_type=_TEXT, record={})
        for _ in range(2):
            store.delete(["staged/a", "staged/not-there"])
        removes = type(store).delete is not ObjectStore.delete  # by default, they are kept
        promised(store.read("staged/a") == (None if removes else b"rows"), "delete removes the objects that it names")
        promised(store.read("staged/ab") == b"rows", "delete removes no other object")

    def test_names_are_case_sensitive_unless_folds_case(self, store: ObjectStore) -> None:
        for one, other in (("twin", "TWIN"), ("caf\u00e9", "cafe\u0301")):
            store.create(one, b"1", media_type=_TEXT, record={})
            apart = store.create(other, b"2", media_type=_TEXT, record={})
            promised(
                apart or store.folds_case, f"{one!r} and {other!r} are different objects unless folds_case is True"
            )


def _race(make: MakeStore, key: str) -> Sequence[bool]:
    """Returns the results of concurrent writers that create one key, each through its own store."""
    stores, barrier, results = [make() for _ in range(RACERS)], threading.Barrier(RACERS), [False] * RACERS

    def create(number: int) -> None:
        barrier.wait()
        results[number] = stores[number].create(key, b"%d" % number, media_type=_TEXT, record={})

    threads = [threading.Thread(target=create, args=(number,)) for number in range(RACERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
