"""An event that cannot be written is the one that becomes a dead letter, however its batch falls into files."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.errors import RejectedEventsError, RigatoniError
from rigatoni_core.api.events import Definition, Stream
from rigatoni_core.api.settings import Settings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_local.destination import LocalDestination
from rigatoni_testing.batches import START, batch_of, event_document
from rigatoni_testing.scripted import Log, ScriptedSource
from rigatoni_testing.serializers import TokenLines

SHOP = Stream("p", "shop.*")
COUNT = 24


def documents(poison: set[int]) -> list[dict[str, Any]]:
    """Events of three collections in turn; those in `poison` are rejected by `TokenLines`."""
    return [
        event_document(
            number,
            collection=("orders", "users", "items")[number % 3],
            fullDocument={"_id": number, "x": TokenLines.POISON if number in poison else "fine", "country": number % 2},
        )
        for number in range(COUNT)
    ]


def numbers_below(folder: Path, log: Log) -> Counter[int]:
    """How often each event lies in the files of a folder."""
    paths = [path for path in folder.rglob("*.txt") if "_rigatoni" not in path.parts]
    return Counter(log.tokens.index(token) for path in paths for token in TokenLines.tokens_in(path.read_bytes()))


@pytest.mark.parametrize("policy", ["skip", "dead_letter"])
@pytest.mark.parametrize("poison", [{3}, {0}, {COUNT - 1}, {0, 4, 5, 13, 22}])
@pytest.mark.parametrize(
    "layout",
    [
        {"folder_template": "{database}"},
        {"folder_template": "{database}/{field:country}"},
        {"folder_template": "{field:country}/{database}"},
        {"folder_template": "{collection}"},
        {"partition_by": ("namespace",)},
        {"partition_by": ("field:country",)},
    ],
    ids=lambda layout: next(iter(layout.values())) if isinstance(layout, dict) else None,
)
async def test_the_poisonous_events_and_no_others_are_left_out(tmp_path, policy, poison, layout):
    """c20: partitions that fall into one folder."""
    log = Log(documents(poison))
    letters = LocalDestination(path=tmp_path / "letters", serializer=TokenLines(reject=False))
    pipeline = Pipeline(
        name=SHOP.pipeline,
        source=ScriptedSource(logs={SHOP.name: log}, reply_events=COUNT, await_time=0.05, start=0),
        destination=LocalDestination(path=tmp_path / "lake", serializer=TokenLines(), **layout),
        dead_letters=letters if policy == "dead_letter" else None,
        state=MemoryStateStore(),
        settings=Settings(batch_timeout=0.1, on_rejected=policy),
    )
    assert (await pipeline.run(once=True)).ok
    good = set(range(COUNT)) - poison
    assert numbers_below(tmp_path / "lake", log) == Counter(good)
    kept = poison if policy == "dead_letter" else set()
    assert numbers_below(tmp_path / "letters", log) == Counter(kept)


@attrs.define(kw_only=True, eq=False)
class Lenient(TokenLines):
    """`TokenLines` after an upgrade: the same component, but what was poison can be written."""

    def serialize(self, events: EventBatch) -> bytes:
        if Lenient.strict:
            return super().serialize(events)
        return "".join(f"{events.token_and_time(index)[0]}\n" for index in range(len(events))).encode()


Lenient.strict = True


@pytest.fixture
async def begun(tmp_path: Path) -> AsyncIterator[tuple[EventBatch, Path]]:
    """A batch of three files whose files are missing, since a run that rejected event 4 died after its record."""
    batch = batch_of(documents({4}), stream=SHOP)
    Lenient.strict = True
    lake = tmp_path / "lake"
    async with _lenient(lake) as destination:
        await destination.begin(SHOP, _DEFINITION, START)
        await destination.write_batch(batch.without({4}))
    for path in lake.rglob("*.txt"):
        path.unlink()
    Lenient.strict = False
    yield batch, lake
    Lenient.strict = True


_DEFINITION = Definition("fingerprint", {"watch": "shop.*"})


def _lenient(lake: Path) -> LocalDestination:
    return LocalDestination(path=lake, serializer=Lenient(), partition_by=("namespace",))


async def test_a_begun_batch_is_never_completed_with_events_that_it_did_not_count(begun):
    """c03: the serializer accepts what it rejected when the batch was begun."""
    batch, lake = begun
    async with _lenient(lake) as destination:
        await destination.begin(SHOP, _DEFINITION, START)
        with suppress(RigatoniError):  # it may stop, as long as it misplaces nothing
            await destination.write_batch(batch)
    log = Log(documents({4}))
    written = numbers_below(lake, log)
    assert written in (Counter(), Counter(range(COUNT)), Counter(set(range(COUNT)) - {4}))
    for path in lake.rglob("*.txt"):
        collection = next(part for part in path.parts if part.startswith("collection=")).removeprefix("collection=")
        tokens = TokenLines.tokens_in(path.read_bytes())
        assert {("orders", "users", "items")[log.tokens.index(token) % 3] for token in tokens} == {collection}


async def test_a_begun_batch_is_completed_without_the_event_that_is_a_dead_letter_already(begun):
    """c03: the same versions as before complete the batch."""
    batch, lake = begun
    Lenient.strict = True
    async with _lenient(lake) as destination:
        await destination.begin(SHOP, _DEFINITION, START)
        try:
            end = await destination.write_batch(batch)
        except RejectedEventsError as error:
            end = await destination.write_batch(batch.without(error.events))
        assert end is None
    assert numbers_below(lake, Log(documents({4}))) == Counter(set(range(COUNT)) - {4})
