"""Reading of pipelines' files for commands."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rigatoni_core.api.commands import PIPELINE
from rigatoni_core.cli import installed
from rigatoni_core.cli.output import hide

if TYPE_CHECKING:
    from rigatoni_core.api.configuration import PipelineConfiguration


def configuration_of(file: Path, overrides: Sequence[str] = ()) -> "PipelineConfiguration":
    """Load the one pipeline of the file, or the one that `--pipeline` names; its secrets are hidden from now on."""
    from rigatoni_core.api.errors import ConfigurationError

    found = configurations_of(file, overrides)
    if len(found) > 1:
        raise ConfigurationError(
            f"{file} describes {len(found)} pipelines: {', '.join(each.name for each in found)}",
            remedy="Choose one with --pipeline NAME.",
        )
    return found[0]


def configurations_of(file: Path, overrides: Sequence[str] = ()) -> "Sequence[PipelineConfiguration]":
    """Load the pipelines of a file or folder, or the one that `--pipeline` names; their secrets are hidden."""
    from rigatoni_core.api.errors import ConfigurationError
    from rigatoni_core.config import load_all, parse_override

    catalog = installed.catalog(file)
    context = click.get_current_context()
    if (own := context.meta.get(installed.COMMAND_OF)) and not catalog.allows(own):
        raise ConfigurationError(
            f"{file} denies {own}, which provides the command {context.command_path}",
            remedy="Change the table [plugins] of the file.",
        )
    configurations = load_all(file, catalog, [parse_override(text) for text in overrides])
    for configuration in configurations:
        hide(configuration.redaction)
    chosen = context.meta.get(PIPELINE)
    if chosen is None:
        return configurations
    if named := [each for each in configurations if each.name == chosen]:
        return named
    raise ConfigurationError(
        f"{file} describes no pipeline {chosen}",
        remedy=f"Choose one of {', '.join(each.name for each in configurations)}.",
    )
