"""The application passed to plugins' commands: it prints like core's own commands."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rigatoni_core.api.commands import Application, EventWriter, PipelineRun
from rigatoni_core.api.errors import NoAnswerError, RigatoniError
from rigatoni_core.cli import files, output

if TYPE_CHECKING:
    from rigatoni_core.api.configuration import PipelineConfiguration
    from rigatoni_core.api.contracts import Destination
    from rigatoni_core.api.events import Stream


class Terminal(Application):
    """Prints to standard output and standard error, and reads the files that the command's arguments name."""

    def echo(self, text: str = "") -> None:
        """See `Application`."""
        output.say(text)

    def as_json(self, value: Any) -> None:
        """See `Application`."""
        output.as_json(value)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """See `Application`."""
        output.table(header, rows)

    def write(self, content: bytes) -> None:
        """See `Application`."""
        output.write(content)

    def echo_err(self, text: str) -> None:
        """See `Application`."""
        output.complain(text)

    def warn(self, text: str) -> None:
        """See `Application`."""
        output.warn(text)

    def fail(self, error: RigatoniError, where: str = "") -> None:
        """See `Application`."""
        output.fail(error, where)

    def hide(self, redaction: Callable[[str], str]) -> None:
        """See `Application`."""
        output.hide(redaction)

    def redacted(self, text: str) -> str:
        """See `Application`."""
        return output.redacted(text)

    @contextmanager
    def progress(self, label: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """See `Application`."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        console = Console(stderr=True)
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
            task = shown.add_task(output.redacted(label), total=total)
            yield lambda steps: shown.advance(task, steps)

    def configuration(self, file: Path, overrides: Sequence[str] = ()) -> "PipelineConfiguration":
        """See `Application`."""
        return files.configuration_of(file, overrides)

    def configurations(self, file: Path, overrides: Sequence[str] = ()) -> "Sequence[PipelineConfiguration]":
        """See `Application`."""
        return files.configurations_of(file, overrides)

    def pipeline_run(self, configuration: "PipelineConfiguration", streams: Sequence[str] = ()) -> PipelineRun:
        """See `Application`."""
        from rigatoni_core.cli.pipeline_run import SingleRun

        return SingleRun(configuration, streams, handle_signals=True)

    def event_writer(
        self, configuration: "PipelineConfiguration", stream: "Stream", destination: "Destination"
    ) -> EventWriter:
        """See `Application`."""
        from rigatoni_core.cli.event_writer import RetryingEventWriter

        return RetryingEventWriter.of(configuration, stream, destination)

    def running(self) -> Iterator[tuple[int, Mapping[str, Any] | NoAnswerError]]:
        """See `Application`."""
        from rigatoni_core.cli.sockets import running

        return running()
