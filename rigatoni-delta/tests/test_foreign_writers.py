"""Others write to the table as well: compactions, Spark jobs, restores, dropped tables, changed columns."""

import json

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake
from rigatoni_core.api.errors import LeaseLostError
from rigatoni_core.api.events import Definition, Stream
from rigatoni_delta.destination import DeltaDestination
from rigatoni_delta.history import app_id
from rigatoni_tables.errors import CommitRefusedError, TableConflictError, TableRestoredError, TableSchemaError
from rigatoni_testing.batches import START, STREAM, batch_of, event_document

DEFINITION = Definition("f", {"watch": "shop.orders"})
EVERYTHING = batch_of([event_document(number) for number in range(40)], stream=STREAM)


def tokens(lake):
    return [json.loads(token)["_data"] for token in lake.rows()["resume_token"].to_pylist()]


def expected(last):
    return [f"82{number:012X}" for number in range(last)]


@pytest.fixture
async def destination(lake):
    async with lake.make() as destination:
        await destination.begin(STREAM, DEFINITION, START)
        for first in (0, 3, 6):
            await destination.write_batch(EVERYTHING[first : first + 3])
        yield destination


async def test_compactions_and_vacuums_in_between_change_nothing(lake, destination):
    lake.table().optimize.compact()
    await destination.write_batch(EVERYTHING[9:12])
    lake.table().vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    await destination.write_batch(EVERYTHING[12:15])
    assert tokens(lake) == expected(15)
    async with lake.make() as another:
        assert (await another.begin(STREAM, DEFINITION, START)).order == EVERYTHING[:15].end.order


async def test_an_append_of_another_job_between_read_and_commit_is_no_loss(lake, destination, monkeypatch):
    foreign = lake.table().to_pyarrow_table().slice(0, 1)
    foreign = foreign.set_column(0, "resume_token", pa.array(['{"_data": "spark"}']))
    commit, times = DeltaDestination.commit, []

    def late(self, *arguments):
        if not times:
            write_deltalake(lake.table(), foreign, mode="append")
        times.append(1)
        return commit(self, *arguments)

    monkeypatch.setattr(DeltaDestination, "commit", late)
    await destination.write_batch(EVERYTHING[9:12])
    assert len(times) == 2, "the library must not retry on top of another's commit"
    assert sorted(tokens(lake)) == sorted([*expected(12), "spark"])


@pytest.mark.parametrize("mode", ["log", "current"])
async def test_two_commits_against_one_snapshot_are_never_both_made(lake, mode):
    async with lake.make(mode=mode) as one:
        await one.begin(STREAM, DEFINITION, START)
        await one.write_batch(EVERYTHING[:3])
        held = [one.read("shop.orders", STREAM) for _ in range(2)]
        rows, record = one._rows.of(EVERYTHING[3:6]), held[0].record.after(EVERYTHING[3:6])
        one.commit("shop.orders", held[0], rows, record)
        with pytest.raises(CommitRefusedError):
            one.commit("shop.orders", held[1], rows, record)
    assert lake.table().to_pyarrow_table().num_rows == 6


async def test_a_table_on_which_others_always_commit_first_is_a_transient_conflict(lake, destination, monkeypatch):
    foreign = lake.table().to_pyarrow_table().slice(0, 1)
    commit = DeltaDestination.commit

    def late(self, *arguments):
        write_deltalake(lake.table(), foreign, mode="append")
        return commit(self, *arguments)

    monkeypatch.setattr(DeltaDestination, "commit", late)
    monkeypatch.setattr("rigatoni_tables.destination.ATTEMPTS", 2)
    with pytest.raises(TableConflictError, match="at each of 2 attempts"):
        await destination.write_batch(EVERYTHING[9:12])


async def test_a_restored_table_gets_again_what_it_lost(lake, destination):
    lake.table().restore(2)  # the rows of the first two batches
    with pytest.raises(LeaseLostError):
        await destination.write_batch(EVERYTHING[9:12])
    held = await destination.begin(STREAM, DEFINITION, EVERYTHING[:9].end)
    assert held.order == EVERYTHING[:6].end.order
    await destination.write_batch(EVERYTHING[6:12])
    assert tokens(lake) == expected(12)
    lake.table().restore(0)  # before any row: only the anchor is left
    held = await destination.begin(STREAM, DEFINITION, EVERYTHING[:9].end)
    assert held == START


async def test_a_table_that_was_restored_by_time_stops_the_stream(lake, destination, monkeypatch):
    monkeypatch.setattr(
        DeltaTable, "history", lambda *_: [{"version": 3, "operation": "RESTORE", "operationParameters": {}}]
    )
    with pytest.raises(TableRestoredError, match="restored by time") as raised:
        await destination.write_batch(EVERYTHING[9:12])
    assert "by the number of a version" in raised.value.remedy


async def test_a_position_that_the_log_no_longer_holds_stops_the_stream(lake, destination, monkeypatch):
    history = DeltaTable.history
    monkeypatch.setattr(
        DeltaTable,
        "history",
        lambda *arguments: [
            {name: value for name, value in commit.items() if name != app_id(STREAM)}
            for commit in history(*arguments)
            if commit["version"]
        ],
    )
    with pytest.raises(TableRestoredError, match="no longer holds"):
        await destination.write_batch(EVERYTHING[9:12])


async def test_the_record_is_found_behind_many_commits_of_others(lake, destination):
    foreign = lake.table().to_pyarrow_table().slice(0, 1)
    for _ in range(12):
        write_deltalake(lake.table(), foreign, mode="append", commit_properties=CommitProperties({"by": "spark"}))
    async with lake.make() as another:
        assert (await another.begin(STREAM, DEFINITION, START)).order == EVERYTHING[:9].end.order


async def test_a_table_that_is_dropped_meanwhile_is_created_again_at_the_checkpoint(lake, destination):
    import shutil

    shutil.rmtree(lake.path / "shop.orders")
    with pytest.raises(LeaseLostError, match="removed"):
        await destination.write_batch(EVERYTHING[9:12])
    await destination.begin(STREAM, DEFINITION, EVERYTHING[:9].end)
    await destination.write_batch(EVERYTHING[9:12])
    assert tokens(lake) == expected(12)[9:]


async def test_columns_of_others_stay_and_missing_ones_are_added(lake):
    schema = pa.schema([("operation", pa.string()), ("note", pa.string()), ("date", pa.date32())])
    DeltaTable.create(lake.path / "shop.orders", schema, partition_by=["date"])
    async with lake.make() as destination:
        await destination.begin(STREAM, DEFINITION, START)
        await destination.write_batch(EVERYTHING[:3])
        await destination.write_batch(EVERYTHING[3:6])
    assert tokens(lake) == expected(6)
    assert lake.rows()["note"].null_count == 6


@pytest.mark.parametrize("kind", [pa.string(), pa.int32(), pa.float64()])
async def test_a_column_of_another_type_stops_and_nothing_is_cast(lake, kind):
    DeltaTable.create(lake.path / "shop.orders", pa.schema([("ordinal", kind), ("date", pa.date32())]))
    async with lake.make() as destination:
        with pytest.raises(
            TableSchemaError, match=r"the column ordinal of the Delta table .* is .*Rigatoni writes int64"
        ):
            await destination.begin(STREAM, DEFINITION, START)
    assert lake.table().to_pyarrow_table().num_rows == 0


async def test_several_streams_share_a_table(lake):
    streams = [Stream("p", name) for name in ("a.one", "a.two")]
    async with lake.make(table="changes") as destination:
        for stream in streams:
            await destination.begin(stream, DEFINITION, START)
        for first in range(0, 9, 3):
            for stream in streams:
                batch = batch_of([event_document(number) for number in range(9)], stream=stream)
                await destination.write_batch(batch[first : first + 3])
        assert lake.table("changes").to_pyarrow_table().num_rows == 18
        for stream in streams:
            committed = await destination.last_committed(stream)
            assert committed.order == EVERYTHING[:9].end.order
