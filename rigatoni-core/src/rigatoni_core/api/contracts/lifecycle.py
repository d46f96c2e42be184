"""What every kind of component shares: how it is opened and closed, and its optional checks."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.events import Stream
from rigatoni_core.api.settings import Settings


class AsyncResource:
    """Base of sources, destinations and state stores: an async context manager that may be entered once.

    An `__aenter__` that raises leaves nothing open. If the error is `Transient` it is called again, on the same object.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


class ConfigLinter(ABC):
    """Optional interface of any component: it warns about valid options that are rarely intended."""

    @abstractmethod
    def advice(self, settings: Settings) -> Sequence[str]:
        """Return warnings about the component's options, alone and together with the settings.

        Each names a better alternative. Does no I/O. Called again after `__aenter__`, when a component may know its
        server's settings.

        Args:
            settings: The pipeline's settings.
        """


class HealthCheck(ABC):
    """Optional interface of a source or destination: it finds problems that would otherwise show only later."""

    @abstractmethod
    async def examine(self, stream: Stream) -> Sequence[RigatoniError]:
        """Return problems of this stream that connecting does not reveal. Called after `__aenter__`; only reads.

        Args:
            stream: The stream.
        """
