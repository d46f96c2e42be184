"""The guarantee of a pipeline as a whole, in words."""

from collections.abc import Sequence

from rigatoni_core.contracts import Delivery, Destination, Source
from rigatoni_core.events import Stream


def guarantee(pipeline: str, streams: Sequence[str], source: Source, destination: Destination) -> tuple[str, list[str]]:
    """The level in force and its conditions: the destination's, lowered where a stream can not be read twice alike."""
    metadata = destination.metadata()
    reasons = [
        f"{name}: {reason}" for name in streams for reason in source.definition(Stream(pipeline, name)).uncertain
    ]
    if reasons:
        return Delivery.AT_LEAST_ONCE.value, reasons
    return metadata.delivery.value, list(metadata.conditions)
