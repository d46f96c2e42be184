"""Checks of installed plugins without using them: they load, are light, and document their options."""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import TYPE_CHECKING

import attrs

from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.hookspecs import GROUP
from rigatoni_core.api.words import printable
from rigatoni_core.plugins import commands
from rigatoni_core.plugins.catalog import COMMAND, Catalog, Plugin
from rigatoni_core.plugins.component_options import Option, options_of

if TYPE_CHECKING:
    import click

_LIGHT = """
import sys
import {api}
before, out = set(sys.modules), sys.stdout  # which the module may print to, or replace
import {module}
print(*sorted({{name.partition(".")[0] for name in set(sys.modules) - before}}), file=out)
"""
_APIS = {GROUP: "rigatoni_core.api.hookspecs", commands.GROUP: "rigatoni_core.api.commands"}
"""By group of entry points, what the module that an entry point names may import of core."""

_PATIENCE = 60.0  # seconds for the import of a plugin's hook


@attrs.frozen
class Unsound:
    """An error in a plugin, with a remedy for its author or user."""

    message: str
    remedy: str


def unsound(catalog: Catalog, plugin: Plugin, readme: str | None = None) -> Iterator[Unsound]:
    """Return all errors of an installed plugin. `readme` replaces the one in its metadata."""
    if plugin.status == "denied":
        return  # the plugin is not used
    if plugin.status != "ok":
        yield Unsound(plugin.reason, plugin.remedy)
        return
    own = plugin.distribution == "rigatoni-core"  # the README of core covers more than its two small components
    text = _readme(plugin.distribution) if readme is None else readme
    for provided in plugin.provides:
        try:
            cls = catalog.get(provided.kind, f"{plugin.distribution}/{provided.name}")
            options = options_of(cls) if provided.kind != COMMAND else ()
        except RigatoniError as error:
            yield Unsound(str(error), error.remedy)
            continue
        for option in () if own else options:
            yield from _undocumented(option, str(provided), cls.__name__, text)
        if provided.kind == COMMAND:
            yield from _unexplained(cls, provided.name, text)
    if not own:
        yield from _heavy(plugin)


def documented(readme: str, option: Option) -> bool:
    """Return whether a table of the README has a row with this option's name and meaning."""
    rows = [line.strip().strip("|").split("|") for line in readme.splitlines() if line.startswith("|")]
    mine = [_normal("|".join(row)) for row in rows if row[0].strip(" `") == option.name]
    return any(_normal(option.meaning) in row for row in mine)


def _undocumented(option: Option, component: str, cls: str, readme: str) -> Iterator[Unsound]:
    if not option.meaning:
        yield Unsound(
            f"the option {option.name} of {component} has no help text",
            f'Write it into the class: {option.name}: Annotated[..., "what it means"] in {cls}.',
        )
    elif not documented(readme, option):
        yield Unsound(
            f"the option {option.name} of {component} is missing from the README's table of options, or differs there",
            f"Add the row: | `{option.name}` | {option.type} | {option.default or 'required'} | {option.meaning} |",
        )


def _unexplained(command: "click.Command", name: str, readme: str) -> Iterator[Unsound]:
    if not command.get_short_help_str():
        yield Unsound(f"the command {name} has no help text", "Write it as the docstring of its function.")
    if f"rigatoni {name}" not in readme:
        yield Unsound(f"the README does not mention `rigatoni {name}`", "Show how the command is called.")


def _heavy(plugin: Plugin) -> Iterator[Unsound]:
    """Return the modules that importing the hook loads besides core, which would slow down `rigatoni plugins list`.

    The same for the module of a command and `rigatoni --help`.
    """
    for module, packages in _imports(plugin):
        if heavy := [name for name in packages if name not in sys.stdlib_module_names | {module.partition(".")[0]}]:
            yield Unsound(
                f"importing {module} also imports {', '.join(heavy)}",
                "Import it inside the function that needs it, not at the top of the module that the entry point names.",
            )


def _imports(plugin: Plugin) -> Iterator[tuple[str, Iterable[str]]]:
    for entry in metadata.distribution(plugin.distribution).entry_points:
        if entry.name == plugin.name and entry.group in _APIS:
            command = [sys.executable, "-c", _LIGHT.format(module=entry.module, api=_APIS[entry.group])]
            try:
                answer = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=True)  # noqa: S603
            except (subprocess.SubprocessError, OSError):
                continue  # the module could be loaded here, so it is not at fault
            names = answer.stdout.splitlines()[-1:]
            yield entry.module, [printable(name) for name in " ".join(names).split() if name != "rigatoni_core"]


def _readme(distribution: str) -> str:
    """Return the README in the installed metadata (core metadata specification, Description)."""
    message = metadata.metadata(distribution)
    return str(message.get_payload() or message.get("Description") or "")  # type: ignore[attr-defined]


def _normal(text: str) -> str:
    return re.sub(r"[`\s]+", " ", text.replace("\\|", "or")).strip()
