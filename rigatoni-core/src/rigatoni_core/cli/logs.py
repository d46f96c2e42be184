"""Structured log lines on stderr: for people, or as JSON for programs."""

import logging
import re
import sys
import time
import traceback
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

import attrs
import structlog

from rigatoni_core.api.contracts import Listener
from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.events import Gap, Position, Stream, Timestamp
from rigatoni_core.api.notices import (
    BatchRead,
    BatchWritten,
    CaughtUp,
    CheckpointFailed,
    CheckpointSaved,
    DuplicatesDropped,
    EventsRejected,
    GapRecorded,
    Invalidated,
    LeaseLost,
    LeaseNotRenewed,
    LeaseRenewed,
    Notice,
    PositionMoved,
    PositionTakenByTime,
    RepeatsPossible,
    ReplyRead,
    Retrying,
    SchemaDrifted,
    SerializerChanged,
    SnapshotWindowed,
    StreamsSucceeded,
    WorkerFailed,
    WorkerFailing,
    WorkerStarted,
    WorkerStarting,
)
from rigatoni_core.api.snapshot_notices import ChunkWritten, SnapshotEnded, SnapshotPaused
from rigatoni_core.api.words import time_in_words
from rigatoni_core.cli.output import redacted

HEARTBEAT_INTERVAL = 60.0
"""Seconds between two heartbeats of a stream; single batches are logged on level debug."""

_LEVELS: dict[type[Notice], int] = {
    BatchRead: logging.DEBUG,
    BatchWritten: logging.DEBUG,
    CaughtUp: logging.DEBUG,
    CheckpointSaved: logging.DEBUG,
    ChunkWritten: logging.DEBUG,
    LeaseRenewed: logging.DEBUG,
    ReplyRead: logging.DEBUG,
    WorkerStarting: logging.DEBUG,
    StreamsSucceeded: logging.DEBUG,  # as WorkerStarted
    WorkerStarted: logging.DEBUG,  # the startup notice covers it
    CheckpointFailed: logging.WARNING,
    Invalidated: logging.WARNING,
    DuplicatesDropped: logging.INFO,
    SnapshotWindowed: logging.INFO,
    LeaseLost: logging.WARNING,
    LeaseNotRenewed: logging.WARNING,
    PositionMoved: logging.WARNING,
    PositionTakenByTime: logging.WARNING,
    RepeatsPossible: logging.WARNING,
    SchemaDrifted: logging.WARNING,
    SerializerChanged: logging.WARNING,
    SnapshotPaused: logging.WARNING,
    SnapshotEnded: logging.ERROR,
    Retrying: logging.WARNING,
    EventsRejected: logging.ERROR,
    GapRecorded: logging.ERROR,
    WorkerFailing: logging.ERROR,
    WorkerFailed: logging.ERROR,
}


class LogListener(Listener):
    """Logs every notice under its own name, and a heartbeat of each stream that is read, every minute.

    `tracebacks` adds tracebacks of bugs.
    """

    def __init__(self, log: Any, *, tracebacks: bool = True) -> None:
        self._log = log
        self._tracebacks = tracebacks
        self._heartbeats: dict[Stream, _Heartbeat] = {}

    def notify(self, notice: Notice) -> None:
        """See `Listener`. Logs the notice, and counts what was written for the next heartbeat."""
        if isinstance(notice, (BatchWritten, CaughtUp, ReplyRead)):
            self._beat(notice)
        level = _LEVELS.get(type(notice), logging.INFO)
        if not self._log.is_enabled_for(level):
            return
        fields: dict[str, Any] = {}
        for field in attrs.fields(type(notice)):
            fields |= _shown(field.name, getattr(notice, field.name))
        if not self._tracebacks:
            fields.pop("exception", None)
        event = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(notice).__name__).lower()
        self._log.log(level, event, **fields)

    def _beat(self, notice: Notice) -> None:
        """Count a written batch, and log the heartbeat if it is due: a stream that hangs has none."""
        now = time.monotonic()
        heartbeat = self._heartbeats.setdefault(notice.stream, _Heartbeat(now))
        if isinstance(notice, BatchWritten) and not notice.found:
            heartbeat.count(notice, now)
        if now - heartbeat.since < HEARTBEAT_INTERVAL:
            return
        self._heartbeats[notice.stream] = _Heartbeat(now)
        self._log.info(
            "heartbeat",
            stream=str(notice.stream),
            batches=heartbeat.batches,
            events=heartbeat.events,
            bytes=heartbeat.bytes,
            events_per_second=round(heartbeat.events / max(heartbeat.until - heartbeat.first, 0.001)),
        )


@attrs.define
class _Heartbeat:
    """What was written to a stream since its last heartbeat. All times are monotonic."""

    since: float
    first: float = 0.0  # the start of the first batch
    until: float = 0.0  # the end of the last one
    batches: int = 0
    events: int = 0
    bytes: int = 0

    def count(self, batch: BatchWritten, now: float) -> None:
        """Add a batch that was written until now; idle time before the first one is not in the rate."""
        self.first = self.first or now - batch.seconds
        self.until = now
        self.batches += 1
        self.events += batch.events
        self.bytes += batch.bytes


class _Foreign(logging.Handler):
    """Return the log configuration of other libraries."""

    def __init__(self, log: Any) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"exception": logging.Formatter().formatException(record.exc_info)} if record.exc_info else {}
        self._log.log(record.levelno, record.getMessage(), kind="library", logger=record.name, **fields)


def make_log(level: str, *, human: bool, instance: str = "") -> Any:
    """Return a structlog logger on stderr, which also gets other libraries' warnings. It hides known secrets.

    A sentence for people is logged with its `kind`. In JSON, the kind is the constant `event`, and the sentence is the
    field `message`. Every line names the instance, if there are several.
    """
    fields: dict[str, Any] = {"instance": instance} if instance else {}
    log = structlog.wrap_logger(
        _Stderr(),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(
                (_for_people, structlog.dev.ConsoleRenderer(colors=False, sort_keys=False))
                if human
                else (_for_programs, structlog.processors.JSONRenderer(default=_as_text, ensure_ascii=False))
            ),
            _redact,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        **fields,
    )
    logging.captureWarnings(True)
    logging.getLogger().addHandler(_Foreign(log))
    return log


class _Stderr:
    """Writes lines to the current stderr: a live display replaces it."""

    def msg(self, line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    debug = info = warning = error = critical = exception = log = msg


def _redact(_: Any, __: str, line: str | bytes | MutableMapping[str, Any]) -> str:
    return redacted(str(line))


def _for_people(_: Any, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Show times in words."""
    fields.pop("kind", None)
    return {name: time_in_words(value) if isinstance(value, Timestamp) else value for name, value in fields.items()}


def _for_programs(_: Any, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Make `event` a constant: a sentence becomes the field `message`."""
    if kind := fields.pop("kind", None):
        fields["event"], fields["message"] = kind, fields["event"]
    return fields


def _as_text(value: object) -> str:
    """Return a value that JSON has no type for: times in ISO 8601."""
    if isinstance(value, Timestamp):
        return datetime.fromtimestamp(value.seconds, UTC).isoformat(timespec="seconds")
    return str(value)


def _shown(name: str, value: Any) -> dict[str, Any]:
    """Return the log fields of a notice's field; positions as times only, errors with their remedy, units in names."""
    if isinstance(value, BaseException):
        fields = {name: f"{type(value).__name__}: {value}"}
        if isinstance(value, RigatoniError):
            return fields | {"error_id": value.id} | ({"remedy": value.remedy} if value.remedy else {})
        return fields | {"exception": "".join(traceback.format_exception(value))}
    if isinstance(value, Position):
        return {name: value.cluster_time}
    if isinstance(value, Gap):
        after = value.lost.cluster_time if value.lost else "an unknown position"
        collection = {"collection": str(value.namespace)} if value.namespace else {}
        return {**collection, "cause": value.cause, "after": after, "before": value.resumed.cluster_time}
    if isinstance(value, Stream):
        return {name: str(value)}
    if isinstance(value, float):
        return {name if name == "seconds" else f"{name}_seconds": round(value, 3)}
    return {} if value is None else {name: value}
