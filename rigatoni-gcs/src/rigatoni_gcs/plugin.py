"""Registers the components of this distribution."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_gcs() -> type[Any]:
    """Return the destination's class, imported on first use."""
    from rigatoni_gcs.destination import GcsDestination

    return GcsDestination


@hookimpl
def rigatoni_destinations() -> Iterator[Component]:
    """Provide the destination `gcs`."""
    yield Component("gcs", load_gcs, summary="Writes batches as objects to Google Cloud Storage")
