"""Spans with the SDK's in-memory exporter, of the real loop under a virtual clock."""

import asyncio

import attrs
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from rigatoni_core.api.errors import DestinationError, LeaseLostError, RejectedEventsError, StateStoreError, Transient
from rigatoni_core.api.events import Stream
from rigatoni_core.api.settings import RetrySettings, Settings
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_otel.listener import OtelListener
from rigatoni_testing.batches import event_document
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import (
    HANG,
    Bucket,
    BucketDestination,
    FlakyStateStore,
    Log,
    RecordingDestination,
    ScriptedSource,
)

SENTINEL = "s3nt1nel-sw0rdf1sh"
STREAM = Stream("p", "shop.orders")


class DownError(DestinationError, Transient):
    id = "down"


class FullError(StateStoreError, Transient):
    id = "full"


class Traced:
    """A provider that keeps what was exported."""

    def __init__(self):
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("client")

    @property
    def spans(self):
        return self._exporter.get_finished_spans()

    def named(self, name):
        return [span for span in self.spans if span.name == name]

    def below(self, parent):
        """The names of the spans right below a span, in the order in which they ended."""
        return [span.name for span in self.spans if span.parent and span.parent.span_id == parent.context.span_id]


@pytest.fixture
def traced():
    return Traced()


def log_of(count):
    log = Log()
    log.grow(count)
    return log


def run(traced, log, *, destination=None, state=None, once=True, stop_after=None, **settings):
    """The report of a run over one stream, on a virtual clock."""
    pipeline = Pipeline(
        name="p",
        source=ScriptedSource(logs={"shop.orders": log}, start=0),
        destination=destination or RecordingDestination(),
        state=state or FlakyStateStore(),
        settings=Settings(retry=RetrySettings(max_retries=1), on_failure="restart", **settings),
        listeners=[OtelListener(tracer_provider=traced.provider, metrics=False)],
    )

    async def main():
        if stop_after is not None:
            asyncio.get_running_loop().call_later(stop_after, pipeline.stop)
        report = await pipeline.run(once=once)
        assert not trace.get_current_span().get_span_context().is_valid
        return report

    return run_virtual(main())


def test_a_batch_is_a_trace_with_the_write_and_the_checkpoint_inside(traced):
    log = log_of(45)
    assert run(traced, log, batch_size=20).ok
    batches = traced.named("process shop.orders")
    assert [batch.attributes["messaging.batch.message_count"] for batch in batches] == [20, 20, 5]
    assert len({batch.context.trace_id for batch in batches}) == 3
    for batch in batches:
        assert batch.parent is None
        assert batch.kind == SpanKind.CONSUMER
        assert batch.status.status_code == StatusCode.UNSET
        assert traced.below(batch) == ["write shop.orders", "checkpoint shop.orders"]
    assert dict(batches[2].attributes) == {
        "messaging.system": "rigatoni",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "shop.orders",
        "messaging.batch.message_count": 5,
        "rigatoni.pipeline": "p",
        "rigatoni.stream": "shop.orders",
        "rigatoni.batch.bytes": sum(map(len, log.raws[40:])),
        "rigatoni.batch.found": False,
    }
    assert {span.instrumentation_scope.name for span in traced.spans} == {"rigatoni"}


def test_the_span_of_a_batch_that_an_earlier_run_had_written_says_so(traced):
    class Found(RecordingDestination):
        def already_written_count(self, stream):
            return len(self.batches)

    assert run(traced, log_of(3), destination=Found()).ok
    (batch,) = traced.named("process shop.orders")
    assert batch.attributes["rigatoni.batch.found"] is True


def test_an_idle_stream_makes_no_spans(traced):
    assert run(traced, Log(), once=False, stop_after=100.0).ok
    assert traced.spans == ()


def test_retries_are_events_of_the_batch_that_goes_well_in_the_end(traced):
    assert run(traced, log_of(3), destination=RecordingDestination(before=[DownError("no")])).ok
    (batch,) = traced.named("process shop.orders")
    (event,) = batch.events
    assert (event.name, dict(event.attributes)) == ("rigatoni.retry", {"rigatoni.attempt": 1, "error.type": "down"})
    assert batch.status.status_code == StatusCode.UNSET


def test_a_batch_that_is_not_delivered_has_the_error_and_comes_again_in_another_span(traced):
    assert run(traced, log_of(3), destination=RecordingDestination(before=[DownError("no"), DownError("no")])).ok
    failed, delivered = traced.named("process shop.orders")
    assert failed.status.status_code == StatusCode.ERROR
    assert failed.status.description is None
    assert failed.attributes["error.type"] == "down"
    assert traced.named("write shop.orders")[0].status.status_code == StatusCode.ERROR
    assert traced.below(failed) == ["write shop.orders"]
    assert delivered.status.status_code == StatusCode.UNSET


def test_a_checkpoint_that_fails_is_the_checkpoints_error_not_the_batches(traced):
    state = FlakyStateStore(save_faults=[None, FullError("no")])  # the anchor is saved
    assert run(traced, log_of(3), state=state).ok
    (batch,) = traced.named("process shop.orders")
    (checkpoint,) = traced.named("checkpoint shop.orders")
    assert (checkpoint.status.status_code, checkpoint.attributes["error.type"]) == (StatusCode.ERROR, "full")
    assert batch.status.status_code == StatusCode.UNSET


def test_a_slow_checkpoint_is_a_long_span(traced):
    class Slow(FlakyStateStore):
        async def save_resume_token(self, stream, checkpoint):
            await asyncio.sleep(7)
            await FlakyStateStore.save_resume_token(self, stream, checkpoint)

    assert run(traced, log_of(3), state=Slow()).ok
    (checkpoint,) = traced.named("checkpoint shop.orders")
    assert checkpoint.end_time - checkpoint.start_time == pytest.approx(7e9, rel=0.001)


def test_a_realignment_is_an_event_and_the_span_says_what_was_delivered(traced):
    bucket, log, state = Bucket(), log_of(10), FlakyStateStore()
    assert run(Traced(), log, destination=BucketDestination(bucket=bucket), state=state, batch_size=4).ok
    old = FlakyStateStore()
    asyncio.run(old.save_resume_token(STREAM, attrs.evolve(state.saves[0], fencing_token=0)))
    assert run(traced, log, destination=BucketDestination(bucket=bucket), state=old, batch_size=10).ok
    first = traced.named("process shop.orders")[0]
    assert [(event.name, dict(event.attributes)) for event in first.events] == [
        ("rigatoni.realigned", {"messaging.batch.message_count": 4})
    ]
    assert first.attributes["messaging.batch.message_count"] == 4


def test_rejected_events_are_an_event(traced):
    rejected = RejectedEventsError({1: ValueError(SENTINEL)})
    assert not run(traced, log_of(3), destination=RecordingDestination(before=[rejected])).ok
    (batch,) = traced.named("process shop.orders")
    assert [(event.name, dict(event.attributes)) for event in batch.events] == [
        ("rigatoni.rejected", {"messaging.batch.message_count": 1})
    ]
    assert batch.attributes["error.type"] == "rejected-events"


def test_what_clients_do_meanwhile_is_below_the_write_and_the_batch(traced):
    class Store(FlakyStateStore):
        async def save_resume_token(self, stream, checkpoint):
            with traced.tracer.start_as_current_span(f"SET {checkpoint.events}"):
                await FlakyStateStore.save_resume_token(self, stream, checkpoint)

    class Destination(RecordingDestination):
        async def write_batch(self, events):
            with traced.tracer.start_as_current_span("PutObject"):
                return await RecordingDestination.write_batch(self, events)

    destination = Destination(before=[DownError("no")])
    assert run(traced, log_of(3), destination=destination, state=Store()).ok
    (batch,) = traced.named("process shop.orders")
    (write,) = traced.named("write shop.orders")
    assert traced.below(write) == ["PutObject", "PutObject"]
    assert traced.below(batch) == ["write shop.orders", "SET 3", "checkpoint shop.orders"]
    assert traced.named("SET 0")[0].parent is None  # the anchor belongs to no batch


def test_a_batch_that_is_taken_up_without_its_lease_ends_with_that_error(traced):
    class Store(FlakyStateStore):
        async def renew(self, lease, *, ttl):
            raise LeaseLostError("another owner")

    destination = RecordingDestination(seconds=15.0)  # longer than it takes to notice
    report = run(traced, log_of(2), destination=destination, state=Store(), once=False, stop_after=100.0, batch_size=1)
    assert report.ok
    first, refused, second = traced.named("process shop.orders")
    assert refused.attributes["error.type"] == "lease-lost"
    assert first.status.status_code == second.status.status_code == StatusCode.UNSET
    assert len(traced.named("write shop.orders")) == 3


@pytest.mark.parametrize("hangs", ["the write", "the checkpoint"])
def test_a_batch_that_is_cut_off_at_the_end_is_not_forgotten(traced, hangs):
    destination = RecordingDestination(before=[HANG] if hangs == "the write" else [])
    state = FlakyStateStore(save_faults=[None, HANG] if hangs == "the checkpoint" else [])
    parts = {"destination": destination, "state": state}
    report = run(traced, log_of(3), **parts, once=False, stop_after=20.0, shutdown_timeout=1.0)
    assert report.abandoned
    (batch,) = traced.named("process shop.orders")
    assert (batch.status.status_code, batch.attributes["error.type"]) == (StatusCode.ERROR, "shutdown")
    (write,) = traced.named("write shop.orders")
    assert (write.status.status_code == StatusCode.ERROR) == (hangs == "the write")


def test_K3_no_span_holds_a_secret_a_document_or_a_resume_token(traced):
    log = Log()
    log.append(event_document(0, _id={"_data": SENTINEL}, fullDocument={"password": SENTINEL}))
    faults = [DownError(SENTINEL, remedy=SENTINEL), DownError(SENTINEL), RuntimeError(SENTINEL)]
    report = run(traced, log, destination=RecordingDestination(before=faults))
    assert SENTINEL in str(report.workers["shop.orders"].error)
    assert traced.named("process shop.orders")[-1].attributes["error.type"] == "bug"
    for span in traced.spans:
        assert SENTINEL not in span.to_json()
