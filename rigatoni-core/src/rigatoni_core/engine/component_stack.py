"""The components of a pipeline: opened in order, closed in reverse, handed over to a successor while they are open."""

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack

from rigatoni_core.api.bus import close
from rigatoni_core.api.contracts import AsyncResource, Listener


class ComponentStack:
    """Opens components in the order given, and closes those that are open in reverse order."""

    def __init__(self, components: Sequence[AsyncResource]) -> None:
        self._components = components
        self._open: set[int] = set()
        self._successor: ComponentStack | None = None

    def __contains__(self, component: object) -> bool:
        """Return whether this very component is open here."""
        return id(component) in self._open

    async def open(self) -> None:
        """Open what is not open yet. If one raises, those before it stay open, and the next call resumes with it."""
        for component in self._remaining():
            await component.__aenter__()
            self._open.add(id(component))

    async def open_beside(self, running: "ComponentStack") -> None:
        """Open all components that `running` has not open: those are taken over when `running` closes."""
        running._successor = self
        for component in self._remaining():
            if component not in running:
                await component.__aenter__()
                self._open.add(id(component))

    def keep(self) -> None:
        """Hand nothing over: close here what is open here."""
        self._successor = None

    async def close(self) -> None:
        """Close all open components that no successor takes over, even if some raise."""
        async with AsyncExitStack() as stack:
            for component in self._components:
                if component not in self:
                    continue
                self._open.discard(id(component))
                if self._successor is not None and any(component is each for each in self._successor._components):
                    self._successor._open.add(id(component))
                elif isinstance(component, Listener):
                    stack.push_async_callback(close, component)  # never raises
                else:
                    stack.push_async_exit(component)

    def _remaining(self) -> Iterator[AsyncResource]:
        return (component for component in self._components if component not in self)
