"""`rigatoni tables view`, run by DuckDB over what a pipeline wrote: it gives the collection, whatever the lake is."""

import asyncio
import json
import random

import duckdb
import pytest
from deltalake import DeltaTable
from rigatoni_core.api.settings import Settings, SnapshotSettings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_csv.serializer import CsvSerializer
from rigatoni_delta.destination import DeltaDestination
from rigatoni_json.serializer import JsonSerializer
from rigatoni_local.destination import LocalDestination
from rigatoni_ops.current_view import current_view
from rigatoni_parquet.serializer import ParquetSerializer
from rigatoni_testing.versioned import VersionedCollection, VersionedSource

FILES = {
    "parquet": (
        ParquetSerializer(),
        "read_parquet('{}/**/*.parquet', union_by_name = true, hive_partitioning = false)",
    ),
    "csv": (CsvSerializer(), "read_csv('{}/**/*.csv', union_by_name = true, hive_partitioning = false)"),
    "json": (JsonSerializer(ordinal=True), "read_ndjson_objects('{}/**/*.ndjson', hive_partitioning = false)"),
}


async def write(collection, destination, chance):
    """Run a pipeline with a snapshot, while the collection changes."""

    async def change(what):
        for _ in range(10 if what.startswith("read") and len(collection.changes) < 40 else 0):
            key = chance.randrange(25)
            if key in collection.state() and chance.random() < 0.5:
                collection.remove(key, same_time=chance.random() < 0.5)
            else:
                collection.put(key, {"v": len(collection.changes)}, same_time=chance.random() < 0.5)

    source = VersionedSource(collection=collection, borders=(10,), pause=change, reply_events=3, await_time=0.02)
    pipeline = Pipeline(
        name="lake",
        source=source,
        destination=destination,
        state=MemoryStateStore(),
        settings=Settings(batch_bytes=2000, batch_timeout=0.02, snapshot=SnapshotSettings(mode="initial")),
    )
    assert (await asyncio.wait_for(pipeline.run(once=True), 60)).ok
    assert len(collection.changes) == 40


def documents(connection, relation, **options):
    connection.execute(current_view("shop", "orders", name="orders", relation=relation, **options))
    rows = connection.execute("SELECT document, is_current FROM orders").fetchall()
    assert all(is_current for _, is_current in rows)
    found = [json.loads(document) for document, _ in rows]
    assert len({document["_id"] for document in found}) == len(found)
    return {document.pop("_id"): document for document in found}


@pytest.mark.parametrize("form", FILES)
def test_over_files(form, tmp_path):
    serializer, relation = FILES[form]
    collection = VersionedCollection({key: {"v": -key} for key in range(20)})
    destination = LocalDestination(path=tmp_path / "lake", serializer=serializer)
    asyncio.run(write(collection, destination, random.Random(form)))
    with duckdb.connect() as connection:
        found = documents(connection, relation.format(tmp_path / "lake"), json_lines=form == "json")
    assert found == collection.state()


def test_over_a_log_table(tmp_path):
    collection = VersionedCollection({key: {"v": -key} for key in range(20)})
    destination = DeltaDestination(path=str(tmp_path))
    asyncio.run(write(collection, destination, random.Random(1)))
    with duckdb.connect() as connection:
        connection.register("log", DeltaTable(tmp_path / "shop.orders").to_pyarrow_table())
        assert documents(connection, "log") == collection.state()


EVENTS = """(
    SELECT *, 'shop' AS database, 'orders' AS collection, to_timestamp(100) AS cluster_time, 0 AS ordinal,
        '' AS unknown_fields, document_key AS full_document
    FROM (VALUES ('insert', '{"_id":1}', 5), ('read', '{"_id":2}', 6))
        AS changes(operation, document_key, cluster_time_increment)
) AS events"""


def test_changes_before_an_epoch_do_not_count():
    with duckdb.connect() as connection:
        assert set(documents(connection, EVENTS)) == {1, 2}
        assert set(documents(connection, EVENTS, since=(100, 6))) == {2}
        assert set(documents(connection, EVENTS, since=(101, 0))) == set()
