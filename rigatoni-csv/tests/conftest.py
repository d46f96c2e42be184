"""What several test modules need: recordings of a real server, and rows back to events."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rigatoni_bson.columns import COLUMNS, Kind
from rigatoni_bson.testing.reading import milliseconds_of

RECORDINGS = Path(__file__).parents[2] / "tests" / "recordings" / "mongod-5.0.7"


@pytest.fixture(scope="session")
def recordings() -> Path:
    return RECORDINGS


@pytest.fixture(scope="session")
def row_of():
    """A row of texts, as a reader of CSV gives it (None: absent), with times and numbers as numbers again."""
    numbers: dict[Kind, Callable[[str], int]] = {
        Kind.INTEGER: int,
        Kind.SECONDS: lambda text: milliseconds_of(text) // 1000,
        Kind.MILLISECONDS: milliseconds_of,
    }

    def row(cells):
        assert len(cells) == len(COLUMNS)
        return {
            column.name: None if text is None else numbers.get(column.kind, str)(text)
            for column, text in zip(COLUMNS, cells, strict=True)
        }

    return row
