"""What several test modules need: recordings of a real server."""

from pathlib import Path

import pytest

RECORDINGS = Path(__file__).parents[2] / "tests" / "recordings" / "mongod-5.0.7"


@pytest.fixture(scope="session")
def recordings() -> Path:
    return RECORDINGS
