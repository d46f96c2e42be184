"""Notices: typed records of a stream's operation. They hold no event data, resume tokens or secrets."""

from typing import Literal

import attrs

from rigatoni_core.api.events import Gap, Namespace, Position, Stream, Timestamp


@attrs.frozen(kw_only=True)
class Notice:
    """Base of all notices about a stream."""

    stream: Stream


@attrs.frozen(kw_only=True)
class WorkerStarting(Notice):
    """The worker is about to run. Every stream publishes this before the first one starts."""


@attrs.frozen(kw_only=True)
class WorkerStarted(Notice):
    """The worker starts from `position`, which it `resumed` or anchored afresh."""

    position: Position
    resumed: bool


@attrs.frozen(kw_only=True)
class StreamsSucceeded(Notice):
    """The scope was changed: the stream continues former streams, and leaves out events that these have delivered.

    `former` contains their names, and `position` is the start of the stream. Without leases (`leased`), an instance
    that still runs with the old configuration must be stopped.
    """

    former: tuple[str, ...]
    position: Position
    leased: bool


@attrs.frozen(kw_only=True)
class ReplyRead(Notice):
    """The source replied with `events` (0: a heartbeat) and is read up to `end`.

    `source_time` is the server's time of the reply. `caught_up`: the source had nothing more. `paused`: the stream
    reads no further until there is room in memory.
    """

    events: int
    bytes: int
    end: Position
    source_time: Timestamp | None
    caught_up: bool
    paused: bool


@attrs.frozen(kw_only=True)
class CaughtUp(Notice):
    """Everything up to `end` is delivered, and the source had nothing more."""

    end: Position


@attrs.frozen(kw_only=True)
class BatchRead(Notice):
    """The worker formed a batch, which it writes next."""

    events: int
    bytes: int


@attrs.frozen(kw_only=True)
class BatchRealigned(Notice):
    """An earlier run had fixed another end for the batch, which was realigned to `events` and `bytes`."""

    events: int
    bytes: int


@attrs.frozen(kw_only=True)
class BatchWritten(Notice):
    """A batch is durable at the destination, up to `end`; the attempt that succeeded took `seconds`.

    With `found`, an earlier run had already written it.
    """

    events: int
    bytes: int
    end: Position
    seconds: float
    found: bool = False


@attrs.frozen(kw_only=True)
class CheckpointSaved(Notice):
    """The checkpoint stands at `position`, `events` since the stream began; saving it took `seconds`."""

    position: Position
    events: int
    seconds: float


@attrs.frozen(kw_only=True)
class CheckpointFailed(Notice):
    """The state store could not be written; the worker continues and retries with the next batch.

    `unsaved` counts the failures in a row; this one came after `seconds`.
    """

    error: Exception
    unsaved: int
    seconds: float


@attrs.frozen(kw_only=True)
class Retrying(Notice):
    """Attempt number `attempt` failed; the next one starts in `delay` seconds."""

    error: BaseException
    attempt: int
    delay: float


@attrs.frozen(kw_only=True)
class Resumed(Notice):
    """The source reads the stream again, without loss, `seconds` after it was interrupted for this `reason`."""

    reason: str
    seconds: float


@attrs.frozen(kw_only=True)
class Invalidated(Notice):
    """The watched collection or database was dropped or renamed; the stream continues."""

    reason: str


@attrs.frozen(kw_only=True)
class RepeatsPossible(Notice):
    """Some events from here on may be delivered twice, for this `reason`."""

    reason: str


@attrs.frozen(kw_only=True)
class PositionTakenByTime(Notice):
    """The source refused the token of the saved position, so its place was found by time: nothing was skipped."""

    position: Position
    reason: str


@attrs.frozen(kw_only=True)
class PositionMoved(Notice):
    """The destination holds another position than the checkpoint, `saved`, and the stream resumes from it, `position`.

    It is later after a crash between the two, or if an old checkpoint was restored; earlier if the destination was
    restored. Nothing is lost or repeated.
    """

    saved: Position
    position: Position


@attrs.frozen(kw_only=True)
class DuplicatesDropped(Notice):
    """The source reported `events` twice, and each was kept once; `reason` explains why."""

    events: int
    reason: str


@attrs.frozen(kw_only=True)
class SnapshotWindowed(Notice):
    """The source reads the `collection` until no document of a chunk changed meanwhile; `reason` explains why.

    A read at the stream's own time is not possible. The rows are as exact, but documents that change are read again.
    """

    collection: Namespace
    reason: str


@attrs.frozen(kw_only=True)
class SerializerChanged(Notice):
    """Files or objects from here on differ from earlier ones; `reason` explains how."""

    reason: str


@attrs.frozen(kw_only=True)
class SchemaDrifted(Notice):
    """Events that deviate from the schema of their collection pass, as the configuration says.

    `deviation` describes what differs and where. Each is published once in the lifetime of a transform.
    """

    deviation: str


@attrs.frozen(kw_only=True)
class GapRecorded(Notice):
    """Changes between two positions are lost; the checkpoint records the gap."""

    gap: Gap


@attrs.frozen(kw_only=True)
class EventsRejected(Notice):
    """`events` of a batch cannot be written; `error` names the first, without its content.

    `action` is what happened: durable as a dead_letter, left out (skip), or the worker stops (stop).
    """

    events: int
    error: Exception
    action: Literal["dead_letter", "skip", "stop"]


@attrs.frozen(kw_only=True)
class LeaseAcquired(Notice):
    """This instance holds the lease of the stream, under a new fencing token."""

    fencing_token: int


@attrs.frozen(kw_only=True)
class LeaseAwaited(Notice):
    """Another owner holds the stream; this worker stands by."""


@attrs.frozen(kw_only=True)
class LeaseRenewed(Notice):
    """The lease is held for another `lease_ttl`."""


@attrs.frozen(kw_only=True)
class LeaseNotRenewed(Notice):
    """The lease could not be renewed; the worker retries, and holds the lease for another `remaining` seconds."""

    error: Exception
    remaining: float


@attrs.frozen(kw_only=True)
class LeaseYielded(Notice):
    """Another instance has fewer streams: the worker finishes its batch, saves, and leaves the stream to it."""


@attrs.frozen(kw_only=True)
class LeaseLost(Notice):
    """The worker stops before its next write and requests the lease again."""

    error: Exception


@attrs.frozen(kw_only=True)
class WorkerFailing(Notice):
    """The worker failed; it enters again in `delay` seconds."""

    error: Exception
    delay: float


@attrs.frozen(kw_only=True)
class WorkerRecovered(Notice):
    """The worker works again, `seconds` after its first failure; `error_id` is the id of the last one."""

    error_id: str
    seconds: float


@attrs.frozen(kw_only=True)
class WorkerFailed(Notice):
    """The worker stopped permanently; the others continue."""

    error: BaseException


@attrs.frozen(kw_only=True)
class WorkerStopped(Notice):
    """The worker ended as asked, at `position`."""

    position: Position | None
