"""The definition of every metric, independent of the system that it is exported to.

Names are dotted, without a prefix, and units are UCUM codes (`s`, `By`) or nouns in braces, as OpenTelemetry's semantic
conventions require ("Metrics semantic conventions: Instrument naming, Instrument units"). Exporters convert them to
their own conventions. Attributes are the names of pipeline and stream, and at most one more with few values. Metrics
contain no error texts, no resume tokens and no document data.
"""

from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import Any, Literal, get_args

import attrs

from rigatoni_core.api.notices import BatchWritten, CheckpointSaved, Notice
from rigatoni_core.observe.statistics import State, StreamStatistics


@attrs.frozen(kw_only=True)
class Figure:
    """A number that `StreamStatistics` provides at any time. A counter never decreases while the pipeline runs.

    `read` returns the value, or None if it is absent. With an `attribute`, it returns a number for each attribute
    value.
    """

    name: str
    kind: Literal["counter", "gauge"]
    meaning: str
    unit: str = ""
    attribute: str = ""
    read: Callable[[StreamStatistics], float | Mapping[str, float] | None]

    def samples(self, figures: StreamStatistics) -> Iterator[tuple[Mapping[str, str], float]]:
        """Yield the present values, each with its attribute if the figure has one.

        Args:
            figures: The statistics of a stream.
        """
        value = self.read(figures)
        if isinstance(value, Mapping):
            yield from (({self.attribute: key}, number) for key, number in list(value.items()))
        elif value is not None:
            yield {}, value


@attrs.frozen(kw_only=True)
class Distribution:
    """A number in each notice of one type, for a histogram.

    `buckets` contains the upper bounds of the histogram's buckets. `read` returns None for a notice to ignore.
    """

    name: str
    meaning: str
    unit: str = ""
    buckets: tuple[float, ...]
    notice: type[Notice]
    read: Callable[[Any], float | None]


_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_EVENTS = (1.0, 10.0, 100.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0, 25_000.0, 100_000.0)
_BYTES = tuple(float(2**power) for power in range(10, 28, 2))


def _written(name: str) -> Callable[[BatchWritten], float | None]:
    """Return a reader of notices that ignores batches which an earlier run had written."""
    return lambda notice: None if notice.found else getattr(notice, name)


def _counter(name: str, meaning: str, *, unit: str = "", field: str = "", attribute: str = "") -> Figure:
    read = attrgetter(field or name)
    return Figure(name=name, kind="counter", meaning=meaning, unit=unit, attribute=attribute, read=read)


def _gauge(
    name: str,
    meaning: str,
    read: Callable[[StreamStatistics], float | Mapping[str, float] | None],
    *,
    unit: str = "",
    attribute: str = "",
) -> Figure:
    return Figure(name=name, kind="gauge", meaning=meaning, unit=unit, attribute=attribute, read=read)


FIGURES = (
    _counter("events", "Events delivered", unit="{event}"),
    _counter("bytes", "Size of delivered events, as the source sent them", unit="By"),
    _counter("batches", "Batches delivered", unit="{batch}"),
    _counter("found.events", "Events that an earlier run had written", unit="{event}", field="found"),
    _counter(
        "realigned.batches", "Batches realigned to the end that an earlier run fixed", unit="{batch}", field="realigned"
    ),
    _counter("retries", "Failed attempts that were retried", unit="{attempt}"),
    _counter(
        "errors",
        "Failures by the error's id, including those that were recovered from",
        unit="{error}",
        attribute="error.type",
    ),
    _counter("resumes", "Streams that the source reopened without loss", unit="{resume}"),
    _counter("invalidates", "Watched collections and databases that were dropped or renamed", unit="{invalidate}"),
    _counter(
        "duplicates.dropped",
        "Events that the source reported twice and the pipeline delivers once",
        unit="{event}",
        field="duplicates",
    ),
    _counter("rejected.events", "Events that cannot be written", unit="{event}", field="rejected"),
    _counter("dead_letters", "Rejected events that were stored as dead letters", unit="{event}"),
    _counter(
        "schema.deviations",
        "Places of documents where a deviation from the schema was passed on",
        unit="{place}",
        field="schema_deviations",
    ),
    _counter("gaps", "Recorded losses: changes that could no longer be delivered", unit="{gap}"),
    _counter("checkpoints", "Checkpoints saved", unit="{checkpoint}"),
    _counter(
        "checkpoint.failures", "Checkpoints that could not be saved", unit="{failure}", field="checkpoint_failures"
    ),
    _counter("leases.lost", "Leases that expired or were lost to another owner", unit="{lease}", field="leases_lost"),
    _counter("snapshot.rows", "Rows of snapshots delivered", unit="{row}", field="snapshot_rows"),
    _counter("snapshot.bytes", "Bytes of delivered rows, as the source sent them", unit="By", field="snapshot_bytes"),
    _counter("snapshot.chunks", "Chunks of snapshots delivered", unit="{chunk}", field="snapshot_chunks"),
    _counter(
        "snapshot.found.chunks",
        "Chunks that an earlier run or another instance had written already",
        unit="{chunk}",
        field="snapshot_found",
    ),
    _gauge(
        "snapshot.fraction",
        "What is delivered of the stream's newest snapshot, from 0 to 1; absent until known",
        lambda figures: figures.snapshot.fraction if figures.snapshot else None,
    ),
    _gauge(
        "snapshot.time_left",
        "Seconds that the rest of the snapshot takes at the rate of the last minutes; absent until known",
        lambda figures: figures.snapshot.seconds_left if figures.snapshot else None,
        unit="s",
    ),
    _gauge(
        "snapshot.paused",
        "1 while the stream's snapshot reads nothing, 0 while it reads; absent without one",
        lambda figures: float(figures.snapshot.state == "paused") if figures.snapshot else None,
    ),
    _gauge(
        "read.lag",
        "Seconds between the source's time and the time up to which the stream is read; absent until known",
        attrgetter("read_lag"),
        unit="s",
    ),
    _gauge(
        "delivery.lag",
        "Seconds between the source's time and the time up to which everything is durable; absent until known",
        attrgetter("delivery_lag"),
        unit="s",
    ),
    _gauge(
        "checkpoint.age",
        "Seconds since the checkpoint was saved, or found up to date on an idle stream; absent until one is saved",
        attrgetter("checkpoint_age"),
        unit="s",
    ),
    _gauge(
        "buffered",
        "Bytes of events that are read and not delivered: gathered, prepared ahead and in flight",
        attrgetter("buffered_bytes"),
        unit="By",
    ),
    _gauge(
        "lease.held",
        "1 while this instance holds the stream's lease, else 0; absent without leases",
        attrgetter("lease_held"),
    ),
    _gauge(
        "worker.state",
        "1 for the state that the worker is in, 0 for the others",
        lambda figures: {state: float(state == figures.state) for state in get_args(State)},
        attribute="state",
    ),
)
"""All metrics that can be read at any time."""

DISTRIBUTIONS = (
    Distribution(
        name="batch.write.duration",
        meaning="Duration of the successful attempt to write a batch",
        unit="s",
        buckets=_SECONDS,
        notice=BatchWritten,
        read=_written("seconds"),
    ),
    Distribution(
        name="batch.size",
        meaning="Events in a delivered batch",
        unit="{event}",
        buckets=_EVENTS,
        notice=BatchWritten,
        read=_written("events"),
    ),
    Distribution(
        name="batch.bytes",
        meaning="Size of a delivered batch, as the source sent it",
        unit="By",
        buckets=_BYTES,
        notice=BatchWritten,
        read=_written("bytes"),
    ),
    Distribution(
        name="checkpoint.save.duration",
        meaning="Duration of saving a checkpoint",
        unit="s",
        buckets=_SECONDS,
        notice=CheckpointSaved,
        read=attrgetter("seconds"),
    ),
)
"""All metrics that are observed once per notice."""
