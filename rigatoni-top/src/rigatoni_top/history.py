"""What the running processes said of their streams, look by look: the one source of the screen and of the page."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import attrs
from rigatoni_core.api.errors import NoAnswerError

KEPT = 15 * 60
"""Looks that are kept of each stream: a quarter of an hour at one a second."""

_RATE = 5
"""Looks that a rate is taken over."""

_UNKNOWN = {"state": "silent", "read_lag": None, "delivery_lag": None, "checkpoint_age": None}
"""The figures that are unknown while the process of a stream does not respond."""


class Look(NamedTuple):
    """What one response said: when (monotonic seconds), how much was delivered until then, and both lags in seconds."""

    time: float
    events: int
    bytes: int
    read_lag: float | None
    delivery_lag: float | None


@attrs.define
class StreamHistory:
    """One stream of one process. `figures` is what `rigatoni status --json` reports of it."""

    process: int
    pipeline: str
    figures: Mapping[str, Any]
    looks: deque[Look] = attrs.field(factory=lambda: deque(maxlen=KEPT))

    @property
    def name(self) -> str:
        """Return the name of the stream with its pipeline."""
        return f"{self.pipeline}/{self.figures['name']}"

    def take(self, figures: Mapping[str, Any], now: float) -> None:
        """Append the figures of one look, taken at the time `now` in seconds."""
        self.figures = figures
        self.looks.append(Look(now, figures["events"], figures["bytes"], figures["read_lag"], figures["delivery_lag"]))

    def fall_silent(self) -> None:
        """Note that the process does not respond: counts stay as they were, everything else is unknown."""
        self.figures = {**self.figures, **_UNKNOWN}

    @property
    def events_rate(self) -> float:
        """Events a second, over the last few looks."""
        first, last = self._recent
        return 0.0 if self._silent else _rate(last.events - first.events, last.time - first.time)

    @property
    def bytes_rate(self) -> float:
        """Bytes a second, over the last few looks."""
        first, last = self._recent
        return 0.0 if self._silent else _rate(last.bytes - first.bytes, last.time - first.time)

    @property
    def _silent(self) -> bool:
        return bool(self.figures["state"] == _UNKNOWN["state"])

    @property
    def _recent(self) -> tuple[Look, Look]:
        return self.looks[max(0, len(self.looks) - 1 - _RATE)], self.looks[-1]

    def record(self) -> dict[str, Any]:
        """Return everything as plain JSON values. `history`: seconds ago, events a second, read lag, delivery lag."""
        now = self.looks[-1].time
        history = [
            [
                round(two.time - now, 1),
                round(_rate(two.events - one.events, two.time - one.time), 1),
                two.read_lag,
                two.delivery_lag,
            ]
            for one, two in pairwise(self.looks)
        ]
        return {
            "process": self.process,
            "pipeline": self.pipeline,
            **self.figures,
            "events_rate": round(self.events_rate, 1),
            "bytes_rate": round(self.bytes_rate, 1),
            "history": history,
        }


@attrs.define
class History:
    """All streams of the processes that run here, or of those that run `file` (a resolved path).

    `running` asks the processes, as `Application.running` does.
    """

    running: Callable[[], Iterable[tuple[int, Mapping[str, Any] | NoAnswerError]]]
    file: str | None = None
    streams: dict[tuple[int, str, str], StreamHistory] = attrs.field(factory=dict)
    silent: dict[int, str] = attrs.field(factory=dict)
    """Processes that do not answer, with the reason."""

    def look(self) -> None:
        """Ask every process once. What is gone is forgotten; a process that is silent keeps its last counts."""
        now = time.monotonic()
        there: set[tuple[int, str, str]] = set()
        self.silent = {}
        for process, answer in self.running():
            if isinstance(answer, NoAnswerError):
                self.silent[process] = str(answer)
                for key, stream in self.streams.items():
                    if key[0] == process:
                        there.add(key)
                        stream.fall_silent()
            elif self.file in (None, answer["file"]):
                for pipeline in answer["pipelines"]:
                    for figures in pipeline["streams"]:
                        key = (process, pipeline["name"], figures["name"])
                        there.add(key)
                        if key not in self.streams:
                            self.streams[key] = StreamHistory(process, pipeline["name"], figures)
                        self.streams[key].take(figures, now)
        for key in self.streams.keys() - there:
            del self.streams[key]

    def record(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return {
            "streams": [stream.record() for stream in self.streams.values()],
            "silent": [{"process": process, "reason": reason} for process, reason in self.silent.items()],
        }


def _rate(count: int, seconds: float) -> float:
    return max(0.0, count / seconds) if seconds > 0 else 0.0
