"""A recording application for tests of a plugin's command, without process, file or terminal."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rigatoni_core.api.commands import PIPELINE, Application, EventWriter, ExitCode, PipelineRun
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import Destination
from rigatoni_core.api.errors import ConfigurationError, NoAnswerError, RigatoniError
from rigatoni_core.api.events import Stream
from rigatoni_core.cli.event_writer import RetryingEventWriter
from rigatoni_core.cli.pipeline_run import SingleRun


class RecordingApplication(Application):
    """Passes pipelines to a command, and records its output.

    Example::

        app = RecordingApplication(configuration)
        assert app.call(command, "pipeline.toml", "--json") == ExitCode.DONE
        assert app.values == [...]

    Args:
        configurations: The pipelines of every file that the command reads.
        running: What `running` yields.

    Attributes:
        output: The lines on standard output; each row of a table is one line, with two spaces between its cells.
        values: What was printed as JSON.
        written: The bytes on standard output.
        diagnostics: The lines on standard error, each remedy on a line of its own.
        steps: The steps reported to `progress`, by label.
    """

    def __init__(
        self,
        *configurations: PipelineConfiguration,
        running: Sequence[tuple[int, Mapping[str, Any] | NoAnswerError]] = (),
    ) -> None:
        self._configurations = configurations
        self._running = running
        self._redactions = [each.redaction for each in configurations]
        self.output: list[str] = []
        self.values: list[Any] = []
        self.written = b""
        self.diagnostics: list[str] = []
        self.steps: dict[str, int] = {}

    def call(self, command: click.Command, *arguments: str) -> ExitCode:
        """Call the command.

        Args:
            command: The command.
            arguments: Its arguments, as on a command line.

        Returns:
            The exit code.

        Raises:
            RigatoniError: What the command raises; `rigatoni` prints it and exits with 2 or 3.
            click.UsageError: The arguments are wrong.
        """
        try:
            number = command.main(arguments, prog_name="rigatoni", standalone_mode=False, obj=self)
        except SystemExit as end:
            number = end.code
        return next(code for code in ExitCode if code == (number or 0))

    def echo(self, text: str = "") -> None:
        """See `Application`. Records the line."""
        self.output.append(self.redacted(text))

    def as_json(self, value: Any) -> None:
        """See `Application`. Records the value."""
        self.values.append(value)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """See `Application`. Records the rows."""
        for row in (header, *rows):
            self.echo("  ".join(row))

    def write(self, content: bytes) -> None:
        """See `Application`. Records the bytes."""
        self.written += content

    def echo_err(self, text: str) -> None:
        """See `Application`. Records the line."""
        self.diagnostics.append(self.redacted(text))

    def warn(self, text: str) -> None:
        """See `Application`. Records the warning."""
        self.echo_err(f"warning: {text}")

    def fail(self, error: RigatoniError, where: str = "") -> None:
        """See `Application`. Records the error."""
        self.echo_err(f"error: {where}{error}")
        if error.remedy:
            self.echo_err(f"what to do: {error.remedy}")

    @contextmanager
    def progress(self, label: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """See `Application`. Records the steps."""
        self.steps[label] = 0

        def advance(steps: int) -> None:
            self.steps[label] += steps

        yield advance

    def hide(self, redaction: Callable[[str], str]) -> None:
        """See `Application`."""
        self._redactions.append(redaction)

    def redacted(self, text: str) -> str:
        """See `Application`."""
        for redaction in self._redactions:
            text = redaction(text)
        return text

    def configuration(self, file: Path, overrides: Sequence[str] = ()) -> PipelineConfiguration:
        """See `Application`. Returns the configuration that the test provides."""
        found = self.configurations(file, overrides)
        if len(found) > 1:
            raise ConfigurationError(
                f"{file} describes {len(found)} pipelines", remedy="Choose one with --pipeline NAME."
            )
        return found[0]

    def configurations(self, file: Path, overrides: Sequence[str] = ()) -> Sequence[PipelineConfiguration]:
        """See `Application`. Returns the configurations that the test provides."""
        name = click.get_current_context().meta.get(PIPELINE)
        found = [each for each in self._configurations if name in (None, each.name)]
        if not found:
            raise ConfigurationError(f"{file} describes no pipeline {name or ''}".rstrip())
        return found

    def pipeline_run(self, configuration: PipelineConfiguration, streams: Sequence[str] = ()) -> PipelineRun:
        """Return a run of the pipeline, which no signal ends.

        Args:
            configuration: The pipeline.
            streams: The streams to run; all of them if empty.
        """
        return SingleRun(configuration, streams, handle_signals=False)

    def event_writer(
        self, configuration: PipelineConfiguration, stream: Stream, destination: Destination
    ) -> EventWriter:
        """See `Application`."""
        return RetryingEventWriter.of(configuration, stream, destination)

    def running(self) -> Iterator[tuple[int, Mapping[str, Any] | NoAnswerError]]:
        """See `Application`. Yields what the test provides."""
        return iter(self._running)
