"""The questions of `rigatoni init`, repeated until the file is valid."""

import asyncio
import shlex
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rigatoni_core.api.commands import Application
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import ConfigLinter, Source
from rigatoni_core.api.errors import ConfigurationError, RigatoniError
from rigatoni_core.api.snapshots import Snapshotter
from rigatoni_core.config import CONTRACTS, Fault, InvalidConfigurationError, KeyPath, installed_plugins, structure

from rigatoni_ops.file_writer import Missing, Writer

COMPONENTS: dict[str, KeyPath] = {
    "source": ("source",),
    "destination": ("destination",),
    "serializer": ("destination", "serializer"),
    "state": ("state",),
}
"""The options that select a component, and its key path."""

SOURCE_TIMEOUT = 10.0
"""Seconds for the source to check that the given names exist."""


def has_terminal() -> bool:
    """Return whether the session is interactive."""
    return sys.stdin.isatty() and sys.stderr.isatty()


class Interview:
    """The values of a file so far; wrong ones are requested again, the others stay.

    `types` maps a key path to its component, `values` holds the options that are given.
    """

    def __init__(self, app: Application) -> None:
        self._app = app
        self._catalog = installed_plugins()
        self.types: dict[KeyPath, str] = {}
        self.values: dict[KeyPath, Any] = {}
        self._asked: dict[KeyPath, Missing] = {}
        self._answers: dict[KeyPath, str] = {}

    def text_for(self, file: Path) -> tuple[str, list[str]]:
        """Return the file's text and the steps left before it runs.

        Raises:
            ConfigurationError: Something is missing or wrong, and the session is not interactive.
        """
        writer = Writer(self._catalog, self.types, self.values)
        while True:
            while missing := writer.missing():
                if not has_terminal():
                    raise self._incomplete(missing)
                self._ask(missing[0])
            self._ask_for_snapshot()
            text = writer.text(str(file))
            try:
                configuration = structure(tomllib.loads(text), self._catalog)
            except InvalidConfigurationError as error:
                unset = [fault for fault in error.details if fault.message.startswith("the environment variable ")]
                wrong = [fault for fault in error.details if fault not in unset]
                if not wrong:
                    return text, [f"export {fault.message.split()[3]}=…    # {fault.key}" for fault in unset]
                if not self._ask_again(wrong):
                    self._repeat(file)
                    raise
            else:
                if self._is_kept(configuration):
                    return text, []

    def _ask(self, missing: Missing) -> None:
        """Ask for one value and store it; the previous value is the suggestion."""
        self._app.echo_err(f"\n{missing.meaning}" if missing.meaning else "")
        path, before = missing.path, self._answers.get(missing.path)
        self._asked[path] = missing
        if choices := missing.choices(self._catalog):
            suggestion = before or (choices[0] if len(choices) == 1 else None)
            answer = click.prompt(missing.key, type=click.Choice(choices), default=suggestion, err=True)
            self.types[path] = answer
        else:
            usual = Path.cwd().name if path == ("name",) else str(path[0]) if missing.is_path else None
            answer = click.prompt(missing.key, default=before or usual, err=True)
            self.values[path] = missing.read(answer)
        self._answers[path] = answer

    def _ask_for_snapshot(self) -> None:
        """Ask once, if anything was asked at all, whether a new stream begins with what exists."""
        path = ("snapshot", "mode")
        source = self.types.get(("source",))
        if not self._asked or path in self.values or source is None:
            return
        if issubclass(self._catalog.get(CONTRACTS[Source], source), Snapshotter):
            meaning = "Begin with a snapshot of the documents that exist (initial), or only with later changes (never)?"
            self._asked[path] = Missing(path, str, meaning)
            self._app.echo_err(f"\n{meaning}")
            choices = click.Choice(["initial", "never"])
            self.values[path] = click.prompt(self._asked[path].key, type=choices, default="initial", err=True)
            self._answers[path] = self.values[path]

    def _ask_again(self, faults: Sequence[Fault]) -> bool:
        """Ask again for the values with errors; False if an error concerns none of them."""
        again: dict[KeyPath, None] = {}
        for fault in faults:
            about = self._about(fault.path[1:])  # below the table [pipeline]
            if not about:
                return False
            self._app.echo_err("")
            self._app.warn(f"{fault.key}: {fault.message}")
            again |= dict.fromkeys(about)
        for path in again:
            self._ask(self._asked[path])
        return True

    def _about(self, place: KeyPath) -> Sequence[KeyPath]:
        """Return the values that an error at this place concerns: those at or around it, else those below it."""
        values = [path for path in self._asked if path in self.values]
        around = [path for path in values if place[: len(path)] == path]
        below = [path for path in values if path[: len(place)] == place]
        components = [path for path in self._asked if path in self.types and place in (path, (*path, "type"))]
        return around or below or components

    def _is_kept(self, configuration: PipelineConfiguration) -> bool:
        """Show the source's warnings about its options, and ask for them again unless the user keeps them."""
        advice = asyncio.run(_advice_of_server(self._app, configuration))
        for text in advice:
            self._app.warn(text)
        asked = [path for path in self._asked if path[:1] == ("source",) and path in self.values]
        if not advice or not asked or not has_terminal() or click.confirm("Keep it anyway?", err=True):
            return True
        for path in asked:
            self._ask(self._asked[path])
        return False

    def _repeat(self, file: Path) -> None:
        """Print a command line with the same values."""
        if not self._answers:
            return
        options = {path: f"--{kind}" for kind, path in COMPONENTS.items()}
        words = ["rigatoni", "init", str(file)]
        for path, answer in self._answers.items():
            if path in options:
                words += [options[path], answer]
            elif path == ("name",):
                words += ["--name", answer]
            else:
                words += ["--set", f"{self._asked[path].key}={answer}"]
        self._app.echo_err(f"your values so far: {shlex.join(words)}")

    def _incomplete(self, missing: Sequence[Missing]) -> ConfigurationError:
        lines = []
        for each in missing:
            option = next((f"--{kind}" for kind, path in COMPONENTS.items() if path == each.path), "")
            given = f"{option} {'|'.join(each.choices(self._catalog))}" if option else f"--set {each.key}=…"
            lines.append(f"\n  {given}: {each.meaning}")
        return ConfigurationError(
            f"the file needs more options:{''.join(lines)}",
            remedy="Pass these options, or run the command on a terminal, where it asks.",
        )


async def _advice_of_server(app: Application, configuration: PipelineConfiguration) -> Sequence[str]:
    """Return the connected source's warnings about its options; none if it does not respond soon."""
    source = configuration.source
    if not isinstance(source, ConfigLinter):
        return ()
    known = source.advice(configuration.settings)
    try:
        async with asyncio.timeout(SOURCE_TIMEOUT), source:
            return [text for text in source.advice(configuration.settings) if text not in known]
    except (RigatoniError, TimeoutError) as error:
        app.echo_err(f"note: the source cannot be checked now: {error or 'it does not respond'}")
        return ()
