"""The contract of state stores, and their optional interfaces: leases, membership, inspection."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

import attrs

from rigatoni_core.api.contracts.lifecycle import AsyncResource
from rigatoni_core.api.events import Checkpoint, Stream


class StateStore(AsyncResource):
    """The store of checkpoints. Nothing expires. A save replaces the record atomically and is durable on return.

    The *fence* of a stream is the highest fencing token that the store knows of: of a grant, a save or a clear. Only
    the owner of exactly this token may change the record: a lower token is an earlier owner's, a higher one was granted
    by a store that has lost the grant since. A stream of which the store knows nothing, because it is new or because
    the store has lost its data, takes any token, which becomes the fence.
    """

    durable: ClassVar[bool] = True
    """Whether records outlive the process."""

    @abstractmethod
    async def save_resume_token(self, stream: Stream, checkpoint: Checkpoint) -> None:
        """Save the checkpoint under its fencing token.

        Args:
            stream: The stream.
            checkpoint: The checkpoint, with the fencing token to compare.

        Raises:
            LeaseLostError: The token is not the stream's fence. Compared and saved in one step; nothing has changed.
        """

    @abstractmethod
    async def load_resume_token(self, stream: Stream) -> Checkpoint | None:
        """Return the saved checkpoint, or None if there is none.

        Args:
            stream: The stream.

        Raises:
            CorruptCheckpointError: The record cannot be read. It stays as it is.
        """

    @abstractmethod
    async def clear_resume_token(self, stream: Stream, *, fencing_token: int = 0) -> None:
        """Clear the checkpoint, but not the fence. See `cleared_under`.

        Args:
            stream: The stream.
            fencing_token: The caller's fencing token; 0 for a store without leases.

        Raises:
            LeaseLostError: The token is not the stream's fence. Compared and cleared in one step; nothing has changed.
        """

    @abstractmethod
    async def cleared_under(self, stream: Stream) -> int | None:
        """Return the fencing token under which the checkpoint was cleared.

        None if a checkpoint is stored, or if the store knows nothing of the stream. This tells a worker that remembers
        its position what to do without a stored one: obey the clear, or save again what the store has lost.

        Args:
            stream: The stream.
        """


class StreamLister(ABC):
    """Optional interface of a state store: it lists the streams that have checkpoints."""

    @abstractmethod
    async def streams(self, pipeline: str | None = None) -> Sequence[Stream]:
        """Return the streams with a stored checkpoint, in order; cleared streams are not among them.

        Called after `__aenter__`, or inside `StateInspector.looking`. A stream whose record is damaged is listed.

        Args:
            pipeline: Only the streams of this pipeline; None for those of all pipelines.

        Raises:
            CorruptCheckpointError: A record is so damaged that nothing tells which stream it belongs to.
        """


@attrs.frozen
class Lease:
    """The right to run a stream until `deadline` (seconds on the event loop's clock, taken before asking)."""

    stream: Stream
    owner: str
    fencing_token: int
    deadline: float


class LeaseKeeper(ABC):
    """Optional interface of a state store: at most one owner holds a stream. Core renews; plugins create no tasks."""

    @abstractmethod
    async def acquire(self, stream: Stream, *, owner: str, ttl: float) -> Lease | None:
        """Grant the lease for `ttl` seconds.

        The fencing token is `max(fence, clock) + 1`, where the clock is the store's own, in milliseconds: so tokens
        grow even if the store has lost its data since the last grant. The token is the stream's fence from now on.

        Args:
            stream: The stream.
            owner: The name of the instance.
            ttl: The time to live in seconds.

        Returns:
            The lease, or None while another owner holds it.
        """

    @abstractmethod
    async def renew(self, lease: Lease, *, ttl: float) -> Lease:
        """Extend the lease with the same fencing token.

        Args:
            lease: The lease.
            ttl: The time to live in seconds, from now.

        Returns:
            The lease with its new deadline.

        Raises:
            LeaseLostError: It is no longer held.
        """

    @abstractmethod
    async def release(self, lease: Lease) -> None:
        """Release the lease. Does nothing if it is no longer held.

        Args:
            lease: The lease.
        """


class Membership(ABC):
    """Optional interface of a lease keeper: the instances of a pipeline count each other and share its streams."""

    @abstractmethod
    async def heartbeat(self, pipeline: str, *, owner: str, ttl: float) -> int:
        """Register this owner, or unregister it.

        Args:
            pipeline: The name of the pipeline.
            owner: The name of the instance.
            ttl: Seconds until the registration expires; 0 to unregister.

        Returns:
            The current number of owners, including this one.
        """

    @abstractmethod
    async def request_handover(self, stream: Stream, *, ttl: float) -> None:
        """Record for `ttl` seconds that an instance with room for the stream waits for its lease.

        Args:
            stream: The stream.
            ttl: Seconds until the request expires.
        """

    @abstractmethod
    async def handover_requested(self, stream: Stream) -> bool:
        """Return whether an instance waits for the lease; a grant clears the request.

        Args:
            stream: The stream.
        """


class StateInspector(ABC):
    """Optional interface of a state store: it can be inspected while a pipeline uses it."""

    @abstractmethod
    def looking(self) -> AbstractAsyncContextManager[None]:
        """Return the context for an inspection, instead of entering the store.

        In it `load_resume_token` and `holder` work, and nothing is locked or changed.
        """

    @abstractmethod
    async def holder(self, stream: Stream) -> str | None:
        """Return a description of the current holder of the stream's lease; None if it is not held.

        Args:
            stream: The stream.
        """
