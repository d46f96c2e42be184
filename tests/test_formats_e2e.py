"""Each tabular format from a server's change stream to what an independent reader finds in the files (scenario H1)."""

import subprocess
import sys
from datetime import UTC, datetime

import bson
import duckdb
import fastavro
import pytest
from bson import Decimal128, Int64, ObjectId, json_util
from pymongo import MongoClient
from rigatoni_mongodb.testing.server import mongodb_server

CONFIGURATION = """\
[pipeline]
name = "p"
batch_size = 4

[pipeline.source]
type = "mongodb"
uri = {{ env = "MONGODB_URI" }}
watch = ["formats.*"]
max_await_time = 0.1

[pipeline.destination]
type = "local"
path = "lake"
partition_by = ["namespace"]
serializer = {serializer}

[pipeline.state]
type = "file"
path = "state"
"""
UTC_DATES = json_util.JSONOptions(tz_aware=True)
DOCUMENT = {
    "_id": ObjectId("65f000000000000000000001"),
    "name": 'näme "quoted", and\nmore',
    "count": Int64(2**53 + 1),
    "price": Decimal128("1.10"),
    "at": datetime(2024, 5, 1, 12, 0, 5, 123000, tzinfo=UTC),
    "tags": ["a", None, {"b": 1.5}],
}


def with_duckdb(function):
    def read(folder):
        with duckdb.connect(config={"threads": 1}) as connection:
            columns = "operation, collection, document_key, full_document, update_description"
            order = "ORDER BY cluster_time, cluster_time_increment"
            query = f"SELECT {columns} FROM {function.format(folder=folder)} {order}"
            rows = connection.execute(query).fetchall()
        return [
            (*row[:2], *(text and json_util.loads(text, json_options=UTC_DATES) for text in row[2:])) for row in rows
        ]

    return read


def with_fastavro(folder):
    records = []
    for path in folder.rglob("*.avro"):
        with path.open("rb") as file:
            records += fastavro.reader(file)
    records.sort(key=lambda record: (record["cluster_time"], record["cluster_time_increment"]))
    documents = ("document_key", "full_document", "update_description")
    options = bson.CodecOptions(tz_aware=True)
    return [
        (
            record["operation"],
            record["collection"],
            *(record[name] and bson.decode(record[name], options) for name in documents),
        )
        for record in records
    ]


FORMATS = {
    '{ type = "gzip", inner = { type = "csv" } }': with_duckdb("read_csv('{folder}/**/*.csv.gz')"),
    '{ type = "zstd", inner = { type = "csv", delimiter = ";" } }': with_duckdb(
        "read_csv('{folder}/**/*.csv.zst', delim = ';')"
    ),
    '{ type = "avro", mode = "bson" }': with_fastavro,
    '{ type = "parquet" }': with_duckdb("read_parquet('{folder}/**/*.parquet')"),
}


@pytest.fixture(scope="module")
def mongodb_uri(tmp_path_factory):
    with mongodb_server(tmp_path_factory.mktemp("mongodb") / "data") as uri:
        yield uri


def rigatoni(*arguments):
    command = [sys.executable, "-m", "rigatoni_core.cli", *arguments]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("serializer", FORMATS)
def test_H1_what_happened_is_what_a_reader_finds(serializer, mongodb_uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONGODB_URI", mongodb_uri)
    (tmp_path / "pipeline.toml").write_text(CONFIGURATION.format(serializer=serializer))
    with MongoClient(mongodb_uri) as client:
        client.drop_database("formats")
        client.formats.orders.insert_one({"_id": 0})
        rigatoni("run", "pipeline.toml", "--once")  # the stream begins here
        orders = client.formats.orders
        orders.insert_one(DOCUMENT)
        orders.insert_many([{"_id": number} for number in range(1, 7)])
        orders.update_one({"_id": 1}, {"$set": {"status": "paid"}, "$unset": {"gone": 1}})
        orders.replace_one({"_id": 2}, {"replaced": True})
        orders.delete_one({"_id": 3})
    rigatoni("run", "pipeline.toml", "--once")
    found = FORMATS[serializer](tmp_path / "lake")
    assert found[0] == ("insert", "orders", {"_id": DOCUMENT["_id"]}, DOCUMENT, None)
    assert found[1:7] == [("insert", "orders", {"_id": n}, {"_id": n}, None) for n in range(1, 7)]
    assert [row[:3] for row in found[7:]] == [
        ("update", "orders", {"_id": 1}),
        ("replace", "orders", {"_id": 2}),
        ("delete", "orders", {"_id": 3}),
    ]
    assert found[7][4]["updatedFields"] == {"status": "paid"}
    assert found[8][3] == {"_id": 2, "replaced": True}
    assert found[9][3:] == (None, None)
