"""The model source and state stores, each as one process sees it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import attrs
from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.contracts import Lease, LeaseKeeper, Membership, Source, StateStore
from rigatoni_core.api.decoder import Decoder
from rigatoni_core.api.errors import CorruptCheckpointError, LeaseLostError, PositionLostError
from rigatoni_core.api.events import Checkpoint, Definition, Position, Stream
from rigatoni_core.builtin.memory import MemoryStateStore

from rigatoni_testing.simulation.ledger import Ledger
from rigatoni_testing.simulation.log import EventLog
from rigatoni_testing.simulation.network import Network, world_time
from rigatoni_testing.simulation.schedule import Server

T = TypeVar("T")

AWAIT_TIME = 7.0
"""Seconds after which the source responds even without events."""


@attrs.define(kw_only=True, eq=False)
class ModelSource(Source):
    """Serves logs; every reply holds a random number of events, and a fresh stream begins now."""

    logs: Mapping[str, EventLog]  # by stream key
    names: Sequence[str]
    network: Network
    ledger: Ledger
    fingerprint: str
    reply_events: int

    @property
    def decoder(self) -> Decoder:  # type: ignore[override]
        """That of any log: their formats are the same."""
        return next(iter(self.logs.values()))

    async def streams(self) -> Sequence[str]:
        """See `Source`."""
        return self.names

    def definition(self, stream: Stream) -> Definition:
        """See `Source`."""
        return Definition(self.fingerprint, {"watch": stream.name})

    async def read(self, stream: Stream, *, after: Position | None) -> AsyncIterator[EventBatch | Heartbeat]:
        """See `Source`."""
        log, chance = self.logs[stream.key], self.network.chance

        def opened() -> tuple[int, Position]:
            index = log.visible if after is None else log.index(after)
            self._refuse_forgotten(log, index)
            return index, after or log.mark_between(index, world_time(), self.fingerprint)

        index, position = await self.network.request(Server.SOURCE, f"opening of {stream}", opened)
        self.ledger.opens(self.network, stream, index)
        yield log.heartbeat(position, index)
        while True:
            if index == log.visible:
                await self._news(log)
            self.ledger.asks(self.network, stream)
            start, limit = index, chance.randint(1, self.reply_events)

            def reply(start: int = start, limit: int = limit, position: Position = position) -> EventBatch | Heartbeat:
                self._refuse_forgotten(log, start)
                stop = min(start + limit, log.visible)
                if stop > start:
                    return log.batch(position, start, stop)
                return log.heartbeat(log.mark_between(start, world_time(), self.fingerprint), start)

            item = await self.network.request(Server.SOURCE, f"reading of {stream} from {start}", reply)
            events = len(item) if isinstance(item, EventBatch) else 0
            index, position = start + events, item.end
            self.ledger.serves(self.network, stream, index)
            yield item
            if events and chance.random() < 0.3:  # a post-batch token
                position = log.mark_between(index, world_time(), self.fingerprint)
                yield log.heartbeat(position, index)

    @staticmethod
    def _refuse_forgotten(log: EventLog, index: int) -> None:
        if index < log.forgotten:
            raise PositionLostError(f"{log.stream}: event {index} is history, it begins at {log.forgotten}")

    @staticmethod
    async def _news(log: EventLog) -> None:
        log.grown.clear()
        try:
            async with asyncio.timeout(AWAIT_TIME):
                await log.grown.wait()
        except TimeoutError:
            pass


@attrs.define(kw_only=True, eq=False)
class ModelStateStore(StateStore):
    """Core's memory store behind a network; records of `damaged` streams cannot be read."""

    store: MemoryStateStore
    damaged: set[str]
    network: Network
    ledger: Ledger

    async def save_resume_token(self, stream: Stream, checkpoint: Checkpoint) -> None:
        """See `StateStore`."""

        def save() -> None:
            at_once(self.store.save_resume_token(stream, checkpoint))
            self.damaged.discard(stream.key)
            self.ledger.saved(stream, checkpoint)

        await self.network.request(Server.STATE, f"save of {stream} {checkpoint.position.resume_token}", save)

    async def load_resume_token(self, stream: Stream) -> Checkpoint | None:
        """See `StateStore`."""

        def load() -> Checkpoint | None:
            if stream.key in self.damaged:
                raise CorruptCheckpointError(f"the record of {stream} is damaged")
            return at_once(self.store.load_resume_token(stream))

        return await self.network.request(Server.STATE, f"load of {stream}", load)

    async def clear_resume_token(self, stream: Stream, *, fencing_token: int = 0) -> None:
        """See `StateStore`."""
        clear = self.store.clear_resume_token
        await self.network.request(
            Server.STATE, f"clear of {stream}", lambda: at_once(clear(stream, fencing_token=fencing_token))
        )

    async def cleared_under(self, stream: Stream) -> int | None:
        """See `StateStore`."""
        return await self.network.request(
            Server.STATE, f"look for a clear of {stream}", lambda: at_once(self.store.cleared_under(stream))
        )


@attrs.define(kw_only=True, eq=False)
class ModelLeaseStore(ModelStateStore, LeaseKeeper, Membership):
    """The same with leases. A lease ends by the server's clock there, and by the process's own clock here."""

    async def acquire(self, stream: Stream, *, owner: str, ttl: float) -> Lease | None:
        """See `LeaseKeeper`."""
        asked = asyncio.get_running_loop().time()

        def acquire() -> Lease | None:
            if (lease := at_once(self.store.acquire(stream, owner=owner, ttl=ttl))) is not None:
                self.ledger.grants(lease)
            return lease

        lease = await self.network.request(Server.STATE, f"acquiring of {stream}", acquire)
        return self._learned(stream, lease, asked + ttl)

    async def renew(self, lease: Lease, *, ttl: float) -> Lease:
        """See `LeaseKeeper`."""
        asked = asyncio.get_running_loop().time()
        try:
            renewed = await self.network.request(
                Server.STATE, f"renewal of {lease.stream}", lambda: at_once(self.store.renew(lease, ttl=ttl))
            )
        except LeaseLostError:
            self._learned(lease.stream, None, 0.0)
            raise
        learned = self._learned(lease.stream, renewed, asked + ttl)
        assert learned is not None
        return learned

    async def release(self, lease: Lease) -> None:
        """See `LeaseKeeper`."""
        self._learned(lease.stream, None, 0.0)
        await self.network.request(
            Server.STATE, f"release of {lease.stream}", lambda: at_once(self.store.release(lease))
        )

    async def heartbeat(self, pipeline: str, *, owner: str, ttl: float) -> int:
        """See `Membership`."""
        return await self.network.request(
            Server.STATE, "counting of instances", lambda: at_once(self.store.heartbeat(pipeline, owner=owner, ttl=ttl))
        )

    async def request_handover(self, stream: Stream, *, ttl: float) -> None:
        """See `Membership`."""
        await self.network.request(
            Server.STATE, f"asking for {stream}", lambda: at_once(self.store.request_handover(stream, ttl=ttl))
        )

    async def handover_requested(self, stream: Stream) -> bool:
        """See `Membership`."""
        return await self.network.request(
            Server.STATE, f"looking who wants {stream}", lambda: at_once(self.store.handover_requested(stream))
        )

    def _learned(self, stream: Stream, lease: Lease | None, deadline: float) -> Lease | None:
        held = attrs.evolve(lease, deadline=deadline) if lease else None
        self.ledger.leases(self.network, stream, held)
        return held


def at_once(answer: Coroutine[Any, Any, T]) -> T:
    """Returns the result of a coroutine that never waits."""
    try:
        answer.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits")
