"""Registers the components of this distribution."""

from collections.abc import Iterator
from typing import Any

from rigatoni_core.api.hookspecs import Component, hookimpl


def load_kafka() -> type[Any]:
    """Return the destination's class, imported on first use."""
    from rigatoni_kafka.destination import KafkaDestination

    return KafkaDestination


@hookimpl
def rigatoni_destinations() -> Iterator[Component]:
    """Provide the destination `kafka`."""
    yield Component("kafka", load_kafka, summary="Writes each event as a message to Kafka, in transactions")
