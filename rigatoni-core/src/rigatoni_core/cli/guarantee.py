"""The guarantee of a stream and its policy for rejected events, in words."""

from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import Delivery, Destination, Source
from rigatoni_core.api.events import Stream


def guarantee(stream: Stream, source: Source, destination: Destination) -> tuple[str, tuple[str, ...]]:
    """Return the guarantee in force and its conditions: the destination's, lowered if rereading may change events.

    Both have been entered.
    """
    metadata = destination.metadata()
    uncertain = source.definition(stream).uncertain
    if uncertain and metadata.delivery is not Delivery.AT_LEAST_ONCE:
        return Delivery.AT_LEAST_ONCE.value, tuple(f"lowered, because {reason}" for reason in uncertain)
    return metadata.delivery.value, metadata.conditions


def rejections(configuration: PipelineConfiguration) -> str:
    """Return the policy for rejected events, as the end of a sentence. Their destination has been entered."""
    settings, dead_letters = configuration.settings, configuration.dead_letters
    policy = settings.rejection_policy(dead_letters=dead_letters is not None)
    if policy == "stop":
        return "stop their worker"
    limit = f"more than {settings.max_rejected:,} of {settings.rejected_window:,} stop the worker"
    if policy == "skip" or dead_letters is None:
        return f"are skipped; {limit}"
    metadata = dead_letters.metadata()
    return f"become dead letters in {metadata.description} ({metadata.delivery.value}); {limit}"
