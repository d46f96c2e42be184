"""`rigatoni init`: a first file, written from the options of the installed components."""

from pathlib import Path

import click
from rigatoni_core.api.commands import Application, pass_application


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("pipeline.toml"))
@click.option("--name", help="The pipeline's name; it names checkpoints and folders.")
@click.option("--source", metavar="TYPE", help="Where change events come from, such as mongodb.")
@click.option("--destination", metavar="TYPE", help="Where they are written, such as local.")
@click.option("--serializer", metavar="TYPE", help="How they are serialized, such as json.")
@click.option("--state", metavar="TYPE", help="Where positions are kept, such as file.")
@click.option("--set", "given", multiple=True, metavar="KEY=VALUE", help='An option, such as source.watch=["a.b"].')
@pass_application
def init(app: Application, /, file: Path, name: str | None, given: tuple[str, ...], **chosen: str | None) -> None:
    """Writes a commented FILE (pipeline.toml) for the installed components. Never overwrites one.

    On a terminal it asks for missing options, and again for wrong ones. If the source is reachable, it reports names
    that do not exist there. Secrets are not written: the file names environment variables.
    """
    from rigatoni_core.api.errors import ConfigurationError
    from rigatoni_core.config import parse_override

    from rigatoni_ops.interview import COMPONENTS, Interview, has_terminal

    if file.exists():
        raise ConfigurationError(
            f"{file} already exists; nothing was changed", remedy="Name another file: rigatoni init FILE"
        )
    interview = Interview(app)
    interview.types |= {COMPONENTS[kind]: type_ for kind, type_ in chosen.items() if type_ is not None}
    if name or not has_terminal():
        interview.values[("name",)] = name or file.resolve().parent.name
    for path, value in map(parse_override, given):
        if path[-1] == "type":
            interview.types[path[:-1]] = value
        else:
            interview.values[path] = value
    text, notes = interview.text_for(file)
    _write(file, text)
    app.echo(f"{file} is written. Next:")
    for step in (*notes, f"rigatoni validate {file}", f"rigatoni run {file}"):
        app.echo(f"  {step}")


def _write(file: Path, text: str) -> None:
    from rigatoni_core.api.errors import ConfigurationError

    try:
        with file.open("x", encoding="utf-8") as target:
            target.write(text + "\n")
    except OSError as error:
        raise ConfigurationError(
            f"{file} cannot be written: {error.strerror}", remedy="Name a file in a folder where you may write."
        ) from None
