"""Reading pipelines' files on behalf of a command."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rigatoni_core.cli import installed
from rigatoni_core.cli.output import hide

if TYPE_CHECKING:
    from rigatoni_core.api.configuration import PipelineConfiguration

_CHOSEN = "rigatoni_core.engine.pipeline"

Function = TypeVar("Function", bound=Callable[..., Any])


def takes_file(function: Function) -> Function:
    """The argument FILE and the option `--set` as `file` and `overrides`; `--pipeline` for the functions below."""
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
        help="Only this one of the pipelines in FILE.",
        expose_value=False,
        callback=lambda context, _, name: context.meta.update({_CHOSEN: name}),
    )
    return click.argument("file", type=click.Path(path_type=Path))(overriding(choosing(function)))


def configuration_of(file: Path, overrides: Sequence[str] = ()) -> "PipelineConfiguration":
    """The one pipeline that the file describes or `--pipeline` names; none of its secrets is printed from now on."""
    from rigatoni_core.api.errors import ConfigurationError

    found = configurations_of(file, overrides)
    if len(found) > 1:
        raise ConfigurationError(
            f"{file} describes {len(found)} pipelines: {', '.join(each.name for each in found)}",
            remedy="Say which: --pipeline NAME.",
        )
    return found[0]


def configurations_of(file: Path, overrides: Sequence[str] = ()) -> "Sequence[PipelineConfiguration]":
    """The pipelines of a file or folder, or the one that `--pipeline` names; none of their secrets is printed."""
    from rigatoni_core.api.errors import ConfigurationError
    from rigatoni_core.config import load_all, parse_override

    configurations = load_all(file, installed.catalog(file), [parse_override(text) for text in overrides])
    for configuration in configurations:
        hide(configuration.redaction)
    chosen = click.get_current_context().meta.get(_CHOSEN)
    if chosen is None:
        return configurations
    if named := [each for each in configurations if each.name == chosen]:
        return named
    raise ConfigurationError(
        f"{file} describes no pipeline {chosen}", remedy=f"It has {', '.join(each.name for each in configurations)}."
    )
