"""The guarantee of a stream, and what becomes of events that can not be written, in words."""

from typing import TYPE_CHECKING

from rigatoni_core.api.contracts import Delivery, Destination, Source
from rigatoni_core.api.events import Stream

if TYPE_CHECKING:
    from rigatoni_core.api.configuration import PipelineConfiguration


def guarantee(stream: Stream, source: Source, destination: Destination) -> tuple[str, tuple[str, ...]]:
    """The level in force and its conditions: the destination's, lowered where events can not be read twice alike.

    Both have been entered.
    """
    metadata = destination.metadata()
    uncertain = source.definition(stream).uncertain
    if uncertain and metadata.delivery is not Delivery.AT_LEAST_ONCE:
        return Delivery.AT_LEAST_ONCE.value, tuple(f"lowered, because {reason}" for reason in uncertain)
    return metadata.delivery.value, metadata.conditions


def rejections(configuration: "PipelineConfiguration") -> str:
    """What becomes of rejected events, as the end of a sentence about them. A destination for them has been entered."""
    settings, dead_letters = configuration.settings, configuration.dead_letters
    policy = settings.rejection_policy(dead_letters=dead_letters is not None)
    if policy == "stop":
        return "stop their worker"
    limit = f"more than {settings.max_rejected:,} of {settings.rejected_window:,} stop the worker"
    if policy == "skip" or dead_letters is None:
        return f"are left out; {limit}"
    metadata = dead_letters.metadata()
    return f"become dead letters in {metadata.description} ({metadata.delivery.value}); {limit}"
