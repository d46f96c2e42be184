"""How many of a pipeline's streams this instance should run, where several instances share them."""

import asyncio
import math

from rigatoni_core.contracts import Roster, StateStore
from rigatoni_core.errors import RigatoniError
from rigatoni_core.events import Stream
from rigatoni_core.settings import Settings


class Share:
    """The fair part of one instance: all streams, divided by the instances that are there, rounded up.

    The lease holders of one pipeline have it in common. An instance above its part gives streams up, one that has its
    part lets the others ask first. Where the state store can not tell how many there are, everything is the part.
    """

    def __init__(self, pipeline: str, streams: int, store: StateStore, owner: str, settings: Settings) -> None:
        self._pipeline = pipeline
        self._streams = streams
        self._roster = store if isinstance(store, Roster) else None
        self._owner = owner
        self._interval = settings.lease_retry_interval
        # It must outlive the time between two renewals, and should be over before the leases of a dead owner are.
        self._ttl = max(settings.lease_ttl / 2, settings.lease_renew_interval + settings.lease_retry_interval)
        self._held: set[Stream] = set()
        self._instances = 1
        self._counted_at = float("-inf")

    @property
    def full(self) -> bool:
        """Whether this instance has its part already."""
        return len(self._held) >= self._part

    def take(self, stream: Stream) -> None:
        """This instance holds the stream now."""
        self._held.add(stream)

    def drop(self, stream: Stream) -> None:
        """It does not any more."""
        self._held.discard(stream)

    def give_up(self, stream: Stream) -> bool:
        """Whether this instance should leave the stream to another; if so, it does not count any more."""
        if stream not in self._held or len(self._held) <= self._part:
            return False
        self._held.discard(stream)
        return True

    async def count(self) -> None:
        """Ask how many instances there are, at most every `lease_retry_interval` seconds."""
        now = asyncio.get_running_loop().time()
        if self._roster is not None and now >= self._counted_at + self._interval:
            self._counted_at = now
            self._instances = max(1, await self._ask(self._roster, self._ttl) or self._instances)

    async def leave(self) -> None:
        """This instance ends: the others need not wait until that is noticed."""
        if self._roster is not None:
            await self._ask(self._roster, 0.0)

    @property
    def _part(self) -> int:
        return math.ceil(self._streams / self._instances)

    async def _ask(self, roster: Roster, ttl: float) -> int | None:
        """The number; None where there is no answer, which whoever holds or awaits a lease will notice and tell."""
        try:
            async with asyncio.timeout(self._interval):
                return await roster.present(self._pipeline, owner=self._owner, ttl=ttl)
        except (RigatoniError, TimeoutError):
            return None
