"""A terminal as a destination: events for reading, of a pipeline that keeps nothing."""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.commands import Application
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import (
    Delivery,
    Destination,
    DestinationMetadata,
    Listener,
    Positioner,
    Source,
    StateStore,
)
from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.api.events import ChangeEvent, Checkpoint, Stream, Timestamp
from rigatoni_core.api.notices import EventsRejected, Invalidated, Notice, Retrying, WorkerFailing
from rigatoni_core.api.times import parse_time


async def watch(
    app: Application,
    configuration: PipelineConfiguration,
    streams: Sequence[str],
    *,
    since: str | None,
    limit: int | None,
    redact: bool,
    raw: bool,
    json_: bool,
) -> None:
    """Show events until Ctrl-C, or until `limit` of them were shown. Raises what stops the first stream.

    They are shown after the pipeline's transforms, unless `raw`.
    """
    source = configuration.source
    watched = await source.streams()
    if unknown := sorted(set(streams) - set(watched)):
        raise ConfigurationError(
            f"{configuration.name} does not watch {', '.join(unknown)}",
            remedy=f"Name a stream that it watches: {', '.join(watched)}.",
        )
    view = View(app=app, describe=_Describing(redact).of, json_=json_, limit=limit)
    run = app.pipeline_run(
        attrs.evolve(
            configuration,
            destination=view,
            transforms=() if raw else configuration.transforms,
            dead_letters=None,
            state=_Beginning(source=source, time=parse_time("--since", since) if since else None),
            settings=attrs.evolve(configuration.settings, batch_timeout=0.1, on_rejected="skip", on_mask_error="stop"),
            listeners=(_Troubles(app),),
        ),
        streams,
    )
    view.enough = run.stop
    await run.run()


@attrs.define(kw_only=True)
class View(Destination):
    """Prints one line for each event."""

    app: Application
    describe: Callable[[ChangeEvent], dict[str, Any]]
    json_: bool
    limit: int | None
    enough: Callable[[], None] = attrs.field(default=lambda: None, init=False)
    _shown: int = attrs.field(default=0, init=False)

    delivery: ClassVar[Delivery] = Delivery.AT_LEAST_ONCE

    async def write_batch(self, events: EventBatch) -> None:
        """See `Destination`. Prints the events, up to the limit."""
        for index in range(len(events)):
            if self.limit is not None and self._shown >= self.limit:
                break
            self._shown += 1
            try:
                described = self.describe(events[index])
            except ValueError:  # a transform made another document of it, or it is damaged
                name = str(events.namespace(index) or "?")
                described = {"operation": "not an event", "namespace": name, "hint": "--raw shows the event as read"}
            self.app.echo(json.dumps(described, default=str, ensure_ascii=False) if self.json_ else _line(described))
        if self.limit is not None and self._shown >= self.limit:
            self.enough()

    def metadata(self) -> DestinationMetadata:
        """See `Destination`."""
        return DestinationMetadata("this terminal", self.delivery)


@attrs.define(kw_only=True)
class _Beginning(StateStore):
    """Knows only where to begin, once the source has been entered; what is saved is kept for retries of this run."""

    source: Source
    time: Timestamp | None
    _saved: dict[Stream, Checkpoint] = attrs.field(factory=dict, init=False)

    async def save_resume_token(self, stream: Stream, checkpoint: Checkpoint) -> None:
        self._saved[stream] = checkpoint

    async def load_resume_token(self, stream: Stream) -> Checkpoint | None:
        if self.time is None or stream in self._saved:
            return self._saved.get(stream)
        if not isinstance(self.source, Positioner):
            raise ConfigurationError("this source cannot begin at a time", remedy="Omit --since.")
        return Checkpoint(self.source.position_at(stream, self.time))

    async def clear_resume_token(self, stream: Stream, *, fencing_token: int = 0) -> None:
        self._saved.pop(stream, None)

    async def cleared_under(self, stream: Stream) -> int | None:
        return None


@attrs.frozen
class _Troubles(Listener):
    """Reports what would otherwise look like silence."""

    app: Application

    def notify(self, notice: Notice) -> None:
        match notice:
            case Retrying() | WorkerFailing() | EventsRejected():
                self.app.warn(f"{notice.stream.name}: {notice.error}")
            case Invalidated():
                self.app.warn(f"{notice.stream.name}: {notice.reason}")
            case _:
                pass


@attrs.frozen
class _Describing:
    """Events as tables for reading; with `redact`, the types of values stand for the values."""

    redact: bool

    def of(self, event: ChangeEvent) -> dict[str, Any]:
        """Return the fields of an event by name, without absent ones."""
        time = event.cluster_time
        changed = event.update_description
        table = {
            "time": datetime.fromtimestamp(time.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time else None,
            "operation": str(event.operation),
            "namespace": str(event.namespace) if event.namespace else None,
            "key": self._value(event.document_key),
            "updated": self._value(changed.updated_fields) if changed else None,
            "removed": list(changed.removed_fields) if changed else None,
            "document": self._value(event.full_document),
            "before": self._value(event.full_document_before_change),
        }
        return {name: value for name, value in table.items() if value}

    def _value(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): self._value(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._value(item) for item in value]
        return value if value is None or not self.redact else f"<{type(value).__name__}>"


def _line(described: dict[str, Any]) -> str:
    """One line, cut at the terminal's width."""
    head = [described.pop("time", "?"), f"{described.pop('operation'):<8}", described.pop("namespace", "")]
    rest = [f"{name}={json.dumps(value, default=str, ensure_ascii=False)}" for name, value in described.items()]
    line = "  ".join((*head, *rest))
    width = shutil.get_terminal_size().columns
    return line if len(line) <= width or not sys.stdout.isatty() else f"{line[: width - 1]}…"
