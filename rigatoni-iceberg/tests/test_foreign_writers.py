"""Others write to the table as well: Spark jobs, rollbacks, expired snapshots, dropped tables, changed columns."""

import json

import pyarrow as pa
import pytest
from rigatoni_core.api.errors import LeaseLostError
from rigatoni_core.api.events import Definition, Stream
from rigatoni_iceberg.destination import IcebergDestination
from rigatoni_tables.errors import CommitRefusedError, TableConflictError, TableRestoredError, TableSchemaError
from rigatoni_tables.rows import SCHEMA
from rigatoni_testing.batches import START, STREAM, batch_of, event_document

DEFINITION = Definition("f", {"watch": "shop.orders"})
EVERYTHING = batch_of([event_document(number) for number in range(40)], stream=STREAM)
FOREIGN = SCHEMA.empty_table().from_pylist([{"resume_token": '{"_data": "spark"}'}], SCHEMA)


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


async def test_an_append_of_another_job_between_read_and_commit_is_no_loss(lake, destination, monkeypatch):
    commit, times = IcebergDestination.commit, []

    def late(self, *arguments):
        if not times:
            lake.table().append(FOREIGN)
        times.append(1)
        return commit(self, *arguments)

    monkeypatch.setattr(IcebergDestination, "commit", late)
    await destination.write_batch(EVERYTHING[9:12])
    assert len(times) == 2, "the library must not retry on top of another's commit"
    assert sorted(tokens(lake)) == sorted([*expected(12), "spark"])


async def test_two_commits_against_one_snapshot_are_never_both_made(lake, destination):
    async with lake.make() as another:
        await another.begin(STREAM, DEFINITION, START)
        held = another.read("shop_orders", STREAM)
        record = held.record.after(EVERYTHING[9:12])
        rows = another._rows.of(EVERYTHING[9:12])
        destination.commit("shop_orders", destination.read("shop_orders", STREAM), rows, record)
        with pytest.raises(CommitRefusedError):
            another.commit("shop_orders", held, rows, record)
    assert tokens(lake) == expected(12)


async def test_a_table_on_which_others_always_commit_first_is_a_transient_conflict(lake, destination, monkeypatch):
    commit = IcebergDestination.commit

    def late(self, *arguments):
        lake.table().append(FOREIGN)
        return commit(self, *arguments)

    monkeypatch.setattr(IcebergDestination, "commit", late)
    monkeypatch.setattr("rigatoni_tables.destination.ATTEMPTS", 2)
    with pytest.raises(TableConflictError, match="at each of 2 attempts"):
        await destination.write_batch(EVERYTHING[9:12])


async def test_expired_snapshots_do_not_take_the_position_with_them(lake, destination):
    for _ in range(2):
        lake.table().append(FOREIGN)
    table = lake.table()
    newest = table.current_snapshot().snapshot_id
    table.maintenance.expire_snapshots().by_ids(
        [each.snapshot_id for each in table.snapshots() if each.snapshot_id != newest]
    ).commit()
    assert len(lake.table().snapshots()) == 1
    async with lake.make() as another:
        assert (await another.begin(STREAM, DEFINITION, START)).order == EVERYTHING[:9].end.order
        await another.write_batch(EVERYTHING[9:12])
    assert [token for token in tokens(lake) if token != "spark"] == expected(12)


def roll_back(table, snapshot_id):
    with table.manage_snapshots() as manage:
        manage.set_current_snapshot(snapshot_id=snapshot_id)


async def test_a_rolled_back_table_gets_again_what_it_lost(lake, destination):
    second = lake.table().snapshots()[1]
    roll_back(lake.table(), second.snapshot_id)
    assert tokens(lake) == expected(6)
    with pytest.raises(LeaseLostError):
        await destination.write_batch(EVERYTHING[9:12])
    held = await destination.begin(STREAM, DEFINITION, EVERYTHING[:9].end)
    assert held.order == EVERYTHING[:6].end.order
    await destination.write_batch(EVERYTHING[6:12])
    assert tokens(lake) == expected(12)


async def test_a_table_that_was_rolled_back_to_before_the_first_commit_stops_the_stream(lake):
    async with lake.make() as destination:
        await destination.begin(STREAM, DEFINITION, START)
        lake.table().append(FOREIGN)
        foreign = lake.table().current_snapshot().snapshot_id
        await destination.write_batch(EVERYTHING[:3])
        roll_back(lake.table(), foreign)
        with pytest.raises(TableRestoredError, match="before the first commit") as raised:
            await destination.write_batch(EVERYTHING[3:6])
    assert raised.value.remedy


async def test_a_table_that_is_dropped_meanwhile_is_created_again_at_the_checkpoint(lake, destination):
    lake.catalog.drop_table(("shop", "shop_orders"))
    with pytest.raises(LeaseLostError, match="removed"):
        await destination.write_batch(EVERYTHING[9:12])
    await destination.begin(STREAM, DEFINITION, EVERYTHING[:9].end)
    await destination.write_batch(EVERYTHING[9:12])
    assert tokens(lake) == expected(12)[9:]


async def test_columns_of_others_stay_and_missing_ones_are_added(lake, destination):
    with lake.table().update_schema() as update:
        update.delete_column("txn_number")
    with lake.table().update_schema() as update:
        from pyiceberg.types import StringType

        update.add_column("note", StringType())
    await destination.write_batch(EVERYTHING[9:12])
    assert tokens(lake) == expected(12)
    assert {"note", "txn_number"} <= set(lake.rows().column_names)


async def test_a_column_of_another_type_stops_and_nothing_is_cast(lake):
    catalog = lake.catalog
    catalog.create_namespace("shop")
    catalog.create_table(("shop", "shop_orders"), pa.schema([("ordinal", pa.string())]))
    async with lake.make() as destination:
        with pytest.raises(TableSchemaError, match=r"the column ordinal of the Iceberg table shop\.shop_orders"):
            await destination.begin(STREAM, DEFINITION, START)
    assert lake.table().scan().to_arrow().num_rows == 0


async def test_several_streams_share_a_table(lake):
    streams = [Stream("p", name) for name in ("a.one", "a.two")]
    async with lake.make(table="changes") as destination:
        for stream in streams:
            await destination.begin(stream, DEFINITION, START)
        for first in range(0, 9, 3):
            for stream in streams:
                batch = batch_of([event_document(number) for number in range(9)], stream=stream)
                await destination.write_batch(batch[first : first + 3])
        assert lake.table("changes").scan().to_arrow().num_rows == 18
        for stream in streams:
            committed = await destination.last_committed(stream)
            assert committed.order == EVERYTHING[:9].end.order
