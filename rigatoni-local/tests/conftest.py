"""Shared fixtures: a small serializer, a stream, and readers of the written files."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from rigatoni_core.api.events import Definition, ResumeToken
from rigatoni_local.destination import LocalDestination
from rigatoni_testing.batches import event_document
from rigatoni_testing.serializers import TokenLines


@pytest.fixture
def serializer() -> TokenLines:
    return TokenLines()


@pytest.fixture
def definition() -> Definition:
    return Definition("fingerprint", {"watch": "shop.orders"})


@pytest.fixture
def event() -> Callable[..., dict[str, Any]]:
    return event_document


@pytest.fixture
def written() -> Callable[[Path], dict[str, list[ResumeToken]]]:
    """Return the data files below a folder with their tokens, by relative path in listing order."""

    def read(folder: Path) -> dict[str, list[ResumeToken]]:
        paths = sorted(path for path in folder.rglob("*.txt") if "_rigatoni" not in path.parts)
        return {str(path.relative_to(folder)): TokenLines.tokens_in(path.read_bytes()) for path in paths}

    return read


@pytest.fixture
async def destination(tmp_path: Path, serializer: TokenLines) -> AsyncIterator[LocalDestination]:
    async with LocalDestination(path=tmp_path / "out", serializer=serializer) as entered:
        yield entered
