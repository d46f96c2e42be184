"""What the components of a pipeline find unwise."""

from typing import TYPE_CHECKING

from rigatoni_core.api.contracts import ConfigLinter

if TYPE_CHECKING:
    from rigatoni_core.api.configuration import PipelineConfiguration


def advice_of(configuration: "PipelineConfiguration") -> list[str]:
    """In words; more of it once the components are entered. See `ConfigLinter`."""
    kinds = ("source", "destination", "dead_letters", "state")
    components = (*(getattr(configuration, kind) for kind in kinds), *configuration.listeners)
    return [
        text
        for component in components
        if isinstance(component, ConfigLinter)
        for text in component.advice(configuration.settings)
    ]
