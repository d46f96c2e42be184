"""Reading a folder back: all readable files, in order."""

import attrs
import pytest
from rigatoni_core.api.contracts import Deserializer
from rigatoni_core.api.errors import ChainError, UnreadableError
from rigatoni_core.api.events import Stream
from rigatoni_core.engine.single_event_writer import SingleEventWriter
from rigatoni_local.destination import LocalDestination
from rigatoni_testing.batches import START, batch_of
from rigatoni_testing.serializers import TokenLines

ORDERS, USERS, OTHER = Stream("lake", "shop.orders"), Stream("lake", "shop.users"), Stream("lake.else", "shop.users")


@pytest.fixture
def readable():
    @attrs.define(kw_only=True)
    class Readable(TokenLines, Deserializer):
        suffix = ".txt"

        def deserialize(self, content):
            return [{"token": line} for line in content.decode().splitlines()]

    return Readable


async def read(destination, pipeline="lake", found=None):
    """Collect the tokens read back in `found`, which keeps them if reading fails in the end."""
    found = [] if found is None else found
    async for document in destination.read_back(pipeline):
        found.append(document["token"])
    return found


def tokens(batch):
    return [batch.token_and_time(index)[0] for index in range(len(batch))]


async def test_all_streams_of_one_pipeline_come_back_each_in_its_order(tmp_path, readable, definition, event):
    whole = batch_of(event(number, seconds=1_700_000_000 + number * 50_000) for number in range(9))
    users = batch_of([event(50, collection="users")], stream=USERS)
    other = batch_of([event(51, collection="users")], stream=OTHER)
    async with LocalDestination(path=tmp_path, serializer=readable(), partition_by=("day",)) as destination:
        assert await read(destination) == []
        for stream in (ORDERS, USERS, OTHER):
            await destination.begin(stream, definition, START)
        for batch in (users, other):
            await destination.write_batch(batch)
        rest = attrs.evolve(definition, fingerprint="changed")
        for start in range(9):
            if start == 5:  # later definitions come after earlier ones
                await destination.begin(stream_of(whole), rest, whole[:5].end)
            await destination.write_batch(batch_of([whole.raw(start).tobytes()], stream=ORDERS, after=at(whole, start)))
        assert await read(destination) == tokens(whole) + tokens(users)
        assert await read(destination, "lake.else") == tokens(other)
        assert await read(destination, "nothing") == []


def stream_of(batch):
    return Stream("lake", batch.stream.name)


def at(whole, index):
    return whole[:index].end if index else START


async def test_what_can_not_be_read_is_named_after_all_that_can(tmp_path, readable, serializer, definition, event):
    @attrs.define(kw_only=True)
    class Renamed(readable):  # type: ignore[valid-type]
        suffix = ".new.txt"

    batches = [batch_of([event(number)], stream=ORDERS) for number in range(4)]
    async with LocalDestination(path=tmp_path, serializer=readable()) as destination:
        await destination.begin(ORDERS, definition, START)
        for batch in batches[:3]:
            await destination.write_batch(batch)
    newest = sorted(tmp_path.glob("lake/*/*.txt"))[2]
    newest.unlink()  # its record remains, as after a crash
    async with LocalDestination(path=tmp_path, serializer=Renamed()) as destination:
        await destination.begin(ORDERS, definition, batches[1].end)
        await destination.write_batch(batches[3])
        found = []
        with pytest.raises(UnreadableError, match="2 files or objects") as caught:
            await read(destination, found=found)
        assert found == tokens(batches[3])
        assert "serializer" in caught.value.remedy
    async with LocalDestination(path=tmp_path, serializer=serializer) as destination:
        with pytest.raises(UnreadableError, match="cannot read"):
            await read(destination)


async def test_a_missing_file_is_named_unless_its_batch_may_be_unfinished(tmp_path, readable, definition, event):
    batches = [batch_of([event(number)], stream=ORDERS) for number in range(3)]
    async with LocalDestination(path=tmp_path, serializer=readable(), partition_by=("namespace",)) as destination:
        await destination.begin(ORDERS, definition, START)
        for batch in batches:
            await destination.write_batch(batch)
        _, middle, newest = sorted(tmp_path.rglob("*.txt"))
        newest.unlink()
        assert await destination.missing_objects("lake", {}) == {}
        assert await destination.missing_objects("lake", {ORDERS: batches[1].end}) == {}
        assert await destination.missing_objects("lake", {ORDERS: batches[2].end}) == {ORDERS: [newest.name]}
        middle.unlink()
        assert await destination.missing_objects("lake", {}) == {ORDERS: [middle.name]}
        assert await destination.missing_objects("nothing", {}) == {}


async def test_D5_single_events_are_written_once_whatever_the_layout_is_at_that_time(
    tmp_path, readable, event, written
):
    """A dead letter that was not written when the process ended is rewritten, perhaps under other options."""
    whole = batch_of(event(number) for number in range(4))
    decoder = whole.decoder

    async def write(indices, **options):
        async with LocalDestination(path=tmp_path, serializer=readable(**options)) as destination:
            side = SingleEventWriter(Stream("lake.dead-letters", "shop.orders"), destination)
            for index in indices:
                await side.write(whole.position_at(index), bytes(whole.raw(index)), decoder)
            return await read(destination, "lake.dead-letters")

    assert await write([0, 1]) == tokens(whole)[:2]
    assert await write([3, 0, 2], reject=False) == tokens(whole)
    assert await write([1, 3]) == tokens(whole)
    assert [path.name for path in tmp_path.rglob("definition-*.json")] == ["definition-0.json"]
    assert sorted(token for found in written(tmp_path).values() for token in found) == sorted(tokens(whole))


async def test_D5_a_letter_that_was_begun_with_another_serializer_is_not_completed_with_this_one(
    tmp_path, readable, event
):
    @attrs.define(kw_only=True)
    class Renamed(readable):  # type: ignore[valid-type]
        suffix = ".new"

    whole = batch_of([event(0)])
    stream = Stream("lake.dead-letters", "shop.orders")
    for serializer, error in ((readable(), None), (Renamed(), ChainError), (readable(), None)):
        async with LocalDestination(path=tmp_path, serializer=serializer) as destination:
            writer = SingleEventWriter(stream, destination)
            writing = writer.write(whole.position_at(0), bytes(whole.raw(0)), whole.decoder)
            if error is None:
                await writing
                (path,) = tmp_path.rglob("*.txt")
                path.unlink()  # as if it had been killed between the record and the file
            else:
                with pytest.raises(error, match="another serializer"):
                    await writing
