"""What every kind of component shares: how it is opened and closed, and its optional checks."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Literal, Self

import attrs

from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.events import Position, Stream
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


@attrs.frozen
class Finding:
    """The result of one check of `Diagnosable`.

    Attributes:
        severity: `error`: it is wrong now; `warning`: it will hurt later; `not checked`: the check cannot be made.
        seen: What was seen and where, or why the check cannot be made.
        remedy: What the user should do, starting with a verb; empty if there is nothing to do.
        figures: The numbers in `seen`, by name, for programs. Names end in their unit, such as `window_seconds`.
    """

    severity: Literal["ok", "not checked", "warning", "error"]
    seen: str
    remedy: str = ""
    figures: Mapping[str, float] = attrs.field(factory=dict)


class Diagnosable(ABC):
    """Optional interface of any component: it finds what will hurt later, for `rigatoni doctor`."""

    @abstractmethod
    def checks(
        self, settings: Settings, positions: Mapping[Stream, Position | None]
    ) -> Mapping[str, Callable[[], Awaitable[Sequence[Finding]]]]:
        """Return checks by name, such as `oplog headroom`. Called after `__aenter__`; does no I/O itself.

        The caller awaits each check with a time limit. An error of one check concerns no other. Checks only read.

        Args:
            settings: The pipeline's settings.
            positions: Where each stream would resume; None if it has no position yet, or none is known.
        """
