"""Reading pipelines' files on behalf of a command."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rigatoni_core.cli.output import hide

if TYPE_CHECKING:
    from rigatoni_core.config import PipelineConfiguration

Function = TypeVar("Function", bound=Callable[..., Any])


def takes_file(function: Function) -> Function:
    """The argument FILE and the option `--set`, as `file` and `overrides`."""
    overriding = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Replaces a value of the file, such as destination.path=lake; may be given several times.",
    )
    return click.argument("file", type=click.Path(path_type=Path))(overriding(function))


def configuration_of(file: Path, overrides: Sequence[str] = ()) -> "PipelineConfiguration":
    """The one pipeline that the file describes; none of its secrets is printed from now on."""
    from rigatoni_core.catalog import Catalog
    from rigatoni_core.config import load, parse_override

    configuration = load(file, Catalog.discover(), [parse_override(text) for text in overrides])
    hide(configuration.redaction)
    return configuration


def configurations_of(file: Path, overrides: Sequence[str] = ()) -> "Sequence[PipelineConfiguration]":
    """The pipelines of a file or folder, at least one; none of their secrets is printed from now on."""
    from rigatoni_core.catalog import Catalog
    from rigatoni_core.config import load_all, parse_override

    configurations = load_all(file, Catalog.discover(), [parse_override(text) for text in overrides])
    for configuration in configurations:
        hide(configuration.redaction)
    return configurations
