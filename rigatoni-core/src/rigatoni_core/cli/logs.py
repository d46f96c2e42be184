"""Structured log lines on stderr: for people, or as JSON for programs."""

import logging
import re
import sys
import time
import traceback
from collections.abc import MutableMapping
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

SUMMARY_INTERVAL = 10.0
"""Seconds between two summaries of a stream that is busy; single batches are logged on level debug."""

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
    """Logs every notice under its own name, and a summary of written batches at most every ten seconds.

    `tracebacks` adds tracebacks of bugs.
    """

    def __init__(self, log: Any, *, tracebacks: bool = True) -> None:
        self._log = log
        self._tracebacks = tracebacks
        self._summaries: dict[Stream, _Summary] = {}

    def notify(self, notice: Notice) -> None:
        """See `Listener`. Logs the notice, or counts it for the next summary."""
        if isinstance(notice, BatchWritten) and not notice.found:
            self._count(notice)
        elif isinstance(notice, CaughtUp):
            self._summarize(notice.stream)
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

    def _count(self, notice: BatchWritten) -> None:
        now = time.monotonic()
        summary = self._summaries.setdefault(notice.stream, _Summary(now - notice.seconds))
        summary.batches += 1
        summary.events += notice.events
        summary.bytes += notice.bytes
        summary.until = now
        self._summarize(notice.stream)

    def _summarize(self, stream: Stream) -> None:
        """Log the batches since the last summary if that was long ago, so that idle time does not count."""
        summary = self._summaries.get(stream)
        if summary is None or time.monotonic() - summary.since < SUMMARY_INTERVAL:
            return
        del self._summaries[stream]
        self._log.info(
            "batches written",
            stream=str(stream),
            batches=summary.batches,
            events=summary.events,
            bytes=summary.bytes,
            events_per_second=round(summary.events / max(summary.until - summary.since, 0.001)),
        )


@attrs.define
class _Summary:
    """The summary of consecutive batches of a stream."""

    since: float  # monotonic
    until: float = 0.0
    batches: int = 0
    events: int = 0
    bytes: int = 0


class _Foreign(logging.Handler):
    """Return the log configuration of other libraries."""

    def __init__(self, log: Any) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"exception": logging.Formatter().formatException(record.exc_info)} if record.exc_info else {}
        self._log.log(record.levelno, record.getMessage(), logger=record.name, **fields)


def make_log(level: str, *, human: bool) -> Any:
    """Return a structlog logger on stderr, which also gets other libraries' warnings. It hides known secrets."""
    log = structlog.wrap_logger(
        _Stderr(),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=False, sort_keys=False)
            if human
            else structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
            _redact,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
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


def _shown(name: str, value: Any) -> dict[str, Any]:
    """Return the log fields of a notice's field; positions as times only, errors with their remedy."""
    if isinstance(value, BaseException):
        fields = {name: f"{type(value).__name__}: {value}"}
        if isinstance(value, RigatoniError):
            return fields | {"error_id": value.id} | ({"remedy": value.remedy} if value.remedy else {})
        return fields | {"exception": "".join(traceback.format_exception(value))}
    if isinstance(value, Position):
        return {name: time_in_words(value.cluster_time)}
    if isinstance(value, Gap):
        after = time_in_words(value.lost.cluster_time) if value.lost else "an unknown position"
        collection = {"collection": str(value.namespace)} if value.namespace else {}
        return {**collection, "cause": value.cause, "after": after, "before": time_in_words(value.resumed.cluster_time)}
    if isinstance(value, (Stream, Timestamp)):
        return {name: str(value)}
    if isinstance(value, float):
        return {name: round(value, 3)}
    return {} if value is None else {name: value}
