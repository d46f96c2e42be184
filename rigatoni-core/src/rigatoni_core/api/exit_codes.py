"""The exit codes of the command `rigatoni`: stable, for scripts and supervisors."""

import enum
from collections.abc import Iterable
from typing import Self


class ExitCode(enum.IntEnum):
    """A number with its meaning."""

    meaning: str

    def __new__(cls, number: int, meaning: str) -> Self:
        """Make a code that knows its meaning."""
        code = int.__new__(cls, number)
        code._value_ = number
        code.meaning = meaning
        return code

    DONE = 0, "done, also after a graceful Ctrl-C or SIGTERM"
    WORKER_FAILED = 1, "a worker failed permanently, the others did their work"
    WRONG = 2, "wrong usage, configuration or installation"
    CANNOT_START = 3, "a component cannot start: connection, credentials, permissions, state"
    ABANDONED = 4, "work was abandoned at the shutdown limit or by a second signal; no data is lost"
    RETRIES_USED_UP = 5, "a worker used up its retries; the cause may pass: run it again"
    TIMED_OUT = 6, "--timeout was over before every stream had caught up; run it again to resume"
    DIFFERENT = 7, "`verify` found differences between source and destination"
    BUG = 70, "a bug: please report it with its traceback"
    INTERRUPTED = 130, "interrupted by Ctrl-C, where nothing was running"


_SEVERITY = (
    ExitCode.DONE,
    ExitCode.TIMED_OUT,
    ExitCode.RETRIES_USED_UP,
    ExitCode.WORKER_FAILED,
    ExitCode.CANNOT_START,
    ExitCode.ABANDONED,
    ExitCode.BUG,
)


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the code to exit with if all of these apply. Causes that need a person come first.

    Args:
        codes: Any number of codes.
    """
    return max(codes, key=_SEVERITY.index, default=ExitCode.DONE)
