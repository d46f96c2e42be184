"""Files say to their readers what happened: the newest state, the partition's value, the operation."""

import gzip
import json
import re
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import bson
import duckdb
import pyarrow.dataset
import pytest
import zstandard
from bson import Decimal128, Int64, ObjectId
from rigatoni_core.api.events import Definition
from rigatoni_json.serializer import JsonSerializer
from rigatoni_local.destination import LocalDestination
from rigatoni_mongodb.source import MongoDBSource
from rigatoni_testing.batches import START, STREAM, batch_of, event_document

DOCS = Path(__file__).parents[2] / "docs"


def newest_states_query(lake: Path, database: str) -> str:
    """The query for the newest state of each document of `shop.orders`, as docs/formats.md gives it to users."""
    query = re.findall(r"```sql\n(.*?)```", (DOCS / "formats.md").read_text(), re.DOTALL)[0]
    for ours, theirs in (("'lake/", f"'{lake}/"), ("'shop.", f"'{database}."), ("'shop'", f"'{database}'")):
        assert ours in query
        query = query.replace(ours, theirs)
    return query.rstrip().rstrip(";")


@pytest.mark.parametrize("batch_size", [10_000, 7])
def test_the_documented_query_shows_the_newest_state_of_documents_that_a_transaction_changed_twice(
    case, database, batch_size
):
    """b02: nothing ordered the events of one transaction."""
    database.create_collection("orders")
    orders = case(
        [f"{database.name}.orders"],
        serializer='{ type = "zstd", inner = { type = "csv" } }',
        settings=f"batch_timeout = 0.2\nbatch_size = {batch_size}",
    )
    orders.must_run_once()
    with database.client.start_session() as session, session.start_transaction():
        database.orders.insert_many([{"_id": number, "status": "new"} for number in range(50)], session=session)
        for status in ("open", "paid"):
            for number in range(50):
                database.orders.replace_one({"_id": number}, {"_id": number, "status": status}, session=session)
        database.orders.delete_one({"_id": 7}, session=session)
    orders.must_run_once()
    rows = duckdb.sql(newest_states_query(orders.folder / "lake", database.name)).fetchall()
    documents = [json.loads(value) for row in rows for value in row if isinstance(value, str) and "status" in value]
    assert {document["_id"] for document in documents} == set(range(50)) - {7}
    assert len(documents) == 49
    assert {document["status"] for document in documents} == {"paid"}


def as_hive(folder: str) -> str:
    """A folder's value as Hive, Spark and Trino read it: each escape is one character, not a byte of UTF-8."""
    return re.sub("%([0-9A-Fa-f]{2})", lambda match: chr(int(match[1], 16)), folder)


CITIES = [
    "München",
    "Paris",
    "東京",
    "São Paulo",
    "a/b",
    "x=y",
    "50 %",
    "q?#:",
    "ab'c",
    "naïve ~tilde",
    "..",
    ".hidden",
]


def test_values_are_read_back_by_hive_duckdb_and_arrow_as_they_were(case, database):
    """b04: percent-encoded UTF-8 is mojibake in Spark, Hive and Trino."""
    cities = case([f"{database.name}.c"], serializer='{ type = "parquet" }', partition='partition_by = ["field:city"]')
    cities.must_run_once()
    database.c.insert_many([{"city": city} for city in CITIES])
    cities.must_run_once()
    lake = cities.folder / "lake"
    folders = {path.parent.name.removeprefix("city=") for path in cities.files(".parquet")}
    assert {as_hive(folder) for folder in folders} == set(CITIES)
    pattern = f"{lake}/**/city=*/*.parquet"
    by_duckdb = duckdb.sql(f"SELECT DISTINCT city FROM read_parquet('{pattern}', hive_partitioning = true)").fetchall()
    assert {city for (city,) in by_duckdb} == set(CITIES)
    below = next(path.parent.parent for path in cities.files(".parquet"))
    partitioning = pyarrow.dataset.partitioning(flavor="hive")
    table = pyarrow.dataset.dataset(below, partitioning=partitioning, exclude_invalid_files=True).to_table()
    assert set(table["city"].to_pylist()) == set(CITIES)


VALUES = {
    "uuid": bson.Binary.from_uuid(uuid.UUID("12345678-1234-5678-1234-567812345678")),
    "long": Int64(2**53),
    "decimal": Decimal128("1.50"),
    "object id": ObjectId("0123456789abcdef01234567"),
    "true": True,
    "text": "true",
    "date": datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
    "double": 2.5,
}


def plain_json(value: object) -> str:
    """The text of a value in the serializers' mode `plain`."""
    batch = batch_of([event_document(0, fullDocument={"value": value})])
    text = json.loads(JsonSerializer(mode="plain").serialize(batch))["fullDocument"]["value"]
    return text if isinstance(text, str) else json.dumps(text)


@pytest.mark.parametrize("kind", VALUES)
async def test_a_folder_names_a_value_as_plain_json_spells_it(tmp_path, kind):
    """b05: a UUID became the repr of Python bytes."""
    lake = LocalDestination(path=tmp_path, serializer=JsonSerializer(), partition_by=("field:tenant",))
    batch = batch_of([event_document(0, fullDocument={"tenant": VALUES[kind]})])
    batch.decoder = MongoDBSource.decoder
    async with lake:
        await lake.begin(STREAM, Definition("fingerprint", {}), START)
        assert await lake.write_batch(batch) is None
    (path,) = [path for path in tmp_path.rglob("*.ndjson") if "_rigatoni" not in path.parts]
    spelled = path.parent.name.removeprefix("tenant=")
    assert plain_json(VALUES[kind]) in (as_hive(spelled), unquote(spelled))


@pytest.mark.parametrize("field", ["operation", "Operation", "full_document"])
@pytest.mark.parametrize("kind", ["parquet", "csv", "avro"])
def test_a_partition_is_never_read_in_place_of_a_column(case, database, kind, field):
    """b06: readers let the folder win, so a delete read as a purchase."""
    keyed = case(
        [f"{database.name}.c"], serializer=f'{{ type = "{kind}" }}', partition=f'partition_by = ["field:{field}"]'
    )
    done = keyed.command("validate", "p.toml")
    if done.returncode != 0:
        assert field in done.stdout + done.stderr
        assert keyed.once().returncode != 0
        return
    keyed.must_run_once()
    database.c.insert_one({"_id": 1, field: "buy"})
    database.c.delete_one({"_id": 1})
    keyed.must_run_once()
    columns = {"operation", "full_document"}
    for path in keyed.files(f".{kind}"):
        names = {part.partition("=")[0].lower() for part in path.relative_to(keyed.folder).parts if "=" in part}
        assert not names & columns


def test_a_partition_may_have_the_name_of_no_column(case, database):
    """b06: the other side."""
    plain = case([f"{database.name}.c"], serializer='{ type = "parquet" }', partition='partition_by = ["field:kind"]')
    assert plain.command("validate", "p.toml").returncode == 0


BOMB = """
import resource, sys
from rigatoni_compression.{module} import {cls}
from rigatoni_json.serializer import JsonSerializer
content = sys.stdin.buffer.read()
serializer = {cls}(inner=JsonSerializer())
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
try:
    list(serializer.deserialize(content))
except Exception as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize(("module", "cls"), [("zstd", "ZstdSerializer"), ("gzip", "GzipSerializer")])
def test_a_small_file_that_unpacks_to_gigabytes_is_refused(module, cls):
    """c18: in the dead letters it cost 2 GB of memory."""
    chunk = b" " * 2**24
    if module == "zstd":
        packer = zstandard.ZstdCompressor().compressobj()
        bomb = b"".join(packer.compress(chunk) for _ in range(128)) + packer.flush()
    else:
        bomb = gzip.compress(chunk, 9) * 128
    done = subprocess.run(
        [sys.executable, "-c", BOMB.format(module=module, cls=cls)], input=bomb, capture_output=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == b"UnreadableError"
