"""The command with the destinations `delta` and `iceberg`, in processes of its own, killed around each commit."""

import json
import subprocess
import sys

import pytest
from deltalake import DeltaTable
from pyiceberg.catalog import load_catalog
from pymongo import MongoClient

CONFIGURATION = """\
[pipeline]
name = "p"
batch_size = 20
batch_timeout = 0.2

[pipeline.source]
type = "mongodb"
uri = {{ env = "MONGODB_URI" }}
watch = ["{database}.orders"]
full_document = "updateLookup"
max_await_time = 0.1

[pipeline.destination]
table = "orders"
{destination}

[pipeline.state]
type = "file"
path = "state"
"""
ICEBERG = {"type": "sql", "uri": "sqlite:///catalog.db", "warehouse": "lake"}
DESTINATIONS = {
    "delta": 'type = "delta"\npath = "lake"',
    "delta current": 'type = "delta"\npath = "lake"\nmode = "current"',
    "iceberg": 'type = "iceberg"\nnamespace = "shop"\n'
    'catalog = { type = "sql", uri = "sqlite:///catalog.db", warehouse = "lake" }',
}
DIE = """
import os, sys
import rigatoni_{kind}.destination as module
cls = module.{kind_capitalized}Destination
commit, count = cls.commit, []
def commits(self, *arguments):
    count.append(1)
    {before} and len(count) > {number} and os.kill(os.getpid(), 9)
    commit(self, *arguments)
    {before} or len(count) > {number} and os.kill(os.getpid(), 9)
cls.commit = commits
{patch}
from rigatoni_core.cli import main
sys.argv = ["rigatoni", "run", "pipeline.toml", "--once"]
main()
"""
CHECKPOINT = (
    "import rigatoni_core.engine.checkpoint as c; c.CheckpointKeeper.advance = lambda *_, **__: os.kill(os.getpid(), 9)"
)
KILLS = [(True, 0, ""), (False, 1, ""), (False, 99, CHECKPOINT)]
EVENTS = 160


def rows(kind, folder):
    if kind == "iceberg":
        return load_catalog("default", **ICEBERG).load_table("shop.orders").scan().to_arrow()
    return DeltaTable(folder / "lake" / "orders").to_pyarrow_table()


@pytest.mark.parametrize("kind", DESTINATIONS)
def test_G7_killed_around_each_commit_nothing_is_lost_or_repeated(mongodb_uri, tmp_path, monkeypatch, kind):
    module = kind.partition(" ")[0]
    database = f"tables{abs(hash(kind)) % 10**6}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONGODB_URI", mongodb_uri)
    (tmp_path / "pipeline.toml").write_text(CONFIGURATION.format(database=database, destination=DESTINATIONS[kind]))

    def run(*arguments):
        command = [sys.executable, *(arguments or ("-m", "rigatoni_core.cli", "run", "pipeline.toml", "--once"))]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    with MongoClient(mongodb_uri) as client:
        orders = client[database].orders
        orders.insert_one({"_id": "before"})
        assert (first := run()).returncode == 0, first.stderr
        orders.insert_many([{"_id": number} for number in range(EVENTS)])
        for before, number, patch in KILLS:
            program = DIE.format(
                kind=module, kind_capitalized=module.capitalize(), before=before, number=number, patch=patch
            )
            killed = run("-c", program)
            assert killed.returncode == -9, killed.stderr
        (tmp_path / "state").rename(tmp_path / "lost")  # the table knows its position
        assert (last := run()).returncode == 0, last.stderr
    found = rows(kind, tmp_path)
    documents = found["document" if kind == "delta current" else "full_document"].to_pylist()
    assert sorted(json.loads(document)["_id"] for document in documents) == list(range(EVENTS))


@pytest.mark.parametrize("kind", ["delta current", "iceberg"])
def test_killed_around_each_commit_of_a_snapshot_the_table_equals_the_collection(
    mongodb_uri, tmp_path, monkeypatch, kind
):
    module = kind.partition(" ")[0]
    database = f"snapshot{abs(hash(kind)) % 10**6}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONGODB_URI", mongodb_uri)
    text = CONFIGURATION.format(database=database, destination=DESTINATIONS[kind])
    (tmp_path / "pipeline.toml").write_text(text + '\n[pipeline.snapshot]\nmode = "initial"\nconcurrency = 2\n')

    def run(*arguments):
        command = [sys.executable, *(arguments or ("-m", "rigatoni_core.cli", "run", "pipeline.toml", "--once"))]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    with MongoClient(mongodb_uri) as client:
        orders = client[database].orders
        orders.insert_many([{"_id": number, "n": 0} for number in range(EVENTS)])
        for number, (before, commits) in enumerate([(True, 1), (False, 2)]):
            program = DIE.format(
                kind=module, kind_capitalized=module.capitalize(), before=before, number=commits, patch=""
            )
            killed = run("-c", program)
            assert killed.returncode == -9, killed.stderr
            orders.update_one({"_id": number}, {"$set": {"n": "changed"}})
            orders.delete_one({"_id": 100 + number})
        assert (last := run()).returncode == 0, last.stderr
        expected = {document["_id"]: document["n"] for document in orders.find()}
    found = rows(kind, tmp_path).to_pylist()
    if kind == "delta current":
        documents = [json.loads(row["document"]) for row in found]
        assert len(documents) == len(expected)
        assert {document["_id"]: document["n"] for document in documents} == expected
        return
    reads = [json.loads(row["full_document"])["_id"] for row in found if row["operation"] == "read"]
    assert len(reads) == len(set(reads))
    order = ("cluster_time", "cluster_time_increment", "ordinal")
    state = {}
    for row in sorted(found, key=lambda row: [row[name] for name in order]):
        key = json.loads(row["document_key"])["_id"]
        if row["operation"] == "delete":
            state.pop(key, None)
        elif row["full_document"] != "null":
            state[key] = json.loads(row["full_document"])["n"]
    assert state == expected
