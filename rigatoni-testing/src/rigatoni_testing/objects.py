"""An in-memory object store: atomic, ordered, shared by all stores of one `MemoryObjects`."""

from bisect import bisect_right, insort
from collections.abc import Sequence
from threading import Lock

import attrs
from rigatoni_objects.store import ObjectStore, Record


@attrs.define(eq=False)
class MemoryObjects:
    """The shared keys, contents and records. `requests` counts the calls of all stores."""

    contents: dict[str, tuple[bytes, Record]] = attrs.field(factory=dict)
    keys: list[str] = attrs.field(factory=list)
    requests: int = 0
    lock: Lock = attrs.field(factory=Lock, repr=False)


class MemoryStore(ObjectStore):
    """One stream's objects in memory."""

    def __init__(self, objects: MemoryObjects, *, metadata_limit: int = 1900, ordered: bool = True) -> None:
        self.objects = objects
        self.metadata_limit = metadata_limit
        self.ordered = ordered

    def create(self, key: str, content: bytes | memoryview, *, media_type: str, record: Record) -> bool:
        """See `ObjectStore`."""
        with self.objects.lock:
            self.objects.requests += 1
            if key in self.objects.contents:
                return False
            self.objects.contents[key] = (bytes(content), dict(record))
            insort(self.objects.keys, key)
            return True

    def head(self, key: str) -> Record | None:
        """See `ObjectStore`."""
        self.objects.requests += 1
        found = self.objects.contents.get(key)
        return found[1] if found is not None else None

    def read(self, key: str) -> bytes | None:
        """See `ObjectStore`."""
        self.objects.requests += 1
        found = self.objects.contents.get(key)
        return found[0] if found is not None else None

    def keys(self, prefix: str, *, after: str = "", limit: int) -> Sequence[str]:
        """See `ObjectStore`."""
        self.objects.requests += 1
        if not self.ordered:
            return [key for key in reversed(self.objects.keys) if key.startswith(prefix)]
        start = bisect_right(self.objects.keys, max(after, prefix)) if after >= prefix else 0
        start = max(start, bisect_right(self.objects.keys, prefix) - (prefix in self.objects.contents))
        found: list[str] = []
        for index in range(start, len(self.objects.keys)):
            key = self.objects.keys[index]
            if not key.startswith(prefix) or len(found) == limit:
                break
            if key > after:
                found.append(key)
        return found

    def link(self, source: str, key: str) -> bool | None:
        """See `ObjectStore`."""
        found = self.objects.contents.get(source)
        if self.metadata_limit or found is None:
            return None
        return MemoryStore.create(self, key, found[0], media_type="", record={})

    def delete(self, keys: Sequence[str]) -> None:
        """See `ObjectStore`."""
        for key in keys:
            if self.objects.contents.pop(key, None) is not None:
                self.objects.keys.remove(key)
