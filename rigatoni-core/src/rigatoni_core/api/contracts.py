"""What plugins promise: one small abstract class per kind of component, and one per optional ability.

A component is an attrs class whose public fields *are* its options. Its constructor only stores and validates;
`__aenter__` connects and `__aexit__` closes what was opened. Errors are translated into `rigatoni_core.api.errors`.
"""

import enum
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, ClassVar, Self

import attrs

from rigatoni_core.api.batch import Decoder, EventBatch, Heartbeat
from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.events import Checkpoint, Definition, Gap, Identity, Position, Stream, Timestamp
from rigatoni_core.api.notices import Notice
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
    """Where change events come from. It only reads."""

    decoder: ClassVar[Decoder]
    """Reads its raw documents, also without a connection; the same that its batches carry."""

    @abstractmethod
    async def streams(self) -> Sequence[str]:
        """The names of the streams to run, one worker each; distinct and not overlapping.

        Also called before `__aenter__`; does no I/O.
        """

    @abstractmethod
    def definition(self, stream: Stream) -> Definition:
        """What defines this stream now. Called after `__aenter__`; does no I/O."""

    @abstractmethod
    def read(self, stream: Stream, *, after: Position | None) -> AsyncIterator[EventBatch | Heartbeat]:
        """The stream from right after a position (None: from where a fresh stream begins), for ever.

        The first item is a heartbeat: the *anchor*, the position that reading starts from. Each further item is
        what one reply of the server held; a reply without events is a heartbeat. Items are consecutive: none of
        the events between two of them is left out. The position carries the fingerprint of `definition`; a position
        with another one is never resumed by its token alone.

        Raises `PositionLostError` where going on would skip changes, a `Transient` `SourceError` where entering
        again may help, and any other `SourceError` where it can not.
        """

    def read_from_now(self, stream: Stream) -> AsyncIterator[EventBatch | Heartbeat]:
        """Read the stream from now, like `read`, wherever a fresh stream would begin.

        Called after a lost position. Default: as a fresh stream, for sources that always begin at now.
        """
        return self.read(stream, after=None)


class TimeReader(ABC):
    """Optional ability of a source: it resumes by time if its server refuses the token of a position."""

    @abstractmethod
    def read_by_time(
        self, stream: Stream, *, position: Position, delivered: Position | None
    ) -> AsyncIterator[EventBatch | Heartbeat]:
        """Read the stream like `read` from `position`, but find the place by cluster time.

        Args:
            stream: The stream.
            position: Where to resume. Nothing of the stream lies between `delivered` and this position.
            delivered: The place of the last delivered event: reading begins at its cluster time, and the first item
                is returned only when the event with this very token was found. What comes after it is delivered.
                None if nothing was delivered yet: reading begins at the cluster time of `position`.

        Raises:
            PositionLostError: The event did not come, or the history does not reach back to its time.
        """


class Delivery(enum.Enum):
    """What a destination promises about each event, weakest first."""

    AT_LEAST_ONCE = "at-least-once"
    SINGLE_WRITER_ONCE = "exactly once while one owner writes"
    EFFECTIVELY_ONCE = "exactly once in effect"
    TRANSACTIONAL = "exactly once, transactional"


@attrs.frozen
class DestinationMetadata:
    """What a destination says of itself once it is entered: its level as probed, and under which conditions."""

    description: str
    delivery: Delivery
    conditions: tuple[str, ...] = ()


class Destination(Managed):
    """Where batches go. One destination serves all workers of a pipeline; one write per stream is in flight."""

    delivery: ClassVar[Delivery]
    """The best level that this destination can reach; `metadata().delivery` is the one in force."""
    limits: ClassVar[Mapping[str, float]] = {}
    """Limits of batches that suit it, by their names in `Settings`: in force where the user sets none."""
    maximums: ClassVar[Mapping[str, float]] = {}
    """The largest values that it takes, by their names in `Settings`: a larger one is a configuration error."""

    @abstractmethod
    async def write_batch(self, events: EventBatch) -> Position | None:
        """Write the batch. It may hold no event (all were rejected): its range still counts as written.

        Returns None when all of it is durable once `flush` returns. Returns a position where an earlier run fixed
        another end for the batch that begins with this first event: the caller realigns the batch (splits it, or reads
        on until there) and calls again. May be called again with the same batch after any error or cancellation.

        Raises `RejectedEventsError` naming all events that can never be written, before anything of the batch is
        visible; a `Transient` `DestinationError` where trying again may help; any other where it can not.
        """

    async def flush(self) -> None:
        """Make everything written before durable. Default: nothing to do."""

    async def close(self) -> None:
        """Release what was opened. Called by `__aexit__`; default: nothing to do."""

    @abstractmethod
    def metadata(self) -> DestinationMetadata:
        """The guarantee in force and its conditions."""

    def buffered_count(self) -> int:
        """Events accepted and not yet durable: a figure to show, it decides nothing. Default 0."""
        return 0

    def found_count(self, stream: Stream) -> int:
        """Return how many events of this stream came in batches that an earlier run had written: only a figure.

        It grows while the destination is open. A batch that this destination has just tried to write itself does not
        count, whatever became of the reply. Default 0.
        """
        return 0

    def progress(self, stream: Stream) -> int:
        """Return a count that grows while a call for this stream makes headway: requests finished, pages listed.

        The engine watches it during `write_batch`, `flush`, `begin` and `last_committed`: `write_timeout` bounds the
        time without progress, so that long work is not abandoned and begun again. Must be cheap, and not raise.

        Returns:
            The count. Default 0: nothing is reported, so the limit applies to the whole call.
        """
        return 0

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class PositionKeeper(ABC):
    """Optional ability of a destination: it knows by itself how far each stream has come."""

    @abstractmethod
    async def last_committed(self, stream: Stream) -> Position | None:
        """The newest position up to which everything is durable here; None where the stream never wrote."""

    @abstractmethod
    async def begin(
        self, stream: Stream, definition: Definition, position: Position, *, gap: Gap | None = None
    ) -> Position:
        """Settle where the stream goes on, before its first write of this run.

        `position` is where the caller would go on. Returns the position in force: another one where an earlier or
        concurrent run has anchored the stream already, or where the definition (or the destination's own layout) has
        changed since and the old one ends elsewhere. With `gap`, `position` is in force whatever was there.

        Raises `DefinitionChangedError` where this caller's definition is older than the one in force.
        """

    async def recorded_identity(self, stream: Stream) -> Identity:
        """Return the `Definition.identity` that was recorded when the definition in force began.

        Default: nothing is known. The caller compares it (`same_deployment`) before it calls `begin`, which compares
        no deployments.
        """
        return Identity()


class StreamCloser(ABC):
    """Optional ability of a position keeper: it ends a stream that is continued under another name."""

    @abstractmethod
    async def close_stream(self, stream: Stream) -> Position | None:
        """Bring the stream to rest, and return where it ended; None if it never wrote.

        The caller holds the stream's lease, if there are leases. An instance without one that still runs begins no
        further batch, if the destination can prevent that. Closing a stream twice returns the same end. `begin` opens
        a closed stream again.

        Raises:
            DestinationError: The last batch is unfinished; or, with `retry_after`, requests that are under way have so
                many seconds left to end.
        """


class BatchSplitter(ABC):
    """Optional ability of a destination: some neighbouring events must not share a batch."""

    @abstractmethod
    def split(self, events: EventBatch) -> int:
        """Return how many leading events (1 to len) may share a batch. Must be cheap if all may; does no I/O."""


class Prefetching(ABC):
    """Optional ability of a destination: what of the work on a batch needs no order is begun before its turn."""

    @abstractmethod
    def prepare(self, events: EventBatch) -> None:
        """Begin what can be done of this batch while those before it are being written. Returns at once.

        Nothing of it may be visible, and nothing is raised: what can not be written is for `write_batch` to say, which
        is called with this very batch when its turn comes. At most one batch after the one in flight is prepared.
        """

    @abstractmethod
    def discard(self, stream: Stream) -> None:
        """What was prepared of this stream, if anything, is void: its events come in other batches, or later."""


class ReadBack(ABC):
    """Optional ability of a destination: it gives back the documents that were written into it."""

    @abstractmethod
    def read_back(self, pipeline: str) -> AsyncIterator[Mapping[str, Any]]:
        """Every document of every stream of this pipeline, each stream's in its own order; as decoded values.

        What can not be read is left out, and told by an `UnreadableError` after everything else was given.
        """


class StateStore(Managed):
    """Where checkpoints are kept. Nothing expires. A save replaces the record atomically and is durable on return.

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
    """Optional ability of a state store: it lists the streams that it holds checkpoints of."""

    @abstractmethod
    async def streams(self, pipeline: str | None = None) -> Sequence[Stream]:
        """Return the streams with a stored checkpoint, in order; cleared streams are not among them.

        Called after `__aenter__`, or within `StateInspector.looking`. A stream whose record is damaged is listed.

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
    """Optional ability of a state store: at most one owner holds a stream. Core renews; plugins create no tasks."""

    @abstractmethod
    async def acquire(self, stream: Stream, *, owner: str, ttl: float) -> Lease | None:
        """Grant the lease for `ttl` seconds, or return None while another owner holds it.

        The fencing token is `max(fence, clock) + 1`, where the clock is the store's own, in milliseconds: so tokens
        grow even if the store has lost its data since the last grant. The token is the stream's fence from now on.
        """

    @abstractmethod
    async def renew(self, lease: Lease, *, ttl: float) -> Lease:
        """Extend the lease with the same fencing token. Raises `LeaseLostError` where it is not held any more."""

    @abstractmethod
    async def release(self, lease: Lease) -> None:
        """Give the lease up; a lease that is not held any more is left alone."""


class Membership(ABC):
    """Optional ability of a lease keeper: the instances of a pipeline know how many they are, and share its streams."""

    @abstractmethod
    async def heartbeat(self, pipeline: str, *, owner: str, ttl: float) -> int:
        """Note that this owner is there for `ttl` seconds (0: no more). How many are there now, it included."""

    @abstractmethod
    async def request_handover(self, stream: Stream, *, ttl: float) -> None:
        """Note for `ttl` seconds that somebody waits for the stream's lease and has room for it."""

    @abstractmethod
    async def handover_requested(self, stream: Stream) -> bool:
        """Whether somebody waits; a grant of the lease ends it."""


class Positioner(ABC):
    """Optional ability of a source: it makes positions for people who repair. Both are called after `__aenter__`."""

    @abstractmethod
    def position_at(self, stream: Stream, time: Timestamp) -> Position:
        """Right before the first event at this cluster time or later."""

    @abstractmethod
    def position_after(self, stream: Stream, token: str, time: Timestamp | None) -> Position:
        """Right after the event with this resume token, as the server or a person spells it.

        `time` is the event's cluster time or an earlier one, where the token does not tell. Raises `SourceError` where
        it is no token, or where neither tells the time.
        """


class StateInspector(ABC):
    """Optional ability of a state store: it can be looked at while a pipeline uses it."""

    @abstractmethod
    def looking(self) -> AbstractAsyncContextManager[None]:
        """To be entered instead of the store: `load_resume_token` and `holder` answer, nothing is locked or changed."""

    @abstractmethod
    async def holder(self, stream: Stream) -> str | None:
        """Who has the right to run this stream now, in words; None where nobody has."""


class ConfigLinter(ABC):
    """Optional ability of any component: it knows what is allowed but seldom meant."""

    @abstractmethod
    def advice(self, settings: Settings) -> Sequence[str]:
        """What is unwise about its options, or about these settings with it, and what is better. No I/O.

        A component that looks at its server's settings while it is entered tells more after that: it is asked again.
        """


class HealthCheck(ABC):
    """Optional ability of a source or destination: it looks for what would fail only later."""

    @abstractmethod
    async def examine(self, stream: Stream) -> Sequence[RigatoniError]:
        """What of this stream can not work although everything connects. Called after `__aenter__`; only reads."""


ANY_FORMAT = "*"
"""What a `FormatReader` accepts if it looks at decoded events only: the source's decoder does the reading."""


class FormatReader(ABC):
    """Base of serializers, and optional ability of a destination that reads raw documents itself.

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
    """Turns batches into bytes. Thread-safe: several batches may be in work at once."""

    media_type: str
    """The content type of the bytes, such as `application/x-ndjson`."""
    content_encoding: str | None = None
    """The content encoding around them, such as `gzip`, or None."""
    suffix: str
    """The file name's end, such as `.ndjson.zst`."""
    compressed: bool = False
    """Whether the format compresses by itself: compression around it would hide the file from its readers."""
    columns: Sequence[str] = ()
    """The names of the columns that readers find in the files, or of the top-level fields of the documents in them.

    Folders `name=value` must not repeat one: readers would take the folder's value for the column's.
    """

    @abstractmethod
    def serialize(self, events: EventBatch) -> bytes | memoryview:
        """All events of the batch as one file's content.

        Raises `RejectedEventsError` that names every event that can not be represented, all at once.
        """


class Piecewise(ABC):
    """Optional ability of a serializer: it writes a batch piece by piece, so that nobody has to hold the whole file."""

    @abstractmethod
    def pieces(self, events: EventBatch) -> Iterator[bytes]:
        """What `serialize` answers, in consecutive pieces; the same for the same batch.

        Raises `RejectedEventsError`, at the latest after the last piece: what came before is void then.
        """


class Deserializer(ABC):
    """Optional ability of a serializer: it reads what it wrote."""

    @abstractmethod
    def deserialize(self, content: bytes) -> Iterable[Mapping[str, Any]]:
        """The documents in one file's content, by their own field names: texts, numbers, bytes, mappings, sequences.

        Bytes may come as their base64 text, where the format has none. Raises `UnreadableError`.
        """


class Listener(ABC):
    """Someone who is told what happens: logging, metrics, traces.

    One that has something to open (a port, an exporter) derives from `Managed` too: the pipeline enters it before
    everything else and closes it last. An error while it is entered stops the start, like any component's.
    """

    @abstractmethod
    def notify(self, notice: Notice) -> None:
        """Take note. Called in order for each stream, on the event loop: must not block.

        An exception raised here is reported once, on stderr, and harms nobody.
        """
