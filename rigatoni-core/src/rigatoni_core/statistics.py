"""What operators see: counts, rates and lag per stream and in total, gathered from notices."""

from collections.abc import Mapping

import attrs

from rigatoni_core.contracts import Listener
from rigatoni_core.events import Stream
from rigatoni_core.notices import (
    BatchRead,
    BatchRecut,
    BatchWritten,
    CheckpointFailed,
    CheckpointSaved,
    EventsRejected,
    GapRecorded,
    Invalidated,
    LeaseAwaited,
    LeaseLost,
    Notice,
    Resumed,
    Retrying,
    WorkerFailed,
    WorkerFailing,
    WorkerStarted,
    WorkerStopped,
)


@attrs.define
class StreamStatistics:
    """The figures of one stream since the pipeline started, or of all streams together.

    `state` is one of: starting, running, standby, retrying, failing, failed, stopped. `lag` is in seconds: absent
    until known, 0 when the stream has caught up.
    """

    state: str = "starting"
    events: int = 0
    bytes: int = 0
    batches: int = 0
    recut: int = 0
    retries: int = 0
    errors: int = 0
    resumes: int = 0
    invalidates: int = 0
    rejected: int = 0
    gaps: int = 0
    checkpoints: int = 0
    checkpoint_failures: int = 0
    write_seconds: float = 0.0
    lag: float | None = None
    last_error: str = ""


class Statistics(Listener):
    """Listens and counts. `streams` holds the figures by stream name, `total` their sum."""

    def __init__(self) -> None:
        self._streams: dict[str, StreamStatistics] = {}

    @property
    def streams(self) -> Mapping[str, StreamStatistics]:
        return self._streams

    def of(self, stream: Stream) -> StreamStatistics:
        """The figures of one stream."""
        return self._streams.setdefault(stream.name, StreamStatistics())

    @property
    def total(self) -> StreamStatistics:
        """All streams together: counts added up, the greatest lag."""
        total = StreamStatistics(state="")
        for figures in self._streams.values():
            for field in attrs.fields(StreamStatistics):
                if field.type in (int, float):
                    setattr(total, field.name, getattr(total, field.name) + getattr(figures, field.name))
        lags = [figures.lag for figures in self._streams.values() if figures.lag is not None]
        total.lag = max(lags, default=None)
        return total

    def notify(self, notice: Notice) -> None:
        figures = self.of(notice.stream)
        match notice:
            case WorkerStarted():
                figures.state = "running"
            case BatchRead():
                if notice.caught_up:
                    figures.lag = 0.0
                elif notice.source_time and notice.cluster_time:
                    figures.lag = max(0.0, float(notice.source_time.seconds - notice.cluster_time.seconds))
            case BatchWritten():
                figures.state = "running"
                figures.events += notice.events
                figures.bytes += notice.bytes
                figures.batches += 1
                figures.write_seconds += notice.seconds
            case BatchRecut():
                figures.recut += 1
            case Retrying():
                figures.state = "retrying"
                figures.retries += 1
                figures.last_error = str(notice.error)
            case Resumed():
                figures.resumes += 1
            case Invalidated():
                figures.invalidates += 1
            case EventsRejected():
                figures.rejected += notice.events
            case GapRecorded():
                figures.gaps += 1
            case CheckpointSaved():
                figures.checkpoints += 1
            case CheckpointFailed():
                figures.checkpoint_failures += 1
                figures.last_error = str(notice.error)
            case LeaseAwaited() | LeaseLost():
                figures.state = "standby"
            case WorkerFailing():
                figures.state = "failing"
                figures.errors += 1
                figures.last_error = str(notice.error)
            case WorkerFailed():
                figures.state = "failed"
                figures.errors += 1
                figures.last_error = str(notice.error)
            case WorkerStopped():
                figures.state = "stopped"
            case _:
                pass
