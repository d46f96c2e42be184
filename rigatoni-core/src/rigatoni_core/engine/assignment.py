"""How many of a pipeline's streams this instance should run, where several instances share them."""

import asyncio
import math
from collections.abc import Awaitable
from typing import TypeVar

from rigatoni_core.api.contracts import Membership, StateStore
from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.events import Stream
from rigatoni_core.api.settings import Settings

T = TypeVar("T")


class Share:
    """The fair part of one instance: all streams, divided by the instances that are there, rounded up.

    The lease holders of one pipeline share it. An instance above its part hands streams over to instances that wait for
    them; one that has its part lets the others ask first. For a stream that failed here, this instance asks last and
    requests no handover, until it delivers the stream again; for every stream, if all streams that it worked on failed.
    Without a `Membership` this instance takes every stream.
    """

    def __init__(self, pipeline: str, streams: int, store: StateStore, owner: str, settings: Settings) -> None:
        self._pipeline = pipeline
        self._streams = streams
        self._roster = store if isinstance(store, Membership) else None
        self._owner = owner
        self._interval = settings.lease_retry_interval
        # It must outlive the time between two renewals, and should be over before the leases of a dead owner are.
        self._ttl = max(settings.lease_ttl / 2, settings.lease_renew_interval + settings.lease_retry_interval)
        self._held: set[Stream] = set()
        self._failing: set[Stream] = set()  # failed here, and not delivered since
        self._working: set[Stream] = set()  # held, and delivered here
        self._instances = 1
        self._counted_at = float("-inf")

    def turn(self, stream: Stream) -> int:
        """Return in which round of asking for a free stream this instance may take it: those with room come first."""
        if self._instances == 1:
            return 1
        return 4 if self._is_unfit(stream) else 2 if self._full else 1

    def failed(self, stream: Stream) -> None:
        """The work on the stream failed here."""
        self._failing.add(stream)
        self._working.discard(stream)

    def delivered(self, stream: Stream) -> None:
        """Events of the stream were delivered here."""
        self._failing.discard(stream)
        self._working.add(stream)

    def take(self, stream: Stream) -> None:
        """This instance holds the stream now."""
        self._held.add(stream)

    def drop(self, stream: Stream) -> None:
        """This instance does not hold the stream any more."""
        self._held.discard(stream)
        self._working.discard(stream)

    async def request_handover(self, stream: Stream) -> None:
        """Let the instance that holds the stream know that this one has room for it, if it has."""
        if self._roster and not self._full and not self._is_unfit(stream):
            await self._ask(self._roster.request_handover(stream, ttl=3 * self._interval))

    async def hand_over(self, stream: Stream) -> bool:
        """Whether this instance should hand the stream over to one that waits; if so, it does not count any more."""
        if (
            self._roster is None
            or len(self._held) <= self._part
            or not await self._ask(self._roster.handover_requested(stream))
        ):
            return False
        if stream not in self._held or len(self._held) <= self._part:  # others were handed over meanwhile
            return False
        self._held.discard(stream)
        return True

    async def count(self) -> None:
        """Ask how many instances there are, at most every `lease_retry_interval` seconds."""
        now = asyncio.get_running_loop().time()
        if self._roster and now >= self._counted_at + self._interval:
            self._counted_at = now
            present = await self._ask(self._roster.heartbeat(self._pipeline, owner=self._owner, ttl=self._ttl))
            self._instances = max(1, present or self._instances)

    async def leave(self) -> None:
        """This instance ends: the others need not wait until that is noticed."""
        if self._roster:
            await self._ask(self._roster.heartbeat(self._pipeline, owner=self._owner, ttl=0.0))

    def _is_unfit(self, stream: Stream) -> bool:
        """Whether the stream failed here, or everything did: another instance may do better."""
        return stream in self._failing or (bool(self._failing) and not self._working)

    @property
    def _full(self) -> bool:
        return len(self._held) >= self._part

    @property
    def _part(self) -> int:
        return math.ceil(self._streams / self._instances)

    async def _ask(self, question: Awaitable[T]) -> T | None:
        """The answer; None where there is none, which whoever holds or awaits a lease will notice and tell."""
        try:
            async with asyncio.timeout(self._interval):
                return await question
        except (RigatoniError, TimeoutError):
            return None
