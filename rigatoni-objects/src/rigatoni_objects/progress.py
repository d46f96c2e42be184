"""Counts the requests to a store that have returned, which shows that work on a batch or a listing advances."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from rigatoni_objects.store import ObjectStore, Record

T = TypeVar("T")


class CountedStore(ObjectStore):
    """A proxy for another store. `requests` counts the requests that have returned with any result."""

    def __init__(self, store: ObjectStore) -> None:
        self.requests = 0
        self._store = store
        self.metadata_limit = store.metadata_limit
        self.ordered = store.ordered
        self.folds_case = store.folds_case
        self.key_limit = store.key_limit

    def create(self, key: str, content: bytes | memoryview, *, media_type: str, record: Record) -> bool:
        """See `ObjectStore`."""
        return self._count(lambda: self._store.create(key, content, media_type=media_type, record=record))

    def head(self, key: str) -> Record | None:
        """See `ObjectStore`."""
        return self._count(lambda: self._store.head(key))

    def read(self, key: str) -> bytes | None:
        """See `ObjectStore`."""
        return self._count(lambda: self._store.read(key))

    def keys(self, prefix: str, *, after: str = "", limit: int) -> Sequence[str]:
        """See `ObjectStore`."""
        return self._count(lambda: self._store.keys(prefix, after=after, limit=limit))

    def make_durable(self, keys: Sequence[str]) -> None:
        """See `ObjectStore`."""
        self._count(lambda: self._store.make_durable(keys))

    def link(self, source: str, key: str) -> bool | None:
        """See `ObjectStore`."""
        return self._count(lambda: self._store.link(source, key))

    def delete(self, keys: Sequence[str]) -> None:
        """See `ObjectStore`."""
        self._count(lambda: self._store.delete(keys))

    def _count(self, request: Callable[[], T]) -> T:
        result = request()
        self.requests += 1
        return result
