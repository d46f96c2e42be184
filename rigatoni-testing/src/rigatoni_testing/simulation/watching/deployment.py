"""A model of a deployment: its history, and a source whose streams are named by their collections."""

import asyncio
import random
from array import array
from collections.abc import AsyncIterator, Collection, Sequence
from itertools import accumulate
from typing import ClassVar

import attrs
from bson import encode
from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.contracts import Source
from rigatoni_core.api.decoder import Decoder
from rigatoni_core.api.events import Definition, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.identity import Identity
from rigatoni_core.api.succession import ScopeReader

from rigatoni_testing.batches import TestDecoder, event_document, token_of
from rigatoni_testing.simulation.watching.lives import Process

BEGINNING = 1_700_000_000
MODEL = Identity("model", "model:1")


@attrs.define
class Deployment:
    """The history: raw events with their times and collections."""

    raws: list[bytes] = attrs.field(factory=list)
    tokens: list[ResumeToken] = attrs.field(factory=list)
    times: list[Timestamp] = attrs.field(factory=list)
    collections: list[str] = attrs.field(factory=list)
    increment: int = 0

    def write(self, collections: str) -> None:
        """A transaction: its events share a cluster time."""
        self.increment += 1
        for collection in collections:
            number = len(self.raws)
            document = event_document(number, seconds=BEGINNING, increment=self.increment, collection=collection)
            self.raws.append(encode(document))
            self.tokens.append(token_of(document["_id"]))
            self.times.append(Timestamp(BEGINNING, self.increment))
            self.collections.append(collection)

    def first_at(self, time: Timestamp) -> int:
        """The number of the first event at this time or later."""
        return next((number for number, at in enumerate(self.times) if at >= time), len(self.times))

    @property
    def now(self) -> Timestamp:
        """The cluster time after the last event."""
        return Timestamp(BEGINNING, self.increment + 1)


@attrs.define(kw_only=True)
class LetterSource(Source, ScopeReader):
    """Streams that are named by the letters of their collections."""

    deployment: Deployment
    process: Process
    chance: random.Random
    reply_events: int = 3
    identity: Identity = MODEL

    decoder: ClassVar[Decoder] = TestDecoder()

    async def streams(self) -> Sequence[str]:
        """See `Source`."""
        return list(self.process.life.watch)

    def definition(self, stream: Stream) -> Definition:
        """See `Source`."""
        return Definition(f"watch {stream.name}", {"watch": stream.name}, identity=self.identity)

    def shared(self, scope: str, others: Collection[str]) -> Collection[frozenset[str]]:
        """See `ScopeReader`."""
        return {frozenset(other for other in others if letter in other) for letter in scope}

    def included(self, scope: str, events: EventBatch) -> Collection[int]:
        """See `ScopeReader`."""
        names = ((index, events.namespace(index)) for index in range(len(events)))
        return [index for index, name in names if name and name.collection and name.collection in scope]

    def position_at(self, stream: Stream, time: Timestamp) -> Position:
        """See `Positioner`."""
        token = ResumeToken(f"time:{time.seconds}.{time.increment}")
        return Position(token, self.definition(stream).fingerprint, time, 0)

    def position_after(self, stream: Stream, token: str, time: Timestamp | None) -> Position:
        """See `Positioner`."""
        number = self.deployment.tokens.index(ResumeToken(token))
        time = self.deployment.times[number]
        before = zip(self.deployment.times[: number + 1], self.deployment.collections, strict=False)
        ordinal = sum(at == time and collection in stream.name for at, collection in before)
        return Position(ResumeToken(token), self.definition(stream).fingerprint, time, ordinal)

    async def read(self, stream: Stream, *, after: Position | None) -> AsyncIterator[EventBatch | Heartbeat]:
        """See `Source`."""
        log, now = self.deployment, self.deployment.now
        number = len(log.raws) if after is None else self._place(after)
        position = after or Position(self._mark(number), self.definition(stream).fingerprint, now, 0)
        yield Heartbeat(position, now)
        while True:
            numbers: list[int] = []
            while number < len(log.raws) and len(numbers) < self.reply_events:
                if log.collections[number] in stream.name:
                    numbers.append(number)
                number += 1
                if self.chance.random() < 0.1:
                    break
            if numbers:
                batch = self._batch(position, stream, numbers)
                position = batch.end
                yield batch
            position = self._passed(position, number)
            yield Heartbeat(position, log.now, caught_up=number == len(log.raws))
            await asyncio.sleep(0.5)

    def _place(self, position: Position) -> int:
        """Where reading resumes: right behind the position. Only the deployment can tell."""
        kind, _, value = position.resume_token.partition(":")
        if kind == "mark":
            return int(value)
        if kind == "time":
            seconds, _, increment = value.partition(".")
            return self.deployment.first_at(Timestamp(int(seconds), int(increment)))
        return self.deployment.tokens.index(position.resume_token) + 1

    def _batch(self, after: Position, stream: Stream, numbers: Sequence[int]) -> EventBatch:
        raws = [self.deployment.raws[number] for number in numbers]
        offsets = array("Q", accumulate(map(len, raws), initial=0))
        return EventBatch.from_reply(
            after, stream, memoryview(b"".join(raws)), offsets, self.decoder, source_time=self.deployment.now
        )

    def _passed(self, position: Position, number: int) -> Position:
        """The post-batch position before this event; only the tokens of some servers tell its time."""
        log, last = self.deployment, position.cluster_time
        if self.chance.random() < 0.5:
            time = log.times[number] if number < len(log.times) else log.now
            return position.moved(self._mark(number), time, position.ordinal if time == last else 0)
        if position.ordinal and last is not None and (number == len(log.times) or log.times[number] > last):
            return position.moved(self._mark(number), last.next(), 0)
        return position.moved(self._mark(number), last, position.ordinal)

    @staticmethod
    def _mark(number: int) -> ResumeToken:
        return ResumeToken(f"mark:{number}")
