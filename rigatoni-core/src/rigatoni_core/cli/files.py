"""Reading a pipeline's file on behalf of a command."""

from pathlib import Path
from typing import TYPE_CHECKING

from rigatoni_core.cli.output import hide

if TYPE_CHECKING:
    from rigatoni_core.config import PipelineConfiguration


def configuration_of(file: Path) -> "PipelineConfiguration":
    """The pipeline that the file describes; none of its secrets is printed from now on."""
    from rigatoni_core.catalog import Catalog
    from rigatoni_core.config import load

    configuration = load(file, Catalog.discover())
    hide(configuration.redaction)
    return configuration
