"""The contract of destinations, and their optional interfaces."""

import enum
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar

import attrs

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts.lifecycle import AsyncResource
from rigatoni_core.api.events import Definition, Gap, Position, Stream
from rigatoni_core.api.identity import Identity


class Delivery(enum.Enum):
    """A destination's delivery guarantee for each event, weakest first."""

    AT_LEAST_ONCE = "at-least-once"
    SINGLE_WRITER_ONCE = "exactly once while one owner writes"
    EFFECTIVELY_ONCE = "exactly once in effect"
    TRANSACTIONAL = "exactly once, transactional"


@attrs.frozen
class DestinationMetadata:
    """A destination's own description once it is entered: its probed guarantee and the conditions."""

    description: str
    delivery: Delivery
    conditions: tuple[str, ...] = ()


class Destination(AsyncResource):
    """The destination of batches. It serves all workers of a pipeline; one write per stream is in flight."""

    delivery: ClassVar[Delivery]
    """The best guarantee that this destination can reach; `metadata().delivery` is the one in force."""
    limits: ClassVar[Mapping[str, float]] = {}
    """Recommended batch limits, by their names in `Settings`; used unless the user sets them."""
    maximums: ClassVar[Mapping[str, float]] = {}
    """The largest accepted values, by their names in `Settings`; larger ones are configuration errors."""

    @abstractmethod
    async def write_batch(self, events: EventBatch) -> Position | None:
        """Write the batch.

        It may be called again with the same batch after any error or cancellation.

        Args:
            events: The batch. It may hold no event (all were rejected): its range still counts as written.

        Returns:
            None if all of it is durable once `flush` returns. A position, if an earlier run fixed another end for the
            batch with this first event: the caller realigns the batch (splits it, or reads up to that position) and
            calls again.

        Raises:
            RejectedEventsError: Names all events that can never be written, before anything of the batch is visible.
            DestinationError: Writing failed; `Transient` if a retry may help.
        """

    async def flush(self) -> None:
        """Make everything written so far durable. Default: does nothing."""

    async def close(self) -> None:
        """Release all resources. Called by `__aexit__`; default: does nothing."""

    @abstractmethod
    def metadata(self) -> DestinationMetadata:
        """Return the guarantee in force and its conditions."""

    def buffered_count(self) -> int:
        """Return the number of events accepted but not yet durable, for display only. Default 0."""
        return 0

    def already_written_count(self, stream: Stream) -> int:
        """Return the number of this stream's events in batches that an earlier run had written, for display only.

        It grows while the destination is open. A batch that this destination has just tried to write itself does not
        count, whether or not the reply arrived. Default 0.

        Args:
            stream: The stream.
        """
        return 0

    def progress(self, stream: Stream) -> int:
        """Return a count that grows while a call for this stream makes headway: requests finished, pages listed.

        The engine watches it during `write_batch`, `flush`, `begin` and `last_committed`: `write_timeout` bounds the
        time without progress, so that long work is not abandoned and restarted. Must be cheap, and not raise.

        Args:
            stream: The stream.

        Returns:
            The count. Default 0: nothing is reported, so the limit applies to the whole call.
        """
        return 0

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class PositionKeeper(ABC):
    """Optional interface of a destination: it knows the delivered position of each stream."""

    @abstractmethod
    async def last_committed(self, stream: Stream) -> Position | None:
        """Return the newest position up to which everything is durable here; None if the stream never wrote.

        Args:
            stream: The stream.
        """

    @abstractmethod
    async def begin(
        self, stream: Stream, definition: Definition, position: Position, *, gap: Gap | None = None
    ) -> Position:
        """Decide where the stream resumes, before its first write of this run.

        Args:
            stream: The stream.
            definition: The stream's present definition.
            position: The position at which the caller would resume.
            gap: A gap that ends at `position`. With it, `position` is in force in any case.

        Returns:
            The position in force. It differs from `position` if an earlier or concurrent run has already anchored the
            stream. It also differs if the definition (or the destination's layout) has changed, and the old one ends
            elsewhere.

        Raises:
            DefinitionChangedError: The caller's definition is older than the one in force.
        """

    async def recorded_identity(self, stream: Stream) -> Identity:
        """Return the `Definition.identity` that was recorded when the definition in force began.

        The caller compares it (`same_deployment`) before it calls `begin`, which compares no deployments. Default: an
        empty identity, unknown.

        Args:
            stream: The stream.
        """
        return Identity()


class TransactionalKeeper(PositionKeeper):
    """Interface of a destination with `Delivery.TRANSACTIONAL`: one commit holds a batch's rows and its position.

    So the position that the destination holds is the stream's, not the checkpoint's: `last_committed` and
    `begin` return it. The worker resumes there, earlier or later than its checkpoint. The one exception is idle time:
    a checkpoint that follows exactly this position without any event counts. `begin` of a fresh stream commits the
    caller's position, the anchor, before it returns; so does `begin` with a gap.

    Each commit is refused if the position has changed since it was read in the same transaction or snapshot. That
    decides between two owners, without a lease. `StreamRecord` holds the rule.
    """

    @abstractmethod
    async def commit_idle(self, stream: Stream, position: Position) -> None:
        """Commit a later position, up to which the stream has no event, without rows.

        The worker calls it rarely (`idle_commit_interval`), so that a lost checkpoint does not send an idle stream back
        beyond the history that the source keeps. Called after `begin`. Does nothing if the destination holds a later
        position.

        Args:
            stream: The stream.
            position: The position, up to which everything is delivered.

        Raises:
            LeaseLostError: The position was moved by others; the worker enters again.
        """


class RecordKeeper(ABC):
    """Optional interface of a destination: it keeps small records next to the data, each created only if absent."""

    @abstractmethod
    async def settle(self, stream: Stream, name: str, content: bytes | None = None) -> bytes | None:
        """Create a record unless it exists, and return the record in force, durably.

        Exactly one of several concurrent callers creates it; all get the same content. Needs no `begin`.

        Args:
            stream: The stream that the record is about.
            name: The record's name: letters, digits, hyphens, and slashes between them.
            content: What it should hold; None to look only.

        Returns:
            The content of the record, which may be another caller's; None if it does not exist and was not given.
        """


class StreamCloser(ABC):
    """Optional interface of a position keeper: it ends a stream that is continued under another name."""

    @abstractmethod
    async def close_stream(self, stream: Stream) -> Position | None:
        """Close the stream.

        The caller holds the stream's lease, if there are leases. An instance without one that still runs begins no
        further batch, if the destination can prevent that. Closing a stream twice returns the same end. `begin` opens a
        closed stream again.

        Args:
            stream: The stream.

        Returns:
            The end of the stream; None if it never wrote.

        Raises:
            DestinationError: The last batch is unfinished; or, with `retry_after`, requests in flight may take this
                many seconds.
        """


class BatchSplitter(ABC):
    """Optional interface of a destination: some neighbouring events must not share a batch."""

    @abstractmethod
    def split(self, events: EventBatch) -> int:
        """Return how many leading events (1 to len) may share a batch. Must be cheap if all may. Does no I/O.

        Args:
            events: At least one event.
        """


class Prefetching(ABC):
    """Optional interface of a destination: it serializes and prepares batches ahead of time."""

    @abstractmethod
    def prepare(self, events: EventBatch) -> None:
        """Start order-independent work on this batch while earlier ones are being written. Returns immediately.

        Nothing of it may become visible, and nothing is raised: `write_batch`, which is later called with the same
        batch object, reports events that cannot be written. At most one batch after the one in flight is prepared.

        Args:
            events: The next batch.
        """

    @abstractmethod
    def discard(self, stream: Stream) -> None:
        """Drop this stream's prefetched work, because its events come in other batches, or later.

        Args:
            stream: The stream.
        """


class ReadBack(ABC):
    """Optional interface of a destination: it reads back the documents written into it."""

    @abstractmethod
    def read_back(self, pipeline: str) -> AsyncIterator[Mapping[str, Any]]:
        """Yield every document of every stream of this pipeline, decoded, in the order of each stream.

        Each unreadable file is yielded last, as an `UnreadableError`.

        Args:
            pipeline: The name of the pipeline.
        """

    @abstractmethod
    def as_read_back(self, events: EventBatch) -> Sequence[Mapping[str, Any]]:
        """Return the documents that `read_back` would yield for these events, without writing them.

        So documents of the source can be compared with those that were written.

        Args:
            events: At least one event.

        Raises:
            RejectedEventsError: Some of the events cannot be written.
            UnreadableError: The destination is configured so that nothing can be read back.
        """
