"""What a store of immutable named objects promises: a destination over one that keeps it is exactly once in effect."""

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
# No folder's name begins another name here: some stores sort `a/b` before `a.b`, which nothing depends on.


class ObjectStoreContract(Obligations):
    """The fixture `make` is a function without arguments: a store of one stream's folder, the same one at each call."""

    @pytest.fixture
    def store(self, make: MakeStore) -> ObjectStore:
        """A store whose folder is ready to be written to."""
        return make()

    def test_an_object_is_created_once_and_never_changed(self, store: ObjectStore) -> None:
        carried = {"lead": "a path"} if store.metadata_limit else {}
        promised(store.head("one") is None, "head returns None for a key that does not exist")
        promised(store.read("one") is None, "read returns None for a key that does not exist")
        promised(store.create("one", b"first", media_type=_TEXT, record=carried) is True, "create returns True")
        promised(store.create("one", b"second", media_type=_TEXT, record={}) is False, "False where the key exists")
        promised(store.read("one") == b"first", "an object that exists is not changed")
        promised(dict(store.head("one") or {}) == carried, "head returns what the object carries")

    def test_of_several_writers_exactly_one_creates_an_object(self, make: MakeStore, store: ObjectStore) -> None:
        for number in range(5):
            key, results = f"race-{number}-{secrets.token_hex(4)}", _race(make, f"race-{number}")
            promised(results.count(True) == 1, f"of {RACERS} writers of one key one gets True, not {results} ({key})")
            winner = results.index(True)
            promised(store.read(f"race-{number}") == b"%d" % winner, "the content is the winner's")

    def test_content_and_record_come_back_whole(self, store: ObjectStore) -> None:
        for size in (0, 1, 2**20, 9 * 2**20):
            content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            key = f"size/{size}"
            promised(store.create(key, memoryview(content), media_type=_TEXT, record={}), "create returns True")
            promised(store.read(key) == content, f"{size} bytes come back as they were")
        if store.metadata_limit:
            text = "r" * (store.metadata_limit - len("record"))
            store.create("record", b"", media_type=_TEXT, record={"record": text})
            promised(
                (store.head("record") or {}).get("record") == text, "a record of metadata_limit bytes is kept whole"
            )

    def test_keys_are_listed_at_once_by_prefix_and_after(self, store: ObjectStore) -> None:
        for key in _KEYS:
            store.create(key, b"", media_type=_TEXT, record={})
        listed = store.keys("", limit=1000)
        promised(sorted(listed) == sorted(_KEYS), f"a key that was created is listed at once: {sorted(listed)}")
        for prefix in ("a", "a/", "_rigatoni/x/", "date=", "nothing"):
            expected = sorted(key for key in _KEYS if key.startswith(prefix))
            promised(sorted(store.keys(prefix, limit=1000)) == expected, f"the prefix {prefix!r} lists {expected}")
        if not store.ordered:
            return
        promised(list(listed) == sorted(_KEYS), f"an ordered store lists keys in the order of their bytes: {listed}")
        for after in (*_KEYS, "_rigatoni/x/1~", "zzz"):
            expected = [key for key in sorted(_KEYS) if key > after]
            promised(list(store.keys("", after=after, limit=1000)) == expected, f"after {after!r} come {expected}")
        promised(list(store.keys("", limit=3)) == sorted(_KEYS)[:3], "limit bounds a listing")

    def test_what_exists_can_be_made_durable_again(self, store: ObjectStore) -> None:
        store.create("a/b", b"1", media_type=_TEXT, record={})
        store.make_durable(["a/b", "c/not-there"])
        promised(store.read("a/b") == b"1", "make_durable changes nothing")
        promised(store.head("c/not-there") is None, "make_durable creates nothing")

    def test_names_that_differ_by_case_are_told_apart_unless_the_store_says_so(self, store: ObjectStore) -> None:
        for one, other in (("twin", "TWIN"), ("caf\u00e9", "cafe\u0301")):
            store.create(one, b"1", media_type=_TEXT, record={})
            apart = store.create(other, b"2", media_type=_TEXT, record={})
            promised(apart or store.folds_case, f"{one!r} and {other!r} are two objects, or folds_case is True")


def _race(make: MakeStore, key: str) -> Sequence[bool]:
    """What each of several writers gets that create a key at the same time, each through a store of its own."""
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
