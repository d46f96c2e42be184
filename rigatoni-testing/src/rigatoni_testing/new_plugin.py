"""`rigatoni new-plugin`: a plugin of one's own, written from the template."""

from pathlib import Path

import click
from rigatoni_core.api.commands import Application, pass_application


@click.command("new-plugin")
@click.argument("distribution")
@click.option("--kind", required=True, help="What it provides, such as destination or command.")
@click.option("--into", type=click.Path(path_type=Path), help="The folder to make; DISTRIBUTION unless given.")
@pass_application
def new_plugin(app: Application, distribution: str, kind: str, into: Path | None) -> None:
    """Writes a plugin of your own, named DISTRIBUTION ("rigatoni-acme"): it runs, and its tests pass."""
    from rigatoni_core.api.errors import ConfigurationError
    from rigatoni_core.api.words import printable

    from rigatoni_testing.template import NAME, NewPlugin, kind_of

    if (known := kind_of(kind)) is None:
        raise click.BadParameter(f"{printable(kind)} is none of {', '.join(NewPlugin.KINDS)}", param_hint="--kind")
    if not NAME.fullmatch(distribution):
        raise ConfigurationError(
            f'"{printable(distribution)}" is not a name for a plugin',
            remedy="Name it rigatoni-acme: lower-case letters and digits, single dashes between them.",
        )
    folder = into or Path(distribution)
    plugin = NewPlugin(distribution, known)
    try:
        folder.mkdir(parents=True)
        for path, text in plugin.files():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except FileExistsError:
        raise ConfigurationError(f"{folder} already exists; nothing was changed", remedy="Name another one.") from None
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename} cannot be written: {error.strerror}", remedy="Name a folder where you may write: --into"
        ) from None
    app.say(f"{folder} is written: the {kind} {plugin.component}. Next:")
    for step in (f"cd {folder}", "pip install -e '.[testing]'", "pytest", f"rigatoni plugins check {distribution}"):
        app.say(f"  {step}")
