"""Commands of plugins: a distribution may add a subcommand of `rigatoni`.

A command is a click command that an entry point names::

    # pyproject.toml
    [project.entry-points."rigatoni.commands"]
    streams = "rigatoni_acme.command:streams"

    # rigatoni_acme/command.py
    import asyncio
    from pathlib import Path

    import click
    from rigatoni_core.api.commands import Application, pass_application, takes_file

    @click.command()
    @takes_file
    @pass_application
    def streams(app: Application, file: Path, overrides: tuple[str, ...]) -> None:
        \"\"\"Lists the streams of the pipeline in FILE.\"\"\"
        configuration = app.configuration(file, overrides)
        for name in asyncio.run(configuration.source.streams()):
            app.echo(name)

The command's module imports nothing heavier than click and this module, since `rigatoni --help` imports it; the command
imports everything else when it is called. It prints only through the `Application`, so that no secret of a
configuration reaches a terminal or a log. It returns an `ExitCode` (None: done) or raises a
`RigatoniError`, which is printed with its remedy: 2 for errors of configuration and plugins, 3 for all others.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from rigatoni_core.api.errors import NoAnswerError, RigatoniError
from rigatoni_core.api.exit_codes import ExitCode

if TYPE_CHECKING:
    from rigatoni_core.api.configuration import PipelineConfiguration
    from rigatoni_core.api.contracts import Destination
    from rigatoni_core.api.events import Position, Stream

__all__ = ["PIPELINE", "Application", "EventWriter", "ExitCode", "PipelineRun", "pass_application", "takes_file"]

PIPELINE = "rigatoni_core.pipeline"
"""The key of click's `Context.meta` under which `takes_file` stores the value of `--pipeline`."""

Function = TypeVar("Function", bound=Callable[..., Any])


class EventWriter(Protocol):
    """Writes single events to one stream, each as a batch of its own that is named by the event's position.

    On a destination that creates objects only if absent, a repeated write changes nothing.
    """

    async def write(self, position: "Position", raw: bytes, protected_by: "Sequence[str]" = ()) -> None:
        """Make one event durable. Transient errors are retried as often as the pipeline does.

        Args:
            position: The event's own position.
            raw: Its raw document.
            protected_by: The fingerprints of the transforms that keep data from leaving and were applied to it. They
                are not applied again.

        Raises:
            RejectedEventsError: The event cannot be written by any number of attempts.
            RigatoniError: Any other error of the destination; a transient one after the last retry.
        """


class PipelineRun(Protocol):
    """A pipeline that the command runs itself, such as one that writes to the terminal; run it once."""

    def stop(self) -> None:
        """Ask for a graceful end; a second call ends at once. Call it from the event loop."""

    async def run(self) -> None:
        """Run until Ctrl-C or SIGTERM, until `stop` is called, or until every stream has stopped by itself.

        Raises:
            RigatoniError: What stopped the first stream that could not continue.
        """


class Application(ABC):
    """Prints a command's output and reads its pipelines. `pass_application` passes it to the command.

    Results go to standard output, everything else to standard error. Neither ever shows a secret of a configuration
    that was read by this object.
    """

    @abstractmethod
    def echo(self, text: str = "") -> None:
        """Print a line of the result on standard output.

        Args:
            text: The line, without its end.
        """

    @abstractmethod
    def as_json(self, value: Any) -> None:
        """Print plain JSON values on standard output, indented: the whole result of a command with `--json`.

        Args:
            value: Mappings, sequences, texts, numbers, booleans and None.
        """

    @abstractmethod
    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print columns on standard output, each as wide as its widest cell.

        Args:
            header: The names of the columns.
            rows: As many cells each. On a terminal the last column is folded into what is left of the width.
        """

    @abstractmethod
    def write(self, content: bytes) -> None:
        """Write bytes to standard output as they are: the whole result of a command that exports data.

        Args:
            content: The bytes.
        """

    @abstractmethod
    def echo_err(self, text: str) -> None:
        """Print a line for the user on standard error.

        Args:
            text: The line, without its end.
        """

    @abstractmethod
    def warn(self, text: str) -> None:
        """Print a warning on standard error.

        Args:
            text: The warning, without a prefix.
        """

    @abstractmethod
    def fail(self, error: RigatoniError, where: str = "") -> None:
        """Print an error and its remedy on standard error; the command continues.

        Args:
            error: What happened. To end the command with it, raise it instead.
            where: A prefix that names the place, such as "stream shop.orders: ".
        """

    @abstractmethod
    def progress(self, label: str, total: int | None = None) -> AbstractContextManager[Callable[[int], None]]:
        """Show the progress of long work on standard error, if that is a terminal.

        Print nothing until the work is done: lines would mix with the bar. Work that prints a line for each step needs
        no progress.

        Args:
            label: What is done, such as `Reading dead letters`.
            total: How many steps there are; None if that is unknown.

        Returns:
            A context manager, which gives a function that takes the number of steps done since its last call.
        """

    @abstractmethod
    def hide(self, redaction: Callable[[str], str]) -> None:
        """Apply this redaction to all output and logs from now on.

        `configuration` and `configurations` do this for the secrets of the file.

        Args:
            redaction: Returns a text without the secrets.
        """

    @abstractmethod
    def redacted(self, text: str) -> str:
        """Return the text without any known secret, for output that does not go through this object, such as a page.

        Args:
            text: Any text.
        """

    @abstractmethod
    def configuration(self, file: Path, overrides: Sequence[str] = ()) -> "PipelineConfiguration":
        """Read the one pipeline that a file describes, or that `--pipeline` names.

        Args:
            file: A TOML file, or a folder of such files.
            overrides: Each `KEY=VALUE`, as `takes_file` gives them.

        Returns:
            The pipeline, with its components created but not entered.

        Raises:
            ConfigurationError: The file has errors, or describes several pipelines and `--pipeline` names none, or its
                table `[plugins]` denies the distribution of this command.
        """

    @abstractmethod
    def configurations(self, file: Path, overrides: Sequence[str] = ()) -> "Sequence[PipelineConfiguration]":
        """Read all pipelines of a file or folder, or the one that `--pipeline` names.

        Args:
            file: A TOML file, or a folder of such files.
            overrides: Each `KEY=VALUE`, as `takes_file` passes them.

        Returns:
            The pipelines, with their components created but not entered.

        Raises:
            ConfigurationError: The file has errors, or its table `[plugins]` denies the distribution of this command.
        """

    @abstractmethod
    def pipeline_run(self, configuration: "PipelineConfiguration", streams: Sequence[str] = ()) -> PipelineRun:
        """Return a run of a pipeline in this process.

        Args:
            configuration: A pipeline from a file, or one with other components (`attrs.evolve`).
            streams: The streams to run; all of them if empty.
        """

    @abstractmethod
    def event_writer(
        self, configuration: "PipelineConfiguration", stream: "Stream", destination: "Destination"
    ) -> EventWriter:
        """Return a writer of single events with the decoder, the retries and the time limits of a pipeline.

        Args:
            configuration: The pipeline that the events belong to.
            stream: The stream that they are written to: a side of their own stream, such as `replayed`. Never a stream
                that the pipeline itself writes, which has passed their place.
            destination: Where they are written: a component of `configuration` that has been entered. Events for the
                destination of the pipeline pass through its transforms.
        """

    @abstractmethod
    def running(self) -> Iterator[tuple[int, Mapping[str, Any] | NoAnswerError]]:
        """Ask each `rigatoni run` process of this user on this machine for its status.

        Yields:
            The number of the process, and what `rigatoni status --json` shows of it, or why it does not respond.

        Raises:
            ConfigurationError: The folder of the sockets cannot be used.
        """


pass_application = click.make_pass_decorator(Application)  # type: ignore[type-abstract]  # it makes none
"""Decorates a command: it is called with the `Application` as its first argument."""


def takes_file(function: Function) -> Function:
    """Decorate a command that reads a pipeline as the commands of core do.

    Adds the argument FILE (`file: Path`), the option `--set KEY=VALUE` (`overrides: tuple[str, ...]`) and the option
    `--pipeline NAME`, which `Application.configuration` and `configurations` obey.

    Args:
        function: The function of the command, below `click.command`.

    Returns:
        The function with the argument and the options.
    """
    overriding = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Replaces a value of the file, such as destination.path=lake; may be given several times.",
    )
    choosing = click.option(
        "--pipeline",
        metavar="NAME",
        help="Select one of the pipelines in FILE.",
        expose_value=False,
        callback=lambda context, _, name: context.meta.update({PIPELINE: name}),
    )
    return click.argument("file", type=click.Path(path_type=Path))(overriding(choosing(function)))
