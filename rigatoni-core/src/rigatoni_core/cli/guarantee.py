"""The guarantee of a stream, in words."""

from rigatoni_core.contracts import Delivery, Destination, Source
from rigatoni_core.events import Stream


def guarantee(stream: Stream, source: Source, destination: Destination) -> tuple[str, tuple[str, ...]]:
    """The level in force and its conditions: the destination's, lowered where events can not be read twice alike.

    Both have been entered.
    """
    metadata = destination.metadata()
    uncertain = source.definition(stream).uncertain
    if uncertain and metadata.delivery is not Delivery.AT_LEAST_ONCE:
        return Delivery.AT_LEAST_ONCE.value, tuple(f"lowered, because {reason}" for reason in uncertain)
    return metadata.delivery.value, metadata.conditions
