"""The lease of a stream: acquired, renewed, released or handed over."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

from rigatoni_core.api.bus import publish
from rigatoni_core.api.contracts import Lease, LeaseKeeper, StateStore
from rigatoni_core.api.errors import LeaseLostError, RigatoniError
from rigatoni_core.api.events import Stream
from rigatoni_core.api.notices import LeaseAcquired, LeaseAwaited, LeaseNotRenewed, LeaseRenewed, LeaseYielded
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.assignment import Share
from rigatoni_core.engine.retry import Retry
from rigatoni_core.engine.shutdown import Shutdown
from rigatoni_core.engine.time_limit import time_limit


class LeaseHolder:
    """The lease of one stream: `async with` waits until it is granted, renews it in the block and releases it.

    Without a `LeaseKeeper` there is nothing to hold, and every check passes.

    Args:
        stream: The stream.
        store: The state store; it grants leases if it is a `LeaseKeeper`.
        owner: The name of this instance.
        settings: The times of leases: `lease_ttl`, `lease_renew_interval`, `lease_retry_interval`.
        retry: Repeats a request for the lease that failed with a `Transient` error.
        shutdown: Ends the wait for a lease that another instance holds.
        share: Decides when this instance asks for the lease, and when it hands the stream over.
        successor: The stream that waits for this lease to continue one that is no longer watched; notices name it.
    """

    def __init__(
        self,
        stream: Stream,
        store: StateStore,
        owner: str,
        settings: Settings,
        retry: Retry,
        shutdown: Shutdown,
        share: Share,
        successor: Stream | None = None,
    ) -> None:
        self._stream = stream
        self._named = successor or stream  # in notices
        self._keeper = store if isinstance(store, LeaseKeeper) else None
        self._owner = owner
        self._settings = settings
        self._retry = retry
        self._shutdown = shutdown
        self._share = share
        self._lease: Lease | None = None
        self._renewing: asyncio.Task[None] | None = None
        self.yielded = False
        """Whether the worker should hand the stream over to an instance that has fewer streams."""
        self._awaited = False  # whether `LeaseAwaited` is the last notice about this lease

    @property
    def fencing_token(self) -> int | None:
        """The token of the last grant, 0 if the lease is not held; None if the store keeps no leases."""
        if self._keeper is None:
            return None
        return self._lease.fencing_token if self._lease else 0

    def check(self) -> None:
        """Raise `LeaseLostError` unless the lease is certainly held now. Called right before each write."""
        if self._keeper is None:
            return
        if self._renewing is not None and self._renewing.done():
            self._renewing.result()  # raises why it is no longer renewed: the store refused, or a bug
        if self._lease is None or self._remaining() <= 0:
            raise LeaseLostError(f"the lease of {self._stream} ran out before it was renewed")

    async def __aenter__(self) -> Self:
        if self._keeper is None:
            return self
        self.yielded = self._awaited = False
        round_ = 0
        while (lease := await self._ask(self._keeper, round_)) is None:
            if not self._awaited:
                publish(LeaseAwaited(stream=self._named))
                self._awaited = True
            round_ += 1
            await self._share.request_handover(self._stream)
            await self._shutdown.pause(self._settings.lease_retry_interval)
        self._lease = lease
        self._share.take(self._stream)
        if self._named == self._stream:
            publish(LeaseAcquired(stream=self._stream, fencing_token=lease.fencing_token))
        self._renewing = asyncio.create_task(self._renew(self._keeper, lease))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            done, _ = await asyncio.wait([self._renewing], timeout=self._settings.lease_retry_interval)
            if done and not self._renewing.cancelled():
                self._renewing.exception()  # `check` has raised it, or nothing was written any more
        lease, self._lease, self._renewing = self._lease, None, None
        self._share.drop(self._stream)
        if self._keeper is not None and lease is not None:
            with suppress(RigatoniError):  # it expires
                async with time_limit(self._settings.lease_retry_interval, "the state store"):
                    await self._keeper.release(lease)

    async def _ask(self, keeper: LeaseKeeper, round_: int) -> Lease | None:
        """Acquire the lease if it is free and it is this instance's turn."""
        await self._share.count()
        if (round_ + 1) % self._share.turn(self._stream):
            return None
        return await self._retry(self._acquire, keeper)

    async def _acquire(self, keeper: LeaseKeeper) -> Lease | None:
        awaited, self._awaited = self._awaited, False  # if this fails, `LeaseAwaited` is published again afterwards
        async with time_limit(self._settings.lease_renew_interval, f"the state store, asked to lease {self._stream},"):
            lease = await keeper.acquire(self._stream, owner=self._owner, ttl=self._settings.lease_ttl)
        self._awaited = awaited
        return lease

    async def _renew(self, keeper: LeaseKeeper, lease: Lease) -> None:
        """Renew until the lease is lost (`LeaseLostError`). Retries while the store cannot be reached."""
        settings, pause = self._settings, self._settings.lease_renew_interval
        while True:
            await asyncio.sleep(pause)  # a stop does not end it: the last batch is written under the lease, too
            try:
                async with time_limit(settings.lease_renew_interval, "the state store"):
                    renewed = await keeper.renew(lease, ttl=settings.lease_ttl)
                if self._lease is not lease:
                    return  # the response came after the lease was released
                self._lease = lease = renewed
                publish(LeaseRenewed(stream=self._stream))
                pause = settings.lease_renew_interval
                await self._share.count()
                if not self.yielded and await self._share.hand_over(self._stream):
                    self.yielded = True
                    publish(LeaseYielded(stream=self._named))
            except LeaseLostError:
                raise
            except RigatoniError as error:
                publish(LeaseNotRenewed(stream=self._named, error=error, remaining=max(0.0, self._remaining())))
                if self._remaining() <= 0:
                    raise LeaseLostError(
                        f"the lease of {self._stream} ran out: {error}", remedy=error.remedy
                    ) from error
                pause = min(settings.lease_retry_interval, settings.lease_renew_interval)

    def _remaining(self) -> float:
        """Return the seconds for which the lease is certainly held."""
        return self._lease.deadline - asyncio.get_running_loop().time() if self._lease else 0.0
