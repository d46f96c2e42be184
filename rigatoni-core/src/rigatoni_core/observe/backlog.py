"""The backlog of a stream: unread and undelivered events. The only definition of both lags."""

from collections.abc import Sequence
from time import monotonic

import attrs

from rigatoni_core.api.events import Position, Timestamp
from rigatoni_core.api.notices import ReplyRead


@attrs.define
class Backlog:
    """The distance between the source's time, what is read, and what is durable.

    The source's time is the latest that any reply carried plus the seconds since then: an idle MongoDB deployment
    reports one time for 10 s (`periodicNoopIntervalSecs`). Time spent waiting for the source is not read lag: it
    responds as soon as it has an event.
    """

    _source_time: float | None = None  # at the last reply
    _replied_at: float = 0.0  # monotonic
    _read_until: float | None = None
    _durable_until: float | None = None
    _undelivered: int = 0  # bytes
    _in_flight: int = 0  # bytes of the batch that is being written, a part of `_undelivered`
    _waits: bool = False  # for the source

    @property
    def read_lag(self) -> float | None:
        """Seconds between the source's time and the time up to which the stream is read; None until known."""
        return self._behind(self._read_until, grows=not self._waits)

    @property
    def delivery_lag(self) -> float | None:
        """Seconds between the source's time and the time up to which everything is durable; None until known."""
        return self._behind(self._durable_until, grows=True) if self._undelivered else self.read_lag

    @property
    def buffered_bytes(self) -> int:
        """Bytes of the events that are read but not delivered: buffered, prefetched and in flight."""
        return self._undelivered

    def enter(self, position: Position) -> None:
        """Note that reading begins at a position: everything before it is durable."""
        self._read_until = self._durable_until = _seconds(position.cluster_time)
        self._drop_events()

    def read(self, reply: ReplyRead) -> None:
        """Note what the source replied."""
        if not self._undelivered:
            self._durable_until = self._read_until
        self._undelivered += reply.bytes
        self._source_time = self._time_at(reply.source_time or reply.end.cluster_time)
        self._read_until = self._source_time if reply.caught_up else _seconds(reply.end.cluster_time)
        self._replied_at, self._waits = monotonic(), not reply.paused

    def start_delivery(self, nbytes: int) -> None:
        """Record the size of the batch in flight."""
        self._in_flight = nbytes

    def deliver(self, end: Position) -> None:
        """Note that the batch is durable, and with it everything before `end`."""
        self._undelivered = max(0, self._undelivered - self._in_flight)
        self._in_flight = 0
        self._durable_until = _seconds(end.cluster_time)

    def leave(self) -> None:
        """Note that reading ended, to resume at what is durable: events in memory are dropped."""
        if self._undelivered:
            self._read_until = self._durable_until
        self._drop_events()

    def _time_at(self, reported: Timestamp | None) -> float | None:
        """Return the source's time now: the reported time plus the time elapsed since."""
        seconds = _seconds(reported)
        if self._source_time is None or seconds is None:
            return seconds
        return max(seconds, self._source_time + monotonic() - self._replied_at)

    def _drop_events(self) -> None:
        self._undelivered = self._in_flight = 0
        self._waits = False

    def _behind(self, until: float | None, *, grows: bool) -> float | None:
        if until is None or self._source_time is None:
            return None
        return max(0.0, self._source_time - until + (monotonic() - self._replied_at if grows else 0.0))

    @classmethod
    def together(cls, backlogs: Sequence["Backlog"]) -> "Backlog":
        """Return the present backlog of several streams: the largest lags, and the bytes of all."""
        read = [each.read_lag for each in backlogs if each.read_lag is not None]
        delivery = [each.delivery_lag for each in backlogs if each.delivery_lag is not None]
        return cls(
            source_time=0.0,
            replied_at=monotonic(),
            read_until=-max(read) if read else None,
            durable_until=-max(delivery) if delivery else None,
            undelivered=sum(each.buffered_bytes for each in backlogs),
            waits=True,
        )


def _seconds(time: Timestamp | None) -> float | None:
    """Return the time in seconds; None for the time 0, which means unknown."""
    return float(time.seconds) if time and time.seconds else None
