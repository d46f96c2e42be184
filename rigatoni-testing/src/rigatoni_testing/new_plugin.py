"""`rigatoni new-plugin`: creates a plugin from the template."""

from pathlib import Path

import click
from rigatoni_core.api.commands import Application, pass_application


@click.command("new-plugin")
@click.argument("distribution")
@click.option("--kind", required=True, help="Kind of component, such as destination or command.")
@click.option("--into", type=click.Path(path_type=Path), help="Folder to create. Default: DISTRIBUTION.")
@pass_application
def new_plugin(app: Application, distribution: str, kind: str, into: Path | None) -> None:
    """Creates a new plugin named DISTRIBUTION ("rigatoni-acme"), which runs and passes its tests."""
    from rigatoni_core.api.errors import ConfigurationError
    from rigatoni_core.api.words import printable

    from rigatoni_testing.template import NAME, NewPlugin, kind_of

    if (known := kind_of(kind)) is None:
        raise click.BadParameter(f"{printable(kind)} is not one of {', '.join(NewPlugin.KINDS)}", param_hint="--kind")
    if not NAME.fullmatch(distribution):
        raise ConfigurationError(
            f'"{printable(distribution)}" is not a valid name for a plugin',
            remedy="Use a name like rigatoni-acme: lower-case letters and digits, with single dashes between them.",
        )
    folder = into or Path(distribution)
    plugin = NewPlugin(distribution, known)
    try:
        folder.mkdir(parents=True)
        for path, text in plugin.files():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except FileExistsError:
        raise ConfigurationError(
            f"{folder} already exists; nothing was changed", remedy="Name another folder."
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename} cannot be written: {error.strerror}", remedy="Name a writable folder with --into."
        ) from None
    app.echo(f"created {folder} with the {kind} {plugin.component}. Next:")
    for step in (f"cd {folder}", "pip install -e '.[testing]'", "pytest", f"rigatoni plugins check {distribution}"):
        app.echo(f"  {step}")
