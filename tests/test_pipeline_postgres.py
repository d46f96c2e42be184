"""The command with the destination `postgres`, in processes of its own, against real servers, killed at every step."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime

import psycopg
import pytest
from bson import json_util
from pymongo import MongoClient
from rigatoni_mongodb.testing.server import mongodb_server
from rigatoni_postgres.testing.server import PostgresServer

CONFIGURATION = """\
[pipeline]
name = "{name}"
batch_size = 20
batch_timeout = 0.2

[pipeline.source]
type = "mongodb"
uri = {{ env = "MONGODB_URI" }}
watch = ["{database}.*"]
full_document = "updateLookup"
max_await_time = 0.1

[pipeline.destination]
type = "postgres"
dsn = {{ env = "POSTGRES_DSN" }}
table = "{{database}}_{{collection}}"
mode = "{mode}"

[pipeline.state]
type = "file"
path = "state"
"""

DIE = """
import os, sys
import rigatoni_postgres.destination as d
count = []
def die():
    count.append(1)
    len(count) > {number} and os.kill(os.getpid(), 9)
keep, write = d.PostgresDestination._keep, d.PostgresDestination._write
async def keeps(self, cursor, record):
    "{step}" == "rows" and record.delivered.ordinal and die()
    await keep(self, cursor, record)
    "{step}" == "position" and record.delivered.ordinal and die()
async def writes(self, events, pieces):
    end = await write(self, events, pieces)
    "{step}" == "commit" and die()
    return end
d.PostgresDestination._keep, d.PostgresDestination._write = keeps, writes
{patch}
from rigatoni_core.cli import main
sys.argv = ["rigatoni", "run", "pipeline.toml", "--once"]
main()
"""
CHECKPOINT = (
    "import rigatoni_core.engine.checkpoint as c; c.CheckpointKeeper.advance = lambda *_, **__: os.kill(os.getpid(), 9)"
)
KILLS = [("position", 1, ""), ("commit", 1, ""), ("none", 9, CHECKPOINT)]
EVENTS = 160


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with mongodb_server(tmp_path_factory.mktemp("mongodb") / "data") as uri, PostgresServer() as postgres:
        yield uri, postgres


@pytest.mark.parametrize("mode", ["log", "current"])
def test_G7_killed_around_each_commit_nothing_is_lost_or_repeated(servers, tmp_path, monkeypatch, mode):
    uri, postgres = servers
    database = f"killed{mode}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONGODB_URI", uri)
    monkeypatch.setenv("POSTGRES_DSN", postgres.dsn)
    (tmp_path / "pipeline.toml").write_text(CONFIGURATION.format(name="p", database=database, mode=mode))

    def run(*arguments):
        command = [sys.executable, *(arguments or ("-m", "rigatoni_core.cli", "run", "pipeline.toml", "--once"))]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    with MongoClient(uri) as client:
        orders = client[database].orders
        orders.insert_one({"_id": "before"})
        assert (first := run()).returncode == 0, first.stderr
        orders.insert_many([{"_id": number, "n": 0} for number in range(EVENTS // 2)])
        orders.update_many({"_id": {"$lt": 40}}, {"$inc": {"n": 1}})
        orders.delete_many({"_id": {"$gte": 40}})
        for step, number, patch in KILLS:
            killed = run("-c", DIE.format(step=step, number=number, patch=patch))
            assert killed.returncode == -9, killed.stderr
        if mode == "current":
            (tmp_path / "state").rename(tmp_path / "lost")  # the destination knows its position
        assert (last := run()).returncode == 0, last.stderr
        held = list(orders.find({"_id": {"$ne": "before"}}))
    with psycopg.connect(postgres.dsn) as connection:
        table = f"{database}_orders"
        if mode == "log":
            select = (
                f"SELECT operation, count(*), count(DISTINCT resume_token::text) FROM {table} GROUP BY 1 ORDER BY 1"
            )
            found = connection.execute(select).fetchall()
            assert found == [("delete", 40, 40), ("insert", 80, 80), ("update", 40, 40)]
        else:
            found = connection.execute(f"SELECT document::text FROM {table} ORDER BY (_id)::int").fetchall()
            assert [json_util.loads(document) for (document,) in found] == held


def test_a_position_that_is_set_manually_is_committed_to_the_destination_with_its_gap(servers, tmp_path, monkeypatch):
    uri, postgres = servers
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONGODB_URI", uri)
    monkeypatch.setenv("POSTGRES_DSN", postgres.dsn)
    (tmp_path / "pipeline.toml").write_text(CONFIGURATION.format(name="h", database="moved", mode="log"))

    def rigatoni(*arguments):
        command = [sys.executable, "-m", "rigatoni_core.cli", *arguments]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    with MongoClient(uri) as client:
        orders = client["moved"].orders
        for number in range(2):
            orders.insert_one({"_id": number})
            rigatoni("run", "pipeline.toml", "--once")
        orders.insert_one({"_id": "skipped"})
        time.sleep(1.1)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        orders.insert_one({"_id": 2})
        rigatoni("state", "set", "pipeline.toml", "moved.*", "--at", now, "--yes")
        rigatoni("run", "pipeline.toml", "--once")
        rigatoni("state", "clear", "pipeline.toml", "moved.*", "--yes")
        orders.insert_one({"_id": 3})
        rigatoni("run", "pipeline.toml", "--once")
    with psycopg.connect(postgres.dsn) as connection:
        found = connection.execute("SELECT full_document->>'_id' FROM moved_orders ORDER BY ctid").fetchall()
        assert found == [("1",), ("2",), ("3",)]
        select = "SELECT record->'definition'->>'number' FROM rigatoni_positions WHERE stream LIKE 'h/%'"
        assert connection.execute(select).fetchall() == [("1",)]
