"""A span for each batch, with child spans for the write and the checkpoint, created from the worker's notices.

The spans are current in the worker's context, so the spans of instrumented clients (S3, Redis, MongoDB) become their
children.
"""

import asyncio
import time
from contextvars import Token

import attrs
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, TracerProvider, set_span_in_context
from rigatoni_core.api.events import Stream
from rigatoni_core.api.notices import (
    BatchRead,
    BatchRealigned,
    BatchWritten,
    CheckpointFailed,
    CheckpointSaved,
    EventsRejected,
    LeaseLost,
    Notice,
    Retrying,
    WorkerFailed,
    WorkerFailing,
    WorkerStopped,
)

from rigatoni_otel.attributes import MESSAGING, SCOPE, VERSION, of_error, of_stream


@attrs.define
class _OpenBatch:
    """A batch in flight: its span, the span of the write until it ends, and the context tokens of both."""

    task: "asyncio.Task[object] | None"
    span: Span
    write: Span | None
    tokens: list[Token[Context]]


class BatchSpans:
    """Starts and ends the spans of all streams of a pipeline."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer: Tracer = provider.get_tracer(SCOPE, VERSION)
        self._open: dict[Stream, _OpenBatch] = {}

    def record(self, notice: Notice) -> None:
        """Apply the notice to the batch in flight of its stream."""
        if isinstance(notice, BatchRead):
            if notice.events:
                self._begin(notice)
            return
        batch = self._open.get(notice.stream)
        if batch is None or batch.task is not asyncio.current_task():
            return  # no batch in flight, or another task's notice: the worker publishes its own about the outcome
        match notice:
            case Retrying():
                batch.span.add_event("rigatoni.retry", {"rigatoni.attempt": notice.attempt, **of_error(notice.error)})
            case BatchRealigned():
                batch.span.add_event("rigatoni.realigned", {"messaging.batch.message_count": notice.events})
            case EventsRejected():
                batch.span.add_event("rigatoni.rejected", {"messaging.batch.message_count": notice.events})
            case BatchWritten():
                batch.span.set_attribute("messaging.batch.message_count", notice.events)
                batch.span.set_attribute("rigatoni.batch.bytes", notice.bytes)
                batch.span.set_attribute("rigatoni.batch.found", notice.found)
                self._end_write(batch)
            case CheckpointSaved() if batch.write is None:
                self._checkpoint(notice.stream, notice.seconds)
                self._end(notice.stream)
            case CheckpointFailed() if batch.write is None:
                self._checkpoint(notice.stream, notice.seconds, notice.error)
                self._end(notice.stream)
            case WorkerFailing() | WorkerFailed() | LeaseLost():
                self._end(notice.stream, of_error(notice.error))
            case WorkerStopped():
                self._end(notice.stream, {"error.type": "shutdown"})

    def close(self) -> None:
        """End the spans of interrupted batches."""
        for stream in list(self._open):
            self._end(stream, {"error.type": "shutdown"})

    def _begin(self, notice: BatchRead) -> None:
        stream = notice.stream
        self._end(stream)
        span = self._tracer.start_span(
            f"process {stream.name}",
            context=Context(),  # each batch starts a trace
            kind=SpanKind.CONSUMER,
            attributes={
                **MESSAGING,
                **of_stream(stream),
                "messaging.destination.name": stream.name,
                "messaging.batch.message_count": notice.events,
                "rigatoni.batch.bytes": notice.bytes,
            },
        )
        inside = set_span_in_context(span)
        write = self._tracer.start_span(f"write {stream.name}", context=inside, attributes=of_stream(stream))
        tokens = [attach(inside), attach(set_span_in_context(write, inside))]
        self._open[stream] = _OpenBatch(asyncio.current_task(), span, write, tokens)

    def _checkpoint(self, stream: Stream, seconds: float, error: Exception | None = None) -> None:
        """Record the span of a save that has just ended. Only spans use the wall clock."""
        now = time.time_ns()
        span = self._tracer.start_span(
            f"checkpoint {stream.name}",
            context=set_span_in_context(self._open[stream].span),
            attributes=of_stream(stream),
            start_time=now - int(seconds * 1e9),
        )
        if error is not None:
            _fail(span, of_error(error))
        span.end(now)

    def _end_write(self, batch: _OpenBatch, error: dict[str, str] | None = None) -> None:
        if batch.write is not None:
            if error:
                _fail(batch.write, error)
            batch.write.end()
            batch.write = None
            self._detach(batch)

    def _end(self, stream: Stream, error: dict[str, str] | None = None) -> None:
        batch = self._open.pop(stream, None)
        if batch is None:
            return
        self._end_write(batch, error)
        if error:
            _fail(batch.span, error)
        batch.span.end()
        self._detach(batch)

    def _detach(self, batch: _OpenBatch) -> None:
        """Make the parent span current again. Only the worker's own task can, because contexts belong to tasks."""
        token = batch.tokens.pop()
        if batch.task is asyncio.current_task():
            detach(token)


def _fail(span: Span, error: dict[str, str]) -> None:
    span.set_attributes(error)
    span.set_status(StatusCode.ERROR)
