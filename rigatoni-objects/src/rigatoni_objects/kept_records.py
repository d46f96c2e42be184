"""Small records next to the data, each created only if absent: the ability `RecordKeeper`."""

from rigatoni_objects.paths import kept_path
from rigatoni_objects.quiescence import Quiescence
from rigatoni_objects.store import ObjectStore


def settle(store: ObjectStore, quiescence: Quiescence, name: str, content: bytes | None) -> bytes | None:
    """Create a record unless it exists, and return the one in force. Blocks; see `RecordKeeper.settle`."""
    path = kept_path(name)
    if content is not None:
        quiescence.prepare()
        with quiescence.writing():
            if store.create(path, content, media_type="application/json", record={}):
                return content
    found = store.read(path)
    if found is not None:
        store.make_durable([path])  # its creator may have crashed first
    return found
