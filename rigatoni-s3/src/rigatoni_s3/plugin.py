"""Registers the components of this distribution."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_s3() -> type[Any]:
    """Return the destination's class, imported on first use."""
    from rigatoni_s3.destination import S3Destination

    return S3Destination


@hookimpl
def rigatoni_destinations() -> Iterator[Component]:
    """Provide the destination `s3`."""
    yield Component("s3", load_s3, summary="Writes batches as objects to S3 or compatible stores")
