"""What is measured: each metric defined once, whatever system it is exported to.

Names are dotted, without a prefix, and units are UCUM codes (`s`, `By`) or nouns in braces, as OpenTelemetry's
semantic conventions write them ("Metrics semantic conventions: Instrument naming, Instrument units"). An exporter
spells them its own way. Attributes are the pipeline's and the stream's names and at most one more, whose values are
few: metrics hold no texts of errors, no resume tokens and nothing out of documents.
"""

from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import Any, Literal, get_args

import attrs

from rigatoni_core.api.notices import BatchWritten, CheckpointSaved, Notice
from rigatoni_core.observe.statistics import State, StreamStatistics


@attrs.frozen(kw_only=True)
class Figure:
    """A number that `StreamStatistics` holds at any time; a counter only grows while the pipeline runs.

    `read` gives the value, None where it is absent, or where `attribute` is set the value for each of its values.
    """

    name: str
    kind: Literal["counter", "gauge"]
    meaning: str
    unit: str = ""
    attribute: str = ""
    read: Callable[[StreamStatistics], float | Mapping[str, float] | None]

    def samples(self, figures: StreamStatistics) -> Iterator[tuple[Mapping[str, str], float]]:
        """The values now, each with its attribute if the figure has one."""
        value = self.read(figures)
        if isinstance(value, Mapping):
            yield from (({self.attribute: key}, number) for key, number in list(value.items()))
        elif value is not None:
            yield {}, value


@attrs.frozen(kw_only=True)
class Distribution:
    """A number that each notice of one type brings along; what matters is how the numbers are spread.

    `buckets` holds the upper bounds that a histogram counts by. `read` returns None for a notice that does not count.
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
    """Read a batch that was written now."""
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
    _counter("bytes", "Bytes of delivered events, as the source sent them", unit="By"),
    _counter("batches", "Batches delivered", unit="{batch}"),
    _counter("found.events", "Events that an earlier run had written already", unit="{event}", field="found"),
    _counter("realigned.batches", "Batches realigned to an earlier run's end", unit="{batch}", field="realigned"),
    _counter("retries", "Attempts that failed and were made again", unit="{attempt}"),
    _counter("errors", "Failures by the error's id, overcome or not", unit="{error}", attribute="error.type"),
    _counter("resumes", "Streams opened again by the source itself, without loss", unit="{resume}"),
    _counter("invalidates", "Watched collections or databases that were dropped or renamed", unit="{invalidate}"),
    _counter(
        "duplicates.dropped",
        "Events that the source reported twice and the pipeline delivers once",
        unit="{event}",
        field="duplicates",
    ),
    _counter("rejected.events", "Events found impossible to write as they are", unit="{event}", field="rejected"),
    _counter("dead_letters", "Rejected events that are durable as dead letters", unit="{event}"),
    _counter("gaps", "Losses on record: changes that could not be delivered any more", unit="{gap}"),
    _counter("checkpoints", "Checkpoints saved", unit="{checkpoint}"),
    _counter(
        "checkpoint.failures", "Checkpoints that could not be saved", unit="{failure}", field="checkpoint_failures"
    ),
    _counter("leases.lost", "Leases lost to another owner or run out", unit="{lease}", field="leases_lost"),
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
        "1 while this instance holds the stream's lease; absent where there are none",
        attrgetter("lease_held"),
    ),
    _gauge(
        "worker.state",
        "1 for the state that the worker is in, 0 for the others",
        lambda figures: {state: float(state == figures.state) for state in get_args(State)},
        attribute="state",
    ),
)
"""Everything that can be read at any time."""

DISTRIBUTIONS = (
    Distribution(
        name="batch.write.duration",
        meaning="Seconds that the successful attempt to write a batch took",
        unit="s",
        buckets=_SECONDS,
        notice=BatchWritten,
        read=_written("seconds"),
    ),
    Distribution(
        name="batch.size",
        meaning="Events of a delivered batch",
        unit="{event}",
        buckets=_EVENTS,
        notice=BatchWritten,
        read=_written("events"),
    ),
    Distribution(
        name="batch.bytes",
        meaning="Bytes of a delivered batch, as the source sent them",
        unit="By",
        buckets=_BYTES,
        notice=BatchWritten,
        read=_written("bytes"),
    ),
    Distribution(
        name="checkpoint.save.duration",
        meaning="Seconds that saving a checkpoint took",
        unit="s",
        buckets=_SECONDS,
        notice=CheckpointSaved,
        read=attrgetter("seconds"),
    ),
)
"""Everything that is observed once per notice."""
