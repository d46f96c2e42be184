"""What is in the tables, and which errors users see."""

import json

import polars as pl
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.typedef import EMPTY_DICT
from rigatoni_bson.columns import COLUMNS
from rigatoni_core.api.errors import Transient
from rigatoni_core.api.events import Definition
from rigatoni_core.api.options import Secret
from rigatoni_core.api.settings import Settings
from rigatoni_iceberg.destination import IcebergDestination
from rigatoni_iceberg.errors import IcebergError, IcebergUnavailableError
from rigatoni_testing.batches import START, STREAM, batch_of, event_document
from rigatoni_testing.servers import free_port
from sqlalchemy.exc import IntegrityError

DEFINITION = Definition("f", {"watch": "shop.orders"})


async def test_rows_are_the_events_partitioned_by_day_for_readers_that_nobody_here_wrote(lake, monkeypatch):
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    documents = [
        event_document(0, fullDocument={"_id": 0, "n": 2**53 + 1, "text": "a\0b"}),
        event_document(90_000_000),
        event_document(90_000_001, operationType="delete", fullDocument=None),
    ]
    async with lake.make() as destination:
        await destination.begin(STREAM, DEFINITION, START)
        await destination.write_batch(batch_of(documents, stream=STREAM))
    table = lake.table()
    days = {row["partition"]["cluster_time_day"].isoformat() for row in table.inspect.partitions().to_pylist()}
    assert days == {"2023-11-14", "2023-11-15"}
    metadata = table.metadata_location.removeprefix("file://")
    rows = pl.scan_iceberg(metadata, reader_override="native").collect()  # Polars reads the files itself
    rows = rows.sort("cluster_time", "cluster_time_increment", "ordinal")
    assert rows.columns == [column.name for column in COLUMNS]
    assert json.loads(rows["full_document"][0]) == {"_id": 0, "n": 2**53 + 1, "text": "a\0b"}
    assert rows["operation"].to_list() == ["insert", "insert", "delete"]
    assert rows["cluster_time"][0].isoformat() == "2023-11-14T22:13:20+00:00"


async def test_a_catalog_that_is_down_is_transient_and_shows_no_secret(tmp_path):
    catalog = {
        "type": Secret("rest"),
        "uri": Secret(f"http://127.0.0.1:{free_port()}"),
        "token": Secret("a-secret-token"),
    }
    destination = IcebergDestination(namespace="shop", catalog=catalog)
    with pytest.raises(IcebergUnavailableError, match=r"cannot open the catalog of the Iceberg table shop\.") as raised:
        async with destination:
            pass
    assert isinstance(raised.value, Transient)
    assert "a-secret" not in f"{raised.value}{raised.value.remedy}{destination!r}"


async def test_a_catalog_of_an_unknown_type_is_an_error_with_a_remedy():
    with pytest.raises(IcebergError) as raised:
        async with IcebergDestination(namespace="shop", catalog={"type": Secret("oracle")}):
            pass
    assert not isinstance(raised.value, Transient)
    assert raised.value.remedy


async def test_a_sql_catalog_that_cannot_be_opened_shows_no_password():
    uri = f"postgresql+psycopg://user:pass-word@127.0.0.1:{free_port()}/catalog"
    catalog = {"type": Secret("sql"), "uri": Secret(uri), "warehouse": Secret("file:///nowhere")}
    with pytest.raises(IcebergUnavailableError) as raised:
        async with IcebergDestination(namespace="shop", catalog=catalog):
            pass
    assert "pass-word" not in str(raised.value)


async def test_two_instances_may_create_the_namespace_at_the_same_moment(lake, monkeypatch):
    create, calls = SqlCatalog.create_namespace, []

    def overtaken(catalog, namespace, properties=EMPTY_DICT):
        calls.append(namespace)
        create(catalog, namespace, properties)  # by the other instance
        if len(calls) == 1:
            raise IntegrityError("INSERT", {}, Exception("UNIQUE constraint failed"))

    monkeypatch.setattr(SqlCatalog, "create_namespace", overtaken)
    async with lake.make() as destination:
        await destination.begin(STREAM, DEFINITION, START)
    assert len(calls) == 2


def test_small_files_and_a_catalog_in_sqlite_are_advised_against():
    destination = IcebergDestination(namespace="shop", catalog={"uri": Secret("sqlite:///catalog.db")})
    files, sqlite = destination.advice(Settings(batch_timeout=5.0))
    assert "17,280 commits a day" in files
    assert "one machine" in sqlite
    assert destination.advice(Settings(batch_timeout=60.0)) == (sqlite,)


async def test_the_manifests_of_many_commits_are_merged_and_hold_every_row_once(lake):
    everything = batch_of([event_document(number) for number in range(12)], stream=STREAM)
    async with lake.make() as destination:
        await destination.begin(STREAM, DEFINITION, START)
        with lake.table().transaction() as transaction:
            transaction.set_properties({"commit.manifest.min-count-to-merge": "5"})  # 100 by default
        for number in range(12):
            await destination.write_batch(everything[number : number + 1])
    table = lake.table()
    assert len(table.current_snapshot().manifests(table.io)) < 6
    tokens = lake.rows()["resume_token"].to_pylist()
    assert len(tokens) == len(set(tokens)) == 12
