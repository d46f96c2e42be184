"""The contracts of plugins: one small abstract class per kind of component, and one per optional interface.

A component is an attrs class whose public fields *are* its options. Its constructor only stores and validates;
`__aenter__` connects and `__aexit__` closes what was opened. Errors are translated into `rigatoni_core.api.errors`.
"""

import enum
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Annotated, Any, ClassVar, Self

import attrs

from rigatoni_core.api.batch import Decoder, EventBatch, Heartbeat
from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.events import Checkpoint, Definition, Gap, Identity, Position, Stream, Timestamp
from rigatoni_core.api.notices import Notice
from rigatoni_core.api.options import texts
from rigatoni_core.api.settings import Settings


class Managed:
    """Base of sources, destinations and state stores: an async context manager that may be entered once.

    An `__aenter__` that raises leaves nothing open. If the error is `Transient` it is called again, on the same object.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


class Source(Managed):
    """The source of change events. It only reads."""

    decoder: ClassVar[Decoder]
    """The decoder of its raw documents, which its batches carry. Works without a connection."""

    @abstractmethod
    async def streams(self) -> Sequence[str]:
        """Return the names of the streams to run, one worker each; distinct and not overlapping.

        Also called before `__aenter__`; does no I/O.
        """

    @abstractmethod
    def definition(self, stream: Stream) -> Definition:
        """Return the stream's current definition. Called after `__aenter__`; does no I/O."""

    @abstractmethod
    def read(self, stream: Stream, *, after: Position | None) -> AsyncIterator[EventBatch | Heartbeat]:
        """Read the stream from right after a position, without end. None means where a fresh stream begins.

        The first item is a heartbeat: the *anchor*, the position that reading starts from. Each further item is one
        reply of the server; a reply without events is a heartbeat. Items are consecutive: no event between two of
        them is missing. The position carries the fingerprint of `definition`; a position with another one is never
        resumed by its token alone.

        Raises `PositionLostError` if resuming would skip changes, a `Transient` `SourceError` if entering again may
        help, and any other `SourceError` if it cannot.
        """

    def read_from_now(self, stream: Stream) -> AsyncIterator[EventBatch | Heartbeat]:
        """Read the stream like `read`, but from now, even if a fresh stream would begin elsewhere.

        Called after a lost position. Default: as a fresh stream, for sources that always begin at now.
        """
        return self.read(stream, after=None)


class TimeReader(ABC):
    """Optional interface of a source: it resumes by time if its server refuses the token of a position."""

    @abstractmethod
    def read_by_time(
        self, stream: Stream, *, position: Position, delivered: Position | None
    ) -> AsyncIterator[EventBatch | Heartbeat]:
        """Read the stream like `read` from `position`, but find the place by cluster time.

        Args:
            stream: The stream.
            position: Where to resume. Nothing of the stream lies between `delivered` and this position.
            delivered: The place of the last delivered event: reading begins at its cluster time, and the first item
                is yielded only after the event with this token was found. Delivery continues after it.
                None if nothing was delivered yet: reading begins at the cluster time of `position`.

        Raises:
            PositionLostError: The event was not found, or the history does not reach back to its time.
        """


class IdentityRefresher(ABC):
    """Optional interface of a source: it reads again how its deployment is recognized, after it was opened."""

    @abstractmethod
    async def refresh_identity(self, stream: Stream) -> None:
        """Read again what the `identity` of this stream's definition is made of.

        The engine calls it before a stream is refused as one of another deployment: an instance that waited for the
        stream's lease knows what was there when it started, and another instance has recorded what was created since.

        Args:
            stream: The stream.

        Raises:
            SourceError: The deployment cannot be asked now.
        """


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


class Destination(Managed):
    """The destination of batches. It serves all workers of a pipeline; one write per stream is in flight."""

    delivery: ClassVar[Delivery]
    """The best guarantee that this destination can reach; `metadata().delivery` is the one in force."""
    limits: ClassVar[Mapping[str, float]] = {}
    """Recommended batch limits, by their names in `Settings`; used unless the user sets them."""
    maximums: ClassVar[Mapping[str, float]] = {}
    """The largest accepted values, by their names in `Settings`; larger ones are configuration errors."""

    @abstractmethod
    async def write_batch(self, events: EventBatch) -> Position | None:
        """Write the batch. It may hold no event (all were rejected): its range still counts as written.

        Returns None when all of it is durable once `flush` returns. Returns a position if an earlier run fixed
        another end for the batch with this first event: the caller realigns the batch (splits it, or reads up to that
        position) and calls again. May be called again with the same batch after any error or cancellation.

        Raises `RejectedEventsError` naming all events that can never be written, before anything of the batch is
        visible; a `Transient` `DestinationError` if a retry may help; any other if it cannot.
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

    def found_count(self, stream: Stream) -> int:
        """Return how many events of this stream came in batches that an earlier run had written, for display only.

        It grows while the destination is open. A batch that this destination has just tried to write itself does not
        count, whether or not the reply arrived. Default 0.
        """
        return 0

    def progress(self, stream: Stream) -> int:
        """Return a count that grows while a call for this stream makes headway: requests finished, pages listed.

        The engine watches it during `write_batch`, `flush`, `begin` and `last_committed`: `write_timeout` bounds the
        time without progress, so that long work is not abandoned and restarted. Must be cheap, and not raise.

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
        """Return the newest position up to which everything is durable here; None if the stream never wrote."""

    @abstractmethod
    async def begin(
        self, stream: Stream, definition: Definition, position: Position, *, gap: Gap | None = None
    ) -> Position:
        """Decide where the stream resumes, before its first write of this run.

        `position` is where the caller would resume. Returns the position in force: another one if an earlier or
        concurrent run has anchored the stream already, or if the definition (or the destination's layout) has
        changed since and the old one ends elsewhere. With `gap`, `position` is in force in any case.

        Raises `DefinitionChangedError` if this caller's definition is older than the one in force.
        """

    async def recorded_identity(self, stream: Stream) -> Identity:
        """Return the `Definition.identity` that was recorded when the definition in force began.

        Default: None, unknown. The caller compares it (`same_deployment`) before it calls `begin`, which compares
        no deployments.
        """
        return Identity()


class StreamCloser(ABC):
    """Optional interface of a position keeper: it ends a stream that is continued under another name."""

    @abstractmethod
    async def close_stream(self, stream: Stream) -> Position | None:
        """Close the stream and return its end; None if it never wrote.

        The caller holds the stream's lease, if there are leases. An instance without one that still runs begins no
        further batch, if the destination can prevent that. Closing a stream twice returns the same end. `begin` opens
        a closed stream again.

        Raises:
            DestinationError: The last batch is unfinished; or, with `retry_after`, requests in flight have this many
                seconds left to end.
        """


class BatchSplitter(ABC):
    """Optional interface of a destination: some neighbouring events must not share a batch."""

    @abstractmethod
    def split(self, events: EventBatch) -> int:
        """Return how many leading events (1 to len) may share a batch. Must be cheap if all may; does no I/O."""


class Prefetching(ABC):
    """Optional interface of a destination: it serializes and prepares batches ahead of time."""

    @abstractmethod
    def prepare(self, events: EventBatch) -> None:
        """Start order-independent work on this batch while earlier ones are being written. Returns immediately.

        Nothing of it may become visible, and nothing is raised: `write_batch`, which is later called with the same
        batch object, reports events that cannot be written. At most one batch after the one in flight is prepared.
        """

    @abstractmethod
    def discard(self, stream: Stream) -> None:
        """Drop this stream's prefetched work: its events come in other batches, or later."""


class ReadBack(ABC):
    """Optional interface of a destination: it reads back the documents written into it."""

    @abstractmethod
    def read_back(self, pipeline: str) -> AsyncIterator[Mapping[str, Any]]:
        """Yield every document of every stream of this pipeline, decoded, each stream's in order.

        Each unreadable one is yielded last, as an `UnreadableError`.
        """


class StateStore(Managed):
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

        Raises:
            LeaseLostError: The token is not the stream's fence. Compared and saved in one step; nothing has changed.
        """

    @abstractmethod
    async def load_resume_token(self, stream: Stream) -> Checkpoint | None:
        """Return the saved checkpoint, or None if there is none.

        Raises:
            CorruptCheckpointError: The record cannot be read. It stays as it is.
        """

    @abstractmethod
    async def clear_resume_token(self, stream: Stream, *, fencing_token: int = 0) -> None:
        """Forget the checkpoint, but not the fence: see `cleared_under`.

        Raises:
            LeaseLostError: The token is not the stream's fence. Compared and cleared in one step; nothing has changed.
        """

    @abstractmethod
    async def cleared_under(self, stream: Stream) -> int | None:
        """Return the fencing token under which the checkpoint was cleared.

        None if a checkpoint is stored, or if the store knows nothing of the stream. This tells a worker that remembers
        its position what to do without a stored one: obey the clear, or save again what the store has lost.
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
        """Grant the lease for `ttl` seconds, or return None while another owner holds it.

        The fencing token is `max(fence, clock) + 1`, where the clock is the store's own, in milliseconds: so tokens
        grow even if the store has lost its data since the last grant. The token is the stream's fence from now on.
        """

    @abstractmethod
    async def renew(self, lease: Lease, *, ttl: float) -> Lease:
        """Extend the lease with the same fencing token. Raises `LeaseLostError` if it is no longer held."""

    @abstractmethod
    async def release(self, lease: Lease) -> None:
        """Release the lease; does nothing if it is no longer held."""


class Membership(ABC):
    """Optional interface of a lease keeper: the instances of a pipeline count each other and share its streams."""

    @abstractmethod
    async def heartbeat(self, pipeline: str, *, owner: str, ttl: float) -> int:
        """Register this owner for `ttl` seconds (0: unregister). Returns the current number of owners, including it."""

    @abstractmethod
    async def request_handover(self, stream: Stream, *, ttl: float) -> None:
        """Record for `ttl` seconds that an instance with room for the stream waits for its lease."""

    @abstractmethod
    async def handover_requested(self, stream: Stream) -> bool:
        """Return whether an instance waits for the lease; a grant clears the request."""


class Positioner(ABC):
    """Optional interface of a source: it makes positions for manual repairs. Called after `__aenter__`."""

    @abstractmethod
    def position_at(self, stream: Stream, time: Timestamp) -> Position:
        """Return the position right before the first event at this cluster time or later."""

    @abstractmethod
    def position_after(self, stream: Stream, token: str, time: Timestamp | None) -> Position:
        """Return the position right after the event with this resume token, as the server or a person spells it.

        `time` is the event's cluster time or an earlier one, if the token does not contain it. Raises `SourceError`
        if it is not a token, or if neither contains the time.
        """


class StateInspector(ABC):
    """Optional interface of a state store: it can be inspected while a pipeline uses it."""

    @abstractmethod
    def looking(self) -> AbstractAsyncContextManager[None]:
        """Enter this instead of the store: `load_resume_token` and `holder` work, nothing is locked or changed."""

    @abstractmethod
    async def holder(self, stream: Stream) -> str | None:
        """Describe the current holder of the stream's lease; None if it is not held."""


class ConfigLinter(ABC):
    """Optional interface of any component: it warns about valid options that are rarely intended."""

    @abstractmethod
    def advice(self, settings: Settings) -> Sequence[str]:
        """Return warnings about its options, and about these settings with it, with better alternatives. No I/O.

        Called again after `__aenter__`, when a component may know its server's settings.
        """


class HealthCheck(ABC):
    """Optional interface of a source or destination: it finds problems that would otherwise show only later."""

    @abstractmethod
    async def examine(self, stream: Stream) -> Sequence[RigatoniError]:
        """Return problems of this stream that connecting does not reveal. Called after `__aenter__`; only reads."""


ANY_FORMAT = "*"
"""What a `FormatReader` accepts if it looks at decoded events only: the source's decoder does the reading."""


class FormatReader(ABC):
    """Base of serializers and transforms, and optional ability of a destination that reads raw documents itself.

    Compared with the format of the source (`Decoder.format`) before anything is opened: when a configuration is read,
    and when a pipeline is built.
    """

    @property
    @abstractmethod
    def accepts(self) -> frozenset[str]:
        """The formats that it reads, such as `bson`; `ANY_FORMAT` in it stands for all.

        Usually a constant of the class. A wrapper accepts what the component that it wraps accepts.
        """


class Serializer(FormatReader):
    """Serializes batches. Thread-safe: several batches may be serialized concurrently."""

    media_type: str
    """The content type of the bytes, such as `application/x-ndjson`."""
    content_encoding: str | None = None
    """The content encoding around them, such as `gzip`, or None."""
    suffix: str
    """The file name extension, such as `.ndjson.zst`."""
    compressed: bool = False
    """Whether the format compresses by itself: readers would not recognize the file inside another compression."""
    columns: Sequence[str] = ()
    """The names of the columns that readers find in the files, or of the top-level fields of the documents in them.

    Folders `name=value` must not repeat one: readers would use the folder's value as the column's.
    """

    @abstractmethod
    def serialize(self, events: EventBatch) -> bytes | memoryview:
        """Return all events of the batch as the content of one file.

        Raises one `RejectedEventsError` that names every event that cannot be represented.
        """


class Piecewise(ABC):
    """Optional interface of a serializer: it serializes in pieces, so that no file must fit into memory."""

    @abstractmethod
    def pieces(self, events: EventBatch) -> Iterator[bytes]:
        """Yield the result of `serialize` in consecutive pieces; the same for the same batch.

        Raises `RejectedEventsError`, at the latest after the last piece; earlier pieces are void then.
        """


class Deserializer(ABC):
    """Optional interface of a serializer: it reads its own output."""

    @abstractmethod
    def deserialize(self, content: bytes) -> Iterable[Mapping[str, Any]]:
        """Yield the documents in one file's content, by their field names: texts, numbers, bytes, mappings, sequences.

        Bytes may be base64 text if the format has no bytes. Raises `UnreadableError`.
        """


@attrs.define(kw_only=True)
class Transform(FormatReader):
    """Changes, drops or rejects events between the batch and the destination.

    Runs on threads, several batches at once, ahead of time while the batch before is written. It does no I/O. A batch
    may come again after a crash, cut elsewhere: so what becomes of an event depends on nothing but the event and the
    options. The transforms of a stream are part of its definition: others begin a new definition.
    """

    streams: Annotated[
        tuple[str, ...], "The streams that it is applied to, such as `shop.orders` or `shop.*`; all unless given"
    ] = attrs.field(default=(), converter=texts)

    @property
    def version(self) -> int:
        """Part of the definition: it grows when the same options give other events. Default 1.

        A constant of the class, or an option if the user changes what the options do not show, such as a function.
        """
        return 1

    @abstractmethod
    def transform(self, events: EventBatch) -> EventBatch:
        """Return the batch without the dropped events (`EventBatch.without`), with changed documents (`replaced`).

        The order stays, no event is added, and the batch that was given is unchanged. It may hold no event.

        Raises:
            RejectedEventsError: Names every event that cannot be transformed, all at once, by its index in `events`.
        """

    def applies_to(self, stream: Stream) -> bool:
        """Return whether it transforms this stream. A `*` in `streams` stands for any text."""
        patterns = (".*".join(map(re.escape, name.split("*"))) for name in self.streams)
        return not self.streams or any(re.fullmatch(pattern, stream.name, re.DOTALL) for pattern in patterns)


class Listener(ABC):
    """Receives notices, for logging, metrics or traces.

    A listener that opens resources (a port, an exporter) also derives from `Managed`: the pipeline enters it first and
    closes it last. An error while it is entered stops the start, like any component's.
    """

    @abstractmethod
    def notify(self, notice: Notice) -> None:
        """Handle a notice. Called in order for each stream, on the event loop: must not block.

        An exception raised here is reported once, on stderr, and ignored.
        """
