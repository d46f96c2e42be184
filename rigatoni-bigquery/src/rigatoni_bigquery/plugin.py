"""Registers the components of this distribution."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_bigquery() -> type[Any]:
    """Return the destination's class, imported on first use."""
    from rigatoni_bigquery.destination import BigQueryDestination

    return BigQueryDestination


@hookimpl
def rigatoni_destinations() -> Iterator[Component]:
    """Provide the destination `bigquery`."""
    yield Component("bigquery", load_bigquery, summary="Loads change events into BigQuery tables, from objects in GCS")
