"""Warnings of a pipeline's components."""

from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import ConfigLinter


def advice_of(configuration: PipelineConfiguration) -> list[str]:
    """Return the warnings of all components; more once they are entered. See `ConfigLinter`."""
    kinds = ("source", "destination", "dead_letters", "state")
    components = [getattr(configuration, kind) for kind in kinds]
    components += [*configuration.transforms, *configuration.listeners]
    return [
        text
        for component in components
        if isinstance(component, ConfigLinter)
        for text in component.advice(configuration.settings)
    ]
