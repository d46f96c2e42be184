"""The contract of transactional destinations: a correct one passes, and each obligation catches a broken one."""

import asyncio
import inspect

import attrs
import pytest
from rigatoni_core.api.contracts import Delivery
from rigatoni_core.api.identity import Identity
from rigatoni_testing.contracts import DestinationContract, Place, TransactionalContract, obligations
from rigatoni_testing.scripted import Table, TableDestination
from rigatoni_testing.serializers import TokenLines


class TestTableDestination(TransactionalContract):
    @pytest.fixture
    def place(self):
        return place_of(TableDestination)


def place_of(cls):
    table = Table()

    async def written(stream):
        return table.tokens(stream)

    return Place(lambda: cls(table=table, serializer=TokenLines()), written)


BROKEN = []


def breaks(*obligations):
    def decorate(cls):
        BROKEN.extend((obligation, cls) for obligation in obligations)
        return cls

    return decorate


@breaks("test_it_declares_that_its_position_is_the_streams")
class Modest(TableDestination):
    delivery = Delivery.EFFECTIVELY_ONCE


@breaks("test_streams_and_pipelines_have_positions_of_their_own")
class Shared(TableDestination):
    async def last_committed(self, stream):
        return next((held.position for held in self.table.records.values()), None)


@breaks("test_the_anchor_is_its_first_commit", "test_an_old_a_future_and_no_checkpoint_end_with_the_same_rows")
class Obedient(TableDestination):
    async def begin(self, stream, definition, position, *, gap=None):
        await TableDestination.begin(self, stream, definition, position, gap=gap)
        return position


@breaks("test_an_idle_checkpoint_counts_if_it_follows_the_destinations_position")
class Restless(TableDestination):
    async def begin(self, stream, definition, position, *, gap=None):
        held = await TableDestination.begin(self, stream, definition, position, gap=gap)
        return attrs.evolve(held, ordinal=held.ordinal + 1)


@breaks("test_a_crash_between_commit_and_checkpoint_repeats_nothing")
class Forgetful(TableDestination):
    async def begin(self, stream, definition, position, *, gap=None):
        if self.table.rows:
            position = attrs.evolve(position, resume_token="mark:0", cluster_time=None, ordinal=0)
            self.table.records.pop(stream.key)
        return await TableDestination.begin(self, stream, definition, position, gap=gap)


@breaks("test_two_owners_at_once_lose_and_repeat_nothing")
class Unguarded(TableDestination):
    async def write_batch(self, events):
        key = events.stream.key
        held = self.table.records[key]
        if held.holds(events):
            return None
        if (end := held.end_within(events)) is not None:
            return end
        await asyncio.sleep(0.005)  # another owner commits meanwhile
        self.table.rows += ((key, events.token_and_time(index)[0]) for index in range(len(events)))
        self.table.records[key] = held.after(events)
        return None


@breaks("test_idle_time_is_committed_without_rows_and_never_goes_back")
class Backwards(TableDestination):
    async def commit_idle(self, stream, position):
        self.table.records[stream.key] = attrs.evolve(self.table.records[stream.key], position=position)


@breaks("test_a_batch_without_rows_moves_the_position")
class RowsOnly(TableDestination):
    async def write_batch(self, events):
        return await TableDestination.write_batch(self, events) if len(events) else None


@breaks("test_a_gap_moves_the_position_and_refuses_the_owner_before")
class Gapless(TableDestination):
    async def begin(self, stream, definition, position, *, gap=None):
        return await TableDestination.begin(self, stream, definition, position)


@breaks(
    "test_a_gap_moves_the_position_and_refuses_the_owner_before",
    "test_a_changed_definition_keeps_the_position_and_refuses_the_owner_before",
)
class Trusting(TableDestination):
    async def write_batch(self, events):
        self._left[events.stream.key] = self.table.records[events.stream.key]
        return await TableDestination.write_batch(self, events)


@breaks("test_a_changed_definition_keeps_the_position_and_refuses_the_owner_before")
class Anonymous(TableDestination):
    async def recorded_identity(self, stream):
        return Identity()


@pytest.mark.parametrize(("obligation", "cls"), BROKEN, ids=lambda it: getattr(it, "__name__", it))
def test_each_obligation_catches_who_breaks_it(obligation, cls, monkeypatch):
    monkeypatch.setattr(obligations, "LONGEST", 1.0)
    test = getattr(TransactionalContract(), obligation)

    async def run():
        async with asyncio.timeout(20):
            await test(place_of(cls))

    with pytest.raises(AssertionError, match="the contract is broken: "):
        asyncio.run(run()) if inspect.iscoroutinefunction(test) else test(place_of(cls))


def test_each_obligation_is_broken_by_some_destination():
    inherited = {name for name in dir(DestinationContract) if name.startswith("test_")}
    own = {name for name in dir(TransactionalContract) if name.startswith("test_")} - inherited
    assert own == {obligation for obligation, _ in BROKEN}
