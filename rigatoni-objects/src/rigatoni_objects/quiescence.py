"""Policies that close the chain of an old definition before a new definition starts at its end."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import attrs

from rigatoni_objects.paths import closing_path


class Quiescence(ABC):
    """The policy of a kind of store. One object per stream and owner; used by one thread at a time."""

    exclusive: bool = False
    """Whether `defining` excludes all other owners."""

    def prepare(self) -> None:
        """Prepare the policy before the stream's chain is read. Default: nothing."""
        return

    @abstractmethod
    def mark(self, number: int) -> str:
        """Return the path whose existence closes this definition to new batches."""

    def writing(self) -> AbstractContextManager[object]:
        """Return a context for a write, from the check of the mark until after the last object. Default: none."""
        return nullcontext()

    def defining(self) -> AbstractContextManager[object]:
        """Return a context for the creation of a new definition. Default: none."""
        return nullcontext()

    def close(self, number: int, create: Callable[[str], None]) -> float:
        """Close this definition to new batches.

        Args:
            number: The definition.
            create: Creates a mark at a path unless it exists.

        Returns:
            The seconds until all requests in flight have taken effect; 0.0 if the chain is quiescent.
        """
        return 0.0


@attrs.define
class ClosingMark(Quiescence):
    """For stores without locks: a mark closes the chain, and its end is read after `settle_time` seconds.

    Every owner checks for the mark right before it creates a lead. The one assumption is that no attempt to create a
    lead, from that check to its effect in the store, takes longer than `settle_time`.
    """

    settle_time: float
    clock: Callable[[], float] = time.monotonic
    _seen: dict[int, float] = attrs.field(factory=dict, init=False)

    def mark(self, number: int) -> str:
        """See `Quiescence`: an object of its own."""
        return closing_path(number)

    def close(self, number: int, create: Callable[[str], None]) -> float:
        """See `Quiescence`. Returns the seconds that remain until late requests are impossible."""
        create(closing_path(number))
        seen = self._seen.setdefault(number, self.clock())
        return max(0.0, seen + self.settle_time - self.clock())
