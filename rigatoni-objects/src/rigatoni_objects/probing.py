"""Probes a store at the start with one request of each kind, so that a missing permission is found before any event."""

import secrets
from collections.abc import Callable
from contextlib import suppress

from rigatoni_core.api.errors import DestinationError

from rigatoni_objects.store import ObjectStore

FOLDER = "_rigatoni-probe/"
"""The folder of the objects that a probe creates and removes."""

_CONTENT = b"probe\n"


def probe(store: ObjectStore, where: str, remove: Callable[[str], None]) -> None:
    """List, create and read an object in `_rigatoni-probe/`, then remove it.

    Args:
        store: The store, at the prefix that the destination writes to; its objects carry records.
        where: The place as shown in messages.
        remove: Removes a key. Its `DestinationError` is ignored: a leftover is harmless.

    Raises:
        DestinationError: A request fails, or the store returns other content or another record than was written.
    """
    key, record = f"{FOLDER}{secrets.token_hex(8)}", {"probe": "probe"}
    store.keys(FOLDER, limit=1)
    try:
        if not store.create(key, _CONTENT, media_type="text/plain", record=record):
            raise DestinationError(
                f"{where}{key} exists before it was created",
                remedy="Check the endpoint: another program responds there.",
            )
        if store.create(key, b"other\n", media_type="text/plain", record={}):
            raise DestinationError(
                f"{where} overwrites existing objects: its conditional create has no effect",
                remedy="Use a store, or a proxy in front of it, that supports conditional requests.",
            )
        if store.head(key) != record or store.read(key) != _CONTENT:
            raise DestinationError(
                f"{where}{key} returned another record or content than was just written",
                remedy="Check the endpoint, and proxies that change responses.",
            )
    finally:
        with suppress(DestinationError):
            remove(key)
