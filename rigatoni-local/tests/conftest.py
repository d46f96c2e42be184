"""What the tests of this folder share: a small serializer, a long-enough stream, and readers of what was written."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from bson.timestamp import Timestamp as BsonTimestamp
from rigatoni_core.batch import EventBatch
from rigatoni_core.contracts import Serializer
from rigatoni_core.errors import RejectedEventsError
from rigatoni_core.events import Definition, ResumeToken
from rigatoni_core.testing.batches import event_document
from rigatoni_local.destination import LocalDestination


@attrs.define(kw_only=True)
class Tokens(Serializer):
    """One resume token per line; events whose document says so are rejected."""

    reject: bool = True

    media_type = "text/plain"
    suffix = ".txt"

    def serialize(self, events: EventBatch) -> bytes:
        if self.reject:
            rejected = {
                index: ValueError("poison") for index in range(len(events)) if b"poison" in bytes(events.raw(index))
            }
            if rejected:
                raise RejectedEventsError(rejected)
        return "".join(f"{events.mark(index)[0]}\n" for index in range(len(events))).encode()


@pytest.fixture
def serializer() -> Tokens:
    return Tokens()


@pytest.fixture
def tokens_class() -> type[Tokens]:
    return Tokens


@pytest.fixture
def definition() -> Definition:
    return Definition("", "fingerprint", {"watch": "shop.orders"})


@pytest.fixture
def event() -> Callable[..., dict[str, Any]]:
    """An event document by number; `seconds`, `increment` and `collection` as wanted."""

    def make(
        number: int,
        *,
        seconds: int | None = None,
        increment: int | None = None,
        collection: str = "orders",
        database: str = "shop",
        **fields: Any,
    ) -> dict[str, Any]:
        document = event_document(number, ns={"db": database, "coll": collection}, **fields)
        if seconds is not None:
            document["clusterTime"] = BsonTimestamp(seconds, number + 1 if increment is None else increment)
        return document

    return make


@pytest.fixture
def written() -> Callable[[Path], dict[str, list[ResumeToken]]]:
    """Every data file below a folder, by relative path in listing order, with the tokens in it."""

    def read(folder: Path) -> dict[str, list[ResumeToken]]:
        paths = sorted(path for path in folder.rglob("*.txt") if "_rigatoni" not in path.parts)
        return {
            str(path.relative_to(folder)): [ResumeToken(line) for line in path.read_text().splitlines()]
            for path in paths
        }

    return read


@pytest.fixture
async def destination(tmp_path: Path, serializer: Tokens) -> AsyncIterator[LocalDestination]:
    async with LocalDestination(path=tmp_path / "out", serializer=serializer) as entered:
        yield entered
