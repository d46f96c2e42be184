"""The hooks that a plugin may implement, each with a function that yields `Component` records.

A plugin is a distribution with an entry point in the group `rigatoni`, which names a module::

    # pyproject.toml
    [project.entry-points.rigatoni]
    acme = "rigatoni_acme.plugin"

    # rigatoni_acme/plugin.py
    from rigatoni_core.api.hookspecs import Component, hookimpl

    def load_acme():
        from rigatoni_acme.destination import AcmeDestination
        return AcmeDestination

    @hookimpl
    def rigatoni_destinations():
        yield Component("acme", load_acme, summary="Sends batches to Acme")

The module with the hook imports nothing heavier than `rigatoni_core.api.hookspecs`. The `load` function imports the
component on first use.
"""

from collections.abc import Iterable

import pluggy

from rigatoni_core.api.components import GROUP, Component

__all__ = ["GROUP", "Component", "hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def rigatoni_sources() -> Iterable[Component]:  # type: ignore[empty-body]
    """Yield the sources: classes derived from `rigatoni_core.api.contracts.Source`."""


@hookspec
def rigatoni_destinations() -> Iterable[Component]:  # type: ignore[empty-body]
    """Yield the destinations: classes derived from `rigatoni_core.api.contracts.Destination`."""


@hookspec
def rigatoni_states() -> Iterable[Component]:  # type: ignore[empty-body]
    """Yield the state stores: classes derived from `rigatoni_core.api.contracts.StateStore`."""


@hookspec
def rigatoni_serializers() -> Iterable[Component]:  # type: ignore[empty-body]
    """Yield the serializers: classes derived from `rigatoni_core.api.contracts.Serializer`."""


@hookspec
def rigatoni_transforms() -> Iterable[Component]:  # type: ignore[empty-body]
    """Yield the transforms: classes derived from `rigatoni_core.api.contracts.Transform`."""


@hookspec
def rigatoni_listeners() -> Iterable[Component]:  # type: ignore[empty-body]
    """Yield the listeners: classes derived from `rigatoni_core.api.contracts.Listener`."""
