"""Processes killed before, within and after commits: a consumer of another library sees each event once, in order.

`RIGATONI_KAFKA_KILLS` sets the number of kills; `nox -s kafka` runs 30.
"""

import asyncio
import json
import os
import random
import subprocess
import sys

from rigatoni_testing.batches import batch_of, event_document, token_of

KILLS = int(os.environ.get("RIGATONI_KAFKA_KILLS", "5"))
EVENTS = 60 * KILLS
STAGES = ("before", "produced", "flushed", "committed", "begun")
COUNTS = {"before": 1, "produced": 10, "flushed": 1, "committed": 1, "begun": 0}
"""How often a process passes each stage before it dies, in the first round: between a batch and its position."""

CHILD = """
import asyncio, json, os, sys
import rigatoni_kafka.transactions as module
from rigatoni_core.api.events import Definition
from rigatoni_kafka.destination import KafkaDestination
from rigatoni_testing.batches import START, STREAM, batch_of, event_document

options, stage, count, total = json.loads(sys.argv[1])
writer, left = module.StreamWriter, [count]

def dies_at(name, before=None, after=None):
    real = getattr(writer, name)
    def call(self, *arguments, **named):
        stage == before and die()
        result = real(self, *arguments, **named)
        stage == after and die()
        return result
    setattr(writer, name, call)

def die():
    left[0] -= 1
    left[0] < 0 and os.kill(os.getpid(), 9)

dies_at("begin", after="begun")
dies_at("_commit", before="before", after="committed")
dies_at("_produce", after="produced")
dies_at("_flush", after="flushed")

async def main():
    whole = batch_of(event_document(n, documentKey={"_id": n % 7}) for n in range(total))
    async with KafkaDestination(**options) as destination:
        position = await destination.begin(STREAM, Definition("f", {}), START)
        found = whole.index_of(position.resume_token)
        first = 0 if found is None else found + 1
        while first < total:
            batch = whole[first : min(first + 10, total)]
            end = await destination.write_batch(batch)
            assert end is None
            first += len(batch)

asyncio.run(main())
"""


def child(place, stage, count):
    arguments = json.dumps([place.options(partitions=3), stage, count, EVENTS])
    return subprocess.run([sys.executable, "-c", CHILD, arguments], capture_output=True, timeout=120)


def test_processes_killed_around_commits_lose_and_repeat_nothing_and_keep_the_order_of_each_key(place):
    chance = random.Random(KILLS)
    for number in range(KILLS):
        stage = STAGES[number % len(STAGES)]
        count = COUNTS[stage] if number < len(STAGES) else chance.randint(0, 14 if stage == "produced" else 2)
        count = 0 if stage == "begun" else count
        died = child(place, stage, count)
        assert died.returncode == -9, died.stderr.decode()[-2000:]
        if KILLS >= 30 and number in (10, 20):
            place.server.restart()
    finished = child(place, "never", 0)
    assert finished.returncode == 0, finished.stderr.decode()[-2000:]
    messages = asyncio.run(place.messages())
    whole = batch_of(event_document(n, documentKey={"_id": n % 7}) for n in range(EVENTS))
    expected = [whole.token_and_time(index)[0] for index in range(EVENTS)]
    found = [token_of(json.loads(message.value)["_id"]) for message in messages]
    assert sorted(found) == sorted(expected)
    for remainder in range(7):
        own = [token for token, message in zip(found, messages, strict=True) if _key(message) == remainder]
        assert own == expected[remainder::7]


def _key(message):
    return int(json.loads(message.key)["$numberInt"])
