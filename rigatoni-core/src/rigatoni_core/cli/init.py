"""`rigatoni init`: a first file, written from the options of the installed components."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rigatoni_core.cli import installed
from rigatoni_core.cli.output import complain, say

if TYPE_CHECKING:
    from rigatoni_core.config import KeyPath
    from rigatoni_core.config.writing import Missing
    from rigatoni_core.plugins.catalog import Catalog

_COMPONENTS = {
    "source": ("source",),
    "destination": ("destination",),
    "serializer": ("destination", "serializer"),
    "state": ("state",),
}
"""The options that say which component, and its key path."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("pipeline.toml"))
@click.option("--name", help="The pipeline's name; it names checkpoints and folders.")
@click.option("--source", metavar="TYPE", help="Where change events come from, such as mongodb.")
@click.option("--destination", metavar="TYPE", help="Where they go, such as local.")
@click.option("--serializer", metavar="TYPE", help="How they become bytes, such as json.")
@click.option("--state", metavar="TYPE", help="Where positions are kept, such as file.")
@click.option("--set", "given", multiple=True, metavar="KEY=VALUE", help='An option, such as source.watch=["a.b"].')
def init(file: Path, name: str | None, given: tuple[str, ...], **chosen: str | None) -> None:
    """Writes a commented FILE (pipeline.toml) for the installed components. Never overwrites one.

    On a terminal it asks for what is not given. Secrets are not written: the file names environment variables.
    """
    from rigatoni_core.api.errors import ConfigurationError
    from rigatoni_core.config import parse_override
    from rigatoni_core.config.writing import Writer

    if file.exists():
        raise ConfigurationError(f"{file} exists already; nothing was changed", remedy="Name another file.")
    catalog = installed.catalog()
    types: dict[KeyPath, str] = {_COMPONENTS[kind]: type_ for kind, type_ in chosen.items() if type_ is not None}
    values: dict[KeyPath, Any] = {("name",): name or file.resolve().parent.name} if name or not _asks() else {}
    for path, value in map(parse_override, given):
        if path[-1] == "type":
            types[path[:-1]] = value
        else:
            values[path] = value
    writer = Writer(catalog, types, values)
    while missing := writer.missing():
        if not _asks():
            raise _incomplete(catalog, missing)
        _ask(catalog, missing[0], types, values)
    text = writer.text(str(file))
    notes = _check(text, catalog)
    _write(file, text)
    say(f"{file} is written. Next:")
    for step in (*notes, f"rigatoni validate {file}", f"rigatoni run {file}"):
        say(f"  {step}")


def _asks() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _incomplete(catalog: "Catalog", missing: "list[Missing]") -> Exception:
    from rigatoni_core.api.errors import ConfigurationError

    lines = []
    for each in missing:
        option = next((f"--{kind}" for kind, path in _COMPONENTS.items() if path == each.path), "")
        given = f"{option} {'|'.join(each.choices(catalog))}" if option else f"--set {each.key}=…"
        lines.append(f"\n  {given}: {each.meaning}")
    return ConfigurationError(
        f"not enough is known to write the file; still needed:{''.join(lines)}",
        remedy="Give these options, or call it on a terminal, where it asks.",
    )


def _ask(catalog: "Catalog", missing: "Missing", types: "dict[KeyPath, str]", values: "dict[KeyPath, Any]") -> None:
    """Ask for one thing, and keep the answer."""
    complain(f"\n{missing.meaning}" if missing.meaning else "")
    if choices := missing.choices(catalog):
        types[missing.path] = click.prompt(
            missing.key, type=click.Choice(choices), default=choices[0] if len(choices) == 1 else None, err=True
        )
    else:
        suggestion = Path.cwd().name if missing.path == ("name",) else str(missing.path[0]) if missing.is_path else None
        values[missing.path] = missing.read(click.prompt(missing.key, default=suggestion, err=True))


def _check(text: str, catalog: "Catalog") -> list[str]:
    """What is left to do before it runs; raises what is wrong with it."""
    import tomllib

    from rigatoni_core.config import InvalidConfigurationError, structure

    try:
        structure(tomllib.loads(text), catalog)
    except InvalidConfigurationError as error:
        unset = [fault for fault in error.details if fault.message.startswith("the environment variable ")]
        if len(unset) < len(error.details):
            raise
        return [f"export {fault.message.split()[3]}=…    # {fault.key}" for fault in unset]
    return []


def _write(file: Path, text: str) -> None:
    from rigatoni_core.api.errors import ConfigurationError

    try:
        with file.open("x", encoding="utf-8") as target:
            target.write(text + "\n")
    except OSError as error:
        raise ConfigurationError(
            f"{file} can not be written: {error.strerror}", remedy="Name a file in a folder where you may write."
        ) from None
