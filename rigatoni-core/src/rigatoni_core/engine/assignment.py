"""The number of a pipeline's streams that this instance should run when several share them."""

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
    """The fair share of one instance: all streams, divided by the number of instances, rounded up.

    The lease holders of one pipeline use it together. An instance above its share hands streams over to instances
    that wait for them; one that has its share lets the others ask first. For a stream that failed here, this instance
    asks last and requests no handover until it has delivered the stream again. The same holds for every stream while
    all streams that it works on fail. Without a `Membership` this instance takes every stream.

    Args:
        pipeline: The name of the pipeline.
        streams: How many streams it has.
        store: The state store; it counts the instances if it is a `Membership`.
        owner: The name of this instance.
        settings: The times of leases.
    """

    def __init__(self, pipeline: str, streams: int, store: StateStore, owner: str, settings: Settings) -> None:
        self._pipeline = pipeline
        self._streams = streams
        self._membership = store if isinstance(store, Membership) else None
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
        """Return the round of requests in which this instance may take a free stream: those with room come first."""
        if self._instances == 1:
            return 1
        return 4 if self._is_unfit(stream) else 2 if self._full else 1

    def failed(self, stream: Stream) -> None:
        """Note that the work on the stream failed here."""
        self._failing.add(stream)
        self._working.discard(stream)

    def delivered(self, stream: Stream) -> None:
        """Note that events of the stream were delivered here."""
        if self._failing:
            self._failing.discard(stream)
        self._working.add(stream)

    def take(self, stream: Stream) -> None:
        """Note that this instance holds the stream."""
        self._held.add(stream)

    def drop(self, stream: Stream) -> None:
        """Note that this instance no longer holds the stream."""
        self._held.discard(stream)
        self._working.discard(stream)

    async def request_handover(self, stream: Stream) -> None:
        """Request a handover of the stream if this instance has room for it."""
        if self._membership and not self._full and not self._is_unfit(stream):
            await self._ask(self._membership.request_handover(stream, ttl=3 * self._interval))

    async def hand_over(self, stream: Stream) -> bool:
        """Return whether this instance should hand the stream over to one that waits; if so, it counts as dropped."""
        if (
            self._membership is None
            or len(self._held) <= self._fair
            or not await self._ask(self._membership.handover_requested(stream))
        ):
            return False
        if stream not in self._held or len(self._held) <= self._fair:  # others were handed over meanwhile
            return False
        self._held.discard(stream)
        return True

    async def count(self) -> None:
        """Count the instances, at most every `lease_retry_interval` seconds."""
        now = asyncio.get_running_loop().time()
        if self._membership and now >= self._counted_at + self._interval:
            self._counted_at = now
            present = await self._ask(self._membership.heartbeat(self._pipeline, owner=self._owner, ttl=self._ttl))
            self._instances = max(1, present or self._instances)

    async def leave(self) -> None:
        """Unregister this instance, so that the others need not wait until its membership expires."""
        if self._membership:
            await self._ask(self._membership.heartbeat(self._pipeline, owner=self._owner, ttl=0.0))

    def _is_unfit(self, stream: Stream) -> bool:
        """Return whether the stream, or everything, failed here: another instance may do better."""
        return stream in self._failing or (bool(self._failing) and not self._working)

    @property
    def _full(self) -> bool:
        return len(self._held) >= self._fair

    @property
    def _fair(self) -> int:
        return math.ceil(self._streams / self._instances)

    async def _ask(self, question: Awaitable[T]) -> T | None:
        """Return the response, or None if the store fails: lease holders report that themselves."""
        try:
            async with asyncio.timeout(self._interval):
                return await question
        except (RigatoniError, TimeoutError):
            return None
