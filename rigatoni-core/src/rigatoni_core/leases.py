"""Holding the right to run a stream, where the state store grants such rights."""

import asyncio
from types import TracebackType
from typing import Self

from rigatoni_core.contracts import Lease, LeaseKeeper, StateStore
from rigatoni_core.errors import LeaseLostError, RigatoniError
from rigatoni_core.events import Stream
from rigatoni_core.notices import LeaseAcquired, LeaseAwaited, LeaseLost, publish
from rigatoni_core.retry import Retry, sleep
from rigatoni_core.settings import Settings


class LeaseHolder:
    """The lease of one stream: `async with` waits until it is granted, renews it meanwhile and gives it back.

    Where the state store is no `LeaseKeeper` there is nothing to hold, and every check passes.
    """

    def __init__(self, stream: Stream, store: StateStore, owner: str, settings: Settings, retry: Retry) -> None:
        self._stream = stream
        self._keeper = store if isinstance(store, LeaseKeeper) else None
        self._owner = owner
        self._settings = settings
        self._retry = retry
        self._lease: Lease | None = None
        self._renewing: asyncio.Task[None] | None = None

    @property
    def fencing_token(self) -> int:
        """The token of the present grant; 0 where the store keeps no leases."""
        return self._lease.fencing_token if self._lease else 0

    def check(self) -> None:
        """Raise `LeaseLostError` unless the lease is certainly held now. Called right before each write."""
        if self._keeper is None:
            return
        now = asyncio.get_running_loop().time()
        if self._lease is None or now >= self._lease.deadline:
            raise LeaseLostError(f"the lease of {self._stream} ran out before it was renewed")

    async def __aenter__(self) -> Self:
        if self._keeper is None:
            return self
        waiting = False
        while (lease := await self._retry(self._acquire, self._keeper)) is None:
            if not waiting:
                publish(LeaseAwaited(stream=self._stream))
                waiting = True
            await self._retry.pause(self._settings.lease_retry_interval)
        self._lease = lease
        publish(LeaseAcquired(stream=self._stream, fencing_token=lease.fencing_token))
        self._renewing = asyncio.create_task(self._renew(self._keeper))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
        lease, self._lease, self._renewing = self._lease, None, None
        if self._keeper is not None and lease is not None:
            try:
                async with asyncio.timeout(self._settings.lease_retry_interval):
                    await self._keeper.release(lease)
            except (RigatoniError, TimeoutError):
                pass  # it runs out by itself

    async def _acquire(self, keeper: LeaseKeeper) -> Lease | None:
        return await keeper.acquire(self._stream, owner=self._owner, ttl=self._settings.lease_ttl)

    async def _renew(self, keeper: LeaseKeeper) -> None:
        """Renew until it is lost; a store that does not answer is asked again until the deadline says no."""
        while self._lease is not None:
            await sleep(self._settings.lease_renew_interval)
            try:
                self._lease = await keeper.renew(self._lease, ttl=self._settings.lease_ttl)
            except LeaseLostError as error:
                self._lease = None
                publish(LeaseLost(stream=self._stream, error=error))
            except RigatoniError:
                continue
