"""The figures for operators: counts, states, lags and errors of each stream and in total, computed from notices.

Nothing else counts. The commands and the exporters of metrics read these figures.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Literal

import attrs

from rigatoni_core.api.contracts import Listener
from rigatoni_core.api.errors import error_id
from rigatoni_core.api.events import Position, Stream
from rigatoni_core.api.notices import (
    BatchRead,
    BatchRealigned,
    BatchWritten,
    CaughtUp,
    CheckpointFailed,
    CheckpointSaved,
    DuplicatesDropped,
    EventsRejected,
    GapRecorded,
    Invalidated,
    LeaseAcquired,
    LeaseAwaited,
    LeaseLost,
    LeaseNotRenewed,
    Notice,
    ReplyRead,
    Resumed,
    Retrying,
    SchemaDrifted,
    WorkerFailed,
    WorkerFailing,
    WorkerRecovered,
    WorkerStarted,
    WorkerStarting,
    WorkerStopped,
)
from rigatoni_core.api.snapshot_notices import (
    ChunkWritten,
    SnapshotDone,
    SnapshotEnded,
    SnapshotPaused,
    SnapshotPlanned,
)
from rigatoni_core.observe.backlog import Backlog
from rigatoni_core.observe.snapshot_figures import SnapshotFigures

State = Literal["starting", "running", "standby", "retrying", "failing", "failed", "stopped"]
"""The state of a worker. It stays `failing` until a batch is delivered, or until the stream has caught up."""


@attrs.define
class LastError:
    """The latest failure of a stream: its text, its time, and the time at which the stream had recovered."""

    message: str
    time: datetime
    recovered: datetime | None = None
    """None while the failure lasts."""


@attrs.define
class StreamStatistics:
    """The figures of one stream since the pipeline started, or of all streams together (without a state).

    `errors` counts each failure by the error's id, including those that were recovered from. `lease_held` is None if
    the state store keeps no leases.
    """

    state: State | Literal[""] = "starting"
    events: int = 0
    bytes: int = 0
    batches: int = 0
    found: int = 0
    realigned: int = 0
    retries: int = 0
    errors: Counter[str] = attrs.field(factory=Counter)
    resumes: int = 0
    invalidates: int = 0
    duplicates: int = 0
    rejected: int = 0
    dead_letters: int = 0
    schema_deviations: int = 0
    gaps: int = 0
    checkpoints: int = 0
    checkpoint_failures: int = 0
    leases_lost: int = 0
    write_seconds: float = 0.0
    snapshot_rows: int = 0
    snapshot_bytes: int = 0
    snapshot_chunks: int = 0
    snapshot_found: int = 0
    lease_held: bool | None = None
    last_error: LastError | None = None
    snapshot: SnapshotFigures | None = None
    _backlog: Backlog = attrs.field(factory=Backlog, init=False)
    _saved: Position | None = attrs.field(default=None, init=False)
    _current_at: float | None = attrs.field(default=None, init=False)  # nothing was delivered and not saved then

    @property
    def read_lag(self) -> float | None:
        """Seconds between the source's time and the time up to which the stream is read.

        None until known, and 0 while the stream has caught up. It grows with time while the stream does not read.
        """
        return self._backlog.read_lag

    @property
    def delivery_lag(self) -> float | None:
        """Seconds between the source's time and the time up to which everything is durable.

        None until known, 0 while the stream has caught up, and never less than the read lag.
        """
        return self._backlog.delivery_lag

    @property
    def buffered_bytes(self) -> int:
        """Bytes of the events that are read but not delivered: collected, prepared and in flight."""
        return self._backlog.buffered_bytes

    @property
    def checkpoint_age(self) -> float | None:
        """Seconds since the checkpoint was saved, or confirmed on an idle stream; None until one is saved."""
        return None if self._current_at is None else monotonic() - self._current_at

    @classmethod
    def together(cls, streams: Sequence["StreamStatistics"]) -> "StreamStatistics":
        """Return the figures of several streams together: the sums of the counts, and the largest lags.

        Args:
            streams: The figures of the streams.
        """
        total = cls(state="")
        for figures in streams:
            for field in attrs.fields(cls):
                if field.type in (int, float, Counter[str]):
                    setattr(total, field.name, getattr(total, field.name) + getattr(figures, field.name))
        total._backlog = Backlog.together([figures._backlog for figures in streams])
        return total

    def take(self, notice: Notice) -> None:
        """Count what happened to this stream."""
        match notice:
            case WorkerStarting():
                if self.state in ("stopped", "failed"):  # in an earlier run
                    self.last_error = None
                self.state = "starting"
            case WorkerStarted():
                self._turn("running")
                self._backlog.enter(notice.position)
            case ReplyRead():
                self._backlog.read(notice)
            case CaughtUp():
                self.state = "running"
                if notice.end == self._saved:
                    self._current_at = monotonic()
            case BatchRead():
                self._backlog.start_delivery(notice.bytes)
            case BatchWritten():
                self.state = "running"
                self._backlog.deliver(notice.end)
                if notice.found:
                    self.found += notice.events
                else:
                    self.events += notice.events
                    self.bytes += notice.bytes
                    self.batches += 1
                    self.write_seconds += notice.seconds
            case ChunkWritten():
                self._count_chunk(notice)
            case SnapshotPlanned() | SnapshotPaused() | SnapshotDone() | SnapshotEnded():
                self._snapshot(notice.number).take(notice)
            case BatchRealigned():
                self.realigned += 1
                self._backlog.start_delivery(notice.bytes)
            case Retrying():
                self._turn("retrying")
                self.retries += 1
                self._fail(notice.error)
            case Resumed():
                self.resumes += 1
            case Invalidated():
                self.invalidates += 1
            case DuplicatesDropped(events=events):
                self.duplicates += events
            case EventsRejected():
                self.rejected += notice.events
                self.dead_letters += notice.events if notice.action == "dead_letter" else 0
            case SchemaDrifted():
                self.schema_deviations += 1
            case GapRecorded():
                self.gaps += 1
            case CheckpointSaved():
                self.checkpoints += 1
                self._saved, self._current_at = notice.position, monotonic()
            case CheckpointFailed():
                self.checkpoint_failures += 1
                self._fail(notice.error)
            case LeaseAcquired():
                self._turn("starting")
                self.lease_held = True
            case LeaseAwaited():
                self._stand_by()
            case LeaseNotRenewed():
                self._fail(notice.error)
            case LeaseLost():
                self._stand_by()
                self.leases_lost += 1
                self._fail(notice.error)
            case WorkerFailing():
                self._end("failing")
                self._fail(notice.error)
            case WorkerRecovered():
                if self.last_error is not None:
                    self.last_error.recovered = _now()
            case WorkerFailed():
                self._end("failed")
                self._fail(notice.error)
            case WorkerStopped():
                self._end("stopped")
                self._forget_position()
            case _:
                pass

    def _count_chunk(self, notice: ChunkWritten) -> None:
        if notice.found:
            self.snapshot_found += 1
        else:
            self.snapshot_rows += notice.events
            self.snapshot_bytes += notice.bytes
            self.snapshot_chunks += 1
        self._snapshot(notice.number).take(notice)

    def _snapshot(self, number: int) -> SnapshotFigures:
        if self.snapshot is None or self.snapshot.number != number:
            self.snapshot = SnapshotFigures(number)
        return self.snapshot

    def _turn(self, state: State) -> None:
        """Another state, unless the worker is failing: entering again does not mean that it will go well."""
        if self.state != "failing":
            self.state = state

    def _end(self, state: State) -> None:
        """Record that the worker left its stream and released its lease."""
        self.state = state
        self.lease_held = None if self.lease_held is None else False
        self._backlog.leave()

    def _stand_by(self) -> None:
        """Record that another owner has the stream, whose progress is unknown here."""
        self.state, self.lease_held = "standby", False
        self._forget_position()

    def _forget_position(self) -> None:
        self._backlog, self._current_at = Backlog(), None

    def _fail(self, error: BaseException) -> None:
        self.errors[error_id(error)] += 1
        self.last_error = LastError(str(error), _now())


def _now() -> datetime:
    return datetime.now(UTC)


class Statistics(Listener):
    """Listens and counts. `streams` holds the figures by stream name, `total` their sum."""

    def __init__(self) -> None:
        self._streams: dict[Stream, StreamStatistics] = {}
        self._left: dict[str, set[Stream]] = {}  # by pipeline, while its streams start

    @property
    def by_stream(self) -> Mapping[Stream, StreamStatistics]:
        """The figures by stream, as of now: a copy, so that another thread may go through it."""
        return self._streams.copy()

    @property
    def streams(self) -> Mapping[str, StreamStatistics]:
        """The figures by stream name."""
        return {stream.name: figures for stream, figures in self._streams.copy().items()}

    @property
    def total(self) -> StreamStatistics:
        """The figures of all streams together: the sums of the counts, and the largest lags."""
        return StreamStatistics.together(list(self._streams.copy().values()))

    def notify(self, notice: Notice) -> None:
        """See `Listener`. Updates the figures of the notice's stream."""
        self._forget_removed(notice)
        figures = self._streams.get(notice.stream)
        if figures is None:
            figures = self._streams[notice.stream] = StreamStatistics()
        figures.take(notice)

    def _forget_removed(self, notice: Notice) -> None:
        """Drop the ended streams of an earlier run that the next one does not start again.

        A reload hands listeners over, and may have removed streams. Every stream of a run starts before anything else.
        """
        pipeline = notice.stream.pipeline
        if isinstance(notice, WorkerStarting):
            if pipeline not in self._left:
                self._left[pipeline] = {
                    stream
                    for stream, figures in self._streams.items()
                    if stream.pipeline == pipeline and figures.state in ("stopped", "failed")
                }
            self._left[pipeline].discard(notice.stream)
        else:
            for stream in self._left.pop(pipeline, ()):
                del self._streams[stream]
