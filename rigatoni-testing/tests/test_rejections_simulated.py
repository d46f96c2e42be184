"""Dead letters under crashes, lost responses, lost state, two owners and other batch bounds: one letter per poison.

The destinations are models of object stores that outlive the processes; a process dies by cancellation at a random
moment of virtual time, which leaves its work half done.
"""

import asyncio
import random

import attrs
from bson import decode
from bson.timestamp import Timestamp as BsonTimestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from rigatoni_core.api.dead_letters import DeadLetter
from rigatoni_core.api.errors import DestinationError, RejectedEventsError, Transient
from rigatoni_core.api.events import Stream
from rigatoni_core.api.settings import RetrySettings, Settings
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_testing.batches import event_document
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import Bucket, BucketDestination, FlakyStateStore, Log, ScriptedSource

STREAM = Stream("p", "shop.*")


class DownError(DestinationError, Transient):
    pass


@attrs.define(kw_only=True)
class Store(BucketDestination):
    """Slow and unreliable; rejects poison if `picky`, and keeps the documents of dead letters."""

    chance: random.Random
    trouble: float
    picky: bool = False
    letters: list = attrs.field(factory=list)

    async def write_batch(self, events):
        await asyncio.sleep(self.chance.random())
        rejected = {i: ValueError("no") for i in range(len(events)) if b"poison" in bytes(events.raw(i))}
        if self.picky and rejected:
            count = self.chance.randint(1, len(rejected))  # at worst, one at a time
            raise RejectedEventsError(dict(list(rejected.items())[:count]))
        self._fail()
        known = len(self.bucket.objects)
        answer = await BucketDestination.write_batch(self, events)
        if not self.picky and len(self.bucket.objects) > known:
            self.letters += [bytes(events.raw(index)) for index in range(len(events))]
        await asyncio.sleep(self.chance.random())
        self._fail()
        return answer

    def _fail(self):
        if self.chance.random() < self.trouble:
            raise DownError("down, or the response was lost")


def stream_of(chance, length):
    """Returns events of which some share a cluster time and some cannot be written."""
    documents, seconds, increment = [], 1_700_000_000, 1
    for number in range(length):
        if chance.random() < 0.6:
            seconds, increment = (seconds, increment + 1) if chance.random() < 0.5 else (seconds + 1, 1)
        poison = {"fullDocument": {"_id": number, "poison": 1}} if chance.random() < 0.3 else {}
        documents.append(event_document(number, clusterTime=BsonTimestamp(seconds, increment), **poison))
    return Log(documents)


def one_run(chance, log, data, kept, letters, state, trouble):
    """Returns a process's pipeline with its own limits."""
    return Pipeline(
        name="p",
        source=ScriptedSource(logs={STREAM.name: log}, reply_events=chance.randint(1, 9), start=0),
        destination=Store(bucket=data, chance=chance, trouble=trouble, picky=True),
        state=state,
        dead_letters=Store(bucket=kept, chance=chance, trouble=trouble, letters=letters),
        settings=Settings(
            batch_size=chance.randint(1, 12),
            batch_timeout=chance.choice([0.1, 2.0]),
            write_timeout=chance.choice([1.5, 30.0]) if trouble else 30.0,
            on_failure="restart",
            retry=RetrySettings(max_retries=chance.choice([0, 3]), retry_delay=0.1, max_retry_delay=1.0),
        ),
    )


async def story(seed):
    chance = random.Random(seed)
    log, data, kept, letters = stream_of(chance, 40), Bucket(), Bucket(), []
    state = FlakyStateStore()
    for _ in range(chance.randint(1, 5)):
        owners = (
            [state] if chance.random() < 0.6 else [state, FlakyStateStore()]
        )  # the other one does not see these leases
        tasks = [asyncio.create_task(one_run(chance, log, data, kept, letters, it, 0.1).run()) for it in owners]
        await asyncio.sleep(chance.uniform(0, 30))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if chance.random() < 0.2:
            state = FlakyStateStore()
        await asyncio.sleep(60)  # leases of dead processes expire
    assert (await one_run(chance, log, data, kept, letters, state, 0.0).run(once=True)).ok

    poison = [number for number, raw in enumerate(log.raws) if b"poison" in raw]
    assert data.tokens(STREAM) == [token for number, token in enumerate(log.tokens) if number not in poison]
    assert kept.tokens(STREAM.beside("dead-letters")) == [log.tokens[number] for number in poison]
    read = [DeadLetter.read(decode(document)) for document in letters]
    assert sorted(letter.event for letter in read) == sorted(log.raws[number] for number in poison)
    assert {letter.stream for letter in read} <= {STREAM}


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_D5_G7_J7_whatever_dies_when_each_poison_is_one_letter_and_all_else_is_delivered_once(seed):
    run_virtual(story(seed))
