"""Notices as structured log lines: for people on a terminal, JSON otherwise."""

import logging
import sys
from typing import Any

import attrs
import structlog

from rigatoni_core.contracts import Listener
from rigatoni_core.events import Gap, Position, Stream, Timestamp, token_hash
from rigatoni_core.notices import (
    BatchRead,
    BatchWritten,
    CheckpointFailed,
    CheckpointSaved,
    GapRecorded,
    LeaseLost,
    Notice,
    RepeatsPossible,
    Retrying,
    WorkerFailed,
    WorkerFailing,
)

_LEVELS: dict[type[Notice], int] = {
    BatchRead: logging.DEBUG,
    BatchWritten: logging.INFO,
    CheckpointSaved: logging.DEBUG,
    CheckpointFailed: logging.WARNING,
    GapRecorded: logging.ERROR,
    LeaseLost: logging.WARNING,
    RepeatsPossible: logging.WARNING,
    Retrying: logging.WARNING,
    WorkerFailing: logging.ERROR,
    WorkerFailed: logging.ERROR,
}


class LogListener(Listener):
    """Logs every notice under its own name; positions only by time and token hash."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def notify(self, notice: Notice) -> None:
        fields = {
            field.name: value
            for field in attrs.fields(type(notice))
            if (value := _shown(getattr(notice, field.name))) is not None
        }
        self._log.log(_LEVELS.get(type(notice), logging.INFO), type(notice).__name__, **fields)


def make_log(level: str, format_: str) -> Any:
    """A structlog logger on stderr. `format_` is human, json or auto (human on a terminal)."""
    human = format_ == "human" or (format_ == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if human else structlog.processors.JSONRenderer()
    )
    return structlog.wrap_logger(
        structlog.WriteLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
    )


def _shown(value: Any) -> Any:
    if isinstance(value, Stream):
        return str(value)
    if isinstance(value, Timestamp):
        return str(value)
    if isinstance(value, Position):
        return f"{value.cluster_time or 'start'}#{token_hash(value.resume_token)}"
    if isinstance(value, Gap):
        return value.cause
    if isinstance(value, BaseException):
        remedy = getattr(value, "remedy", "")
        return f"{type(value).__name__}: {value}" + (f" What to do: {remedy}" if remedy else "")
    return value
