"""How far the snapshot of a stream is: what is durable of how much, and how long the rest may take."""

from collections import deque
from collections.abc import Mapping
from time import monotonic
from typing import Any, Literal

import attrs

from rigatoni_core.api.notices import Notice
from rigatoni_core.api.snapshot_notices import (
    ChunkWritten,
    SnapshotDone,
    SnapshotEnded,
    SnapshotPaused,
    SnapshotPlanned,
)
from rigatoni_core.api.words import duration

WINDOW = 300.0
"""Seconds over which the rate is averaged that the remaining time is estimated by."""


@attrs.define
class SnapshotFigures:
    """The progress of one stream's newest snapshot in this process."""

    number: int
    state: Literal["reading", "paused", "done", "ended"] = "reading"
    reason: str = ""
    ranges: int = 0
    complete_ranges: int = 0
    rows: int = 0
    bytes: int = 0
    expected_bytes: int = 0
    _written: deque[tuple[float, int]] = attrs.field(factory=deque, init=False)

    @property
    def fraction(self) -> float | None:
        """What is done of all, from 0 to 1; None while its size is unknown."""
        if self.state == "done":
            return 1.0
        if not self.expected_bytes:
            return None
        return min(self.bytes / self.expected_bytes, 0.99)

    @property
    def seconds_left(self) -> float | None:
        """The time that the rest takes at the rate of the last minutes; None while it is unknown."""
        if self.state != "reading" or not self.expected_bytes or len(self._written) < 2:
            return None
        (since, first), (until, last) = self._written[0], self._written[-1]
        if last <= first:
            return None
        return max(0.0, (self.expected_bytes - self.bytes) * (until - since) / (last - first))

    def take(self, notice: Notice) -> None:
        """Count what happened to this snapshot."""
        match notice:
            case SnapshotPlanned():
                self.ranges, self.expected_bytes = notice.ranges, notice.bytes
            case ChunkWritten():
                self.state, self.reason = "reading", ""
                self.rows, self.bytes = notice.total_rows, notice.total_bytes
                self.complete_ranges = notice.complete_ranges
                self._written.append((monotonic(), self.bytes))
                while self._written[-1][0] - self._written[0][0] > WINDOW:
                    self._written.popleft()
            case SnapshotPaused():
                self.state, self.reason = "paused", notice.reason
            case SnapshotDone():
                self.state, self.reason, self.rows = "done", "", notice.rows
                self.complete_ranges = self.ranges
            case SnapshotEnded():
                self.state, self.reason = "ended", notice.reason
            case _:
                pass

    def plain(self) -> Mapping[str, Any]:
        """Return the figures as plain JSON values."""
        public = attrs.asdict(self, filter=lambda field, _: not field.name.startswith("_"))
        return {**public, "fraction": self.fraction, "seconds_left": self.seconds_left}


def snapshot_in_words(record: Mapping[str, Any]) -> str:
    """Return the figures, as plain JSON values, in a phrase."""
    rows = f"snapshot #{record['number']}: {record['rows']:,} rows"
    if record["state"] in ("done", "ended"):
        return f"{rows}, {record['state']}{': ' + record['reason'] if record['reason'] else ''}"
    parts = [rows]
    if record["fraction"] is not None:
        parts.append(f"{record['fraction']:.0%}")
    if record["ranges"]:
        parts.append(f"{record['complete_ranges']} of {record['ranges']} ranges")
    if record["seconds_left"] is not None:
        parts.append(f"about {duration(record['seconds_left'])} left")
    if record["state"] == "paused":
        parts.append(f"paused: {record['reason']}")
    return ", ".join(parts)
