"""What the tests of this folder share: one real server for most of them, and a store on a prefix of its own."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from rigatoni_core.api.events import Checkpoint, Position, ResumeToken, Timestamp
from rigatoni_core.api.options import Secret
from rigatoni_redis_state.store import RedisStateStore
from rigatoni_redis_state.testing.server import redis_url

_numbers = itertools.count()


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_url(tmp_path_factory.mktemp("redis") / "data") as url:
        yield url


@pytest.fixture
def make_store(url: str) -> Callable[..., RedisStateStore]:
    """A store on the shared server; the stores of one test share a prefix."""
    prefix = f"test-{next(_numbers)}:"

    def make(**options: object) -> RedisStateStore:
        return RedisStateStore(**{"url": Secret(url), "prefix": prefix, **options})

    return make


@pytest.fixture
async def store(make_store: Callable[..., RedisStateStore]) -> AsyncIterator[RedisStateStore]:
    async with make_store() as entered:
        yield entered


@pytest.fixture
def checkpoint() -> Callable[..., Checkpoint]:
    """Returns a checkpoint with this token."""

    def make(token: str = "t", events: int = 1, fencing_token: int = 0) -> Checkpoint:
        return Checkpoint(Position(ResumeToken(token), "f", Timestamp(1_700_000_000, 1), 1), events, fencing_token)

    return make
