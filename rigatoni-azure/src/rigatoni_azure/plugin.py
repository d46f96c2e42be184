"""Registers the components of this distribution."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_azure() -> type[Any]:
    """Return the destination's class, imported on first use."""
    from rigatoni_azure.destination import AzureDestination

    return AzureDestination


@hookimpl
def rigatoni_destinations() -> Iterator[Component]:
    """Provide the destination `azure`."""
    yield Component("azure", load_azure, summary="Writes batches as blobs to Azure Storage")
