"""A terminal as a destination: events for reading, of a pipeline that keeps nothing."""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import click

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Delivery, Destination, DestinationMetadata, Listener, Positioner, Source
from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.api.events import ChangeEvent, Checkpoint, Stream, Timestamp
from rigatoni_core.api.notices import Invalidated, Notice, Retrying, WorkerFailing
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.cli.output import warn
from rigatoni_core.cli.state.components import not_watched
from rigatoni_core.cli.times import parse_time
from rigatoni_core.engine.pipeline import Pipeline

if TYPE_CHECKING:
    from rigatoni_core.api.configuration import PipelineConfiguration


async def watch(
    configuration: "PipelineConfiguration",
    streams: Sequence[str],
    *,
    since: str | None,
    limit: int | None,
    redact: bool,
    json_: bool,
) -> None:
    """Show events until Ctrl-C, or until `limit` of them were shown. Raises what stops the last stream."""
    source = configuration.source
    unknown = sorted(set(streams) - set(await source.streams()))
    if unknown:
        raise not_watched(configuration.name, unknown, await source.streams())
    view = View(describe=_Describing(redact).of, json_=json_, limit=limit)
    pipeline = Pipeline(
        name=f"tail of {configuration.name}",
        source=source,
        destination=view,
        state=_Beginning(source=source, time=parse_time("--since", since) if since else None),
        settings=attrs.evolve(configuration.settings, batch_timeout=0.1),
        listeners=[_Troubles()],
        redact=configuration.redaction,
        only=streams,
    )
    view.enough = pipeline.stop
    report = await pipeline.run(handle_signals=True)
    for outcome in report.workers.values():
        if outcome.error is not None:
            raise outcome.error


@attrs.define(kw_only=True)
class View(Destination):
    """Prints one line for each event."""

    describe: Callable[[ChangeEvent], dict[str, Any]]
    json_: bool
    limit: int | None
    enough: Callable[[], None] = attrs.field(default=lambda: None, init=False)
    _shown: int = attrs.field(default=0, init=False)

    delivery: ClassVar[Delivery] = Delivery.AT_LEAST_ONCE

    async def write_batch(self, events: EventBatch) -> None:
        """See `Destination`. Prints the events, up to the limit."""
        for event in events:
            if self.limit is not None and self._shown >= self.limit:
                break
            self._shown += 1
            described = self.describe(event)
            click.echo(json.dumps(described, default=str, ensure_ascii=False) if self.json_ else _line(described))
        if self.limit is not None and self._shown >= self.limit:
            self.enough()

    def metadata(self) -> DestinationMetadata:
        """See `Destination`."""
        return DestinationMetadata("this terminal", self.delivery)


@attrs.define(kw_only=True)
class _Beginning(MemoryStateStore):
    """State that knows only where to begin, once the source has been entered."""

    source: Source
    time: Timestamp | None

    async def load_resume_token(self, stream: Stream) -> Checkpoint | None:
        if self.time is None:
            return await super().load_resume_token(stream)
        if not isinstance(self.source, Positioner):
            raise ConfigurationError("this source can not begin at a time", remedy="Leave --since out.")
        return await super().load_resume_token(stream) or Checkpoint(self.source.position_at(stream, self.time))


class _Troubles(Listener):
    """Says what would otherwise look like silence."""

    def notify(self, notice: Notice) -> None:
        match notice:
            case Retrying() | WorkerFailing():
                warn(f"{notice.stream.name}: {notice.error}")
            case Invalidated():
                warn(f"{notice.stream.name}: {notice.reason}")
            case _:
                pass


@attrs.frozen
class _Describing:
    """Events as tables for reading; with `redact`, the types of values stand for the values."""

    redact: bool

    def of(self, event: ChangeEvent) -> dict[str, Any]:
        """What is there of an event; absent fields are left out."""
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
