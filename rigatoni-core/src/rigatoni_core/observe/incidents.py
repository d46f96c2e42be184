"""Incidents: from a stream's first failure until everything that failed works again."""

import asyncio
from typing import Literal

import attrs

from rigatoni_core.api.bus import publish
from rigatoni_core.api.contracts import Listener
from rigatoni_core.api.errors import error_id
from rigatoni_core.api.events import Stream
from rigatoni_core.api.notices import (
    BatchWritten,
    CaughtUp,
    CheckpointFailed,
    CheckpointSaved,
    LeaseAcquired,
    LeaseAwaited,
    LeaseLost,
    LeaseNotRenewed,
    LeaseRenewed,
    Notice,
    Retrying,
    WorkerFailed,
    WorkerFailing,
    WorkerRecovered,
    WorkerStopped,
)

Area = Literal["delivery", "checkpoint", "lease"]


@attrs.define
class _Incident:
    began: float  # on the event loop's clock
    error_id: str  # of the latest failure
    broken: set[Area] = attrs.field(factory=set)


class Incidents(Listener):
    """Publishes `WorkerRecovered` once everything that had failed in a stream works again.

    It publishes while it is notified, so it must be the last listener: the others receive the cause first.
    """

    def __init__(self) -> None:
        self._open: dict[Stream, _Incident] = {}

    def notify(self, notice: Notice) -> None:
        """See `Listener`."""
        match notice:
            case Retrying() | WorkerFailing() | LeaseLost():
                self._fail(notice.stream, "delivery", notice.error)
            case CheckpointFailed():
                self._fail(notice.stream, "checkpoint", notice.error)
            case LeaseNotRenewed():
                self._fail(notice.stream, "lease", notice.error)
            case BatchWritten() | CaughtUp():
                self._succeed(notice.stream, "delivery")
            case CheckpointSaved():
                self._succeed(notice.stream, "checkpoint")
            case LeaseRenewed() | LeaseAcquired():
                self._succeed(notice.stream, "lease")
            case LeaseAwaited():
                self._succeed(notice.stream, "delivery", "checkpoint", "lease")  # a standby works, too
            case WorkerFailed() | WorkerStopped():
                self._open.pop(notice.stream, None)
            case _:
                pass

    def _fail(self, stream: Stream, part: Area, error: BaseException) -> None:
        incident = self._open.setdefault(stream, _Incident(_now(), error_id(error)))
        incident.error_id = error_id(error)
        incident.broken.add(part)

    def _succeed(self, stream: Stream, *parts: Area) -> None:
        incident = self._open.get(stream)
        if incident is None:
            return
        incident.broken.difference_update(parts)
        if not incident.broken:
            del self._open[stream]
            publish(WorkerRecovered(stream=stream, error_id=incident.error_id, seconds=_now() - incident.began))


def _now() -> float:
    return asyncio.get_running_loop().time()
