"""The command with the destination `kafka`: killed between commit and checkpoint, and its state lost."""

import asyncio
import json
import shutil
import subprocess
import sys

import aiokafka
from pymongo import MongoClient
from rigatoni_kafka.testing.server import kafka_server
from rigatoni_mongodb.testing.server import mongodb_server

CONFIGURATION = """\
[pipeline]
name = "p"
batch_size = 10
batch_timeout = 0.2

[pipeline.source]
type = "mongodb"
uri = {{ env = "MONGODB_URI" }}
watch = ["shop.*"]
max_await_time = 0.1

[pipeline.destination]
type = "kafka"
bootstrap_servers = "{servers}"
topic = "cdc.{{database}}.{{collection}}"
create_topics = true
partitions = 2
tombstones = true

[pipeline.state]
type = "file"
path = "state"
"""

DIE = """
import os, sys
import rigatoni_core.engine.checkpoint as c
real, left = c.CheckpointKeeper.advance, [2]
async def advance(*arguments, **named):
    left[0] -= 1
    left[0] < 0 and os.kill(os.getpid(), 9)
    return await real(*arguments, **named)
c.CheckpointKeeper.advance = advance
from rigatoni_core.cli import main
sys.argv = ["rigatoni", "run", "pipeline.toml", "--once"]
main()
"""
EVENTS = 60


def run(*code):
    command = [sys.executable, *(code or ("-m", "rigatoni_core.cli", "run", "pipeline.toml", "--once"))]
    return subprocess.run(command, capture_output=True, text=True, timeout=90)


async def messages(servers, topic):
    consumer = aiokafka.AIOKafkaConsumer(
        topic,
        bootstrap_servers=servers,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        consumer_timeout_ms=200,
    )
    found = []
    async with consumer, asyncio.timeout(30):
        while len(found) < EVENTS + 1 or (await consumer.getmany(timeout_ms=500)):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += records
    return found


def test_a_kill_between_commit_and_checkpoint_and_a_lost_state_repeat_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with mongodb_server(tmp_path / "mongodb") as uri, kafka_server(tmp_path / "kafka") as servers:
        monkeypatch.setenv("MONGODB_URI", uri)
        (tmp_path / "pipeline.toml").write_text(CONFIGURATION.format(servers=servers))
        started = run()
        assert started.returncode == 0, started.stderr
        assert "guarantee: exactly once, transactional" in started.stderr
        with MongoClient(uri) as client:
            for n in range(EVENTS - 1):
                client.shop.orders.insert_one({"_id": n})
            client.shop.orders.delete_one({"_id": 0})
        died = run("-c", DIE)
        assert died.returncode == -9, died.stderr
        shutil.rmtree(tmp_path / "state")
        finished = run()
        assert finished.returncode == 0, finished.stderr
        found = asyncio.run(messages(servers, "cdc.shop.orders"))
    values = [json.loads(message.value) for message in found if message.value]
    inserted = [value["documentKey"]["_id"] for value in values if value["operationType"] == "insert"]
    assert sorted(inserted) == list(range(EVENTS - 1))
    assert [value["documentKey"]["_id"] for value in values if value["operationType"] == "delete"] == [0]
    (tombstone,) = (message for message in found if message.value is None)
    own = [message.partition for message in found if message.key == tombstone.key]
    assert len(own) == 3
    assert len(set(own)) == 1
