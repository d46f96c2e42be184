"""How the chain of an old definition is brought to rest before a new definition begins where it ends."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import attrs

from rigatoni_objects.paths import closing_path


class Quiescence(ABC):
    """The policy of a kind of store. One object for each stream and owner; used by one thread at a time."""

    exclusive: bool = False
    """Whether no other owner can do anything inside `defining`."""

    def prepare(self) -> None:
        """Make ready what the policy needs, before the stream's chain is looked at. Default: nothing."""
        return

    @abstractmethod
    def mark(self, number: int) -> str:
        """The path whose existence means that no batch of this definition may begin any more."""

    def writing(self) -> AbstractContextManager[object]:
        """Entered around a write, from before the look at the mark until after the last object. Default: nothing."""
        return nullcontext()

    def defining(self) -> AbstractContextManager[object]:
        """Entered while a new definition is made. Default: nothing."""
        return nullcontext()

    def close(self, number: int, create: Callable[[str], None]) -> float:
        """Let no further batch of this definition begin; `create` creates a mark at a path unless it exists.

        Returns the seconds until whatever was under way has had its effect; 0.0 where the chain is at rest.
        """
        return 0.0


@attrs.define
class ClosingMark(Quiescence):
    """For stores without locks: a mark closes the chain, and its end is looked for after `settle_time` seconds.

    Everybody looks for the mark right before creating a lead. So the one assumption is that no attempt to create a
    lead, from that look to the store's effect, lasts longer than `settle_time`.
    """

    settle_time: float
    clock: Callable[[], float] = time.monotonic
    _seen: dict[int, float] = attrs.field(factory=dict, init=False)

    def mark(self, number: int) -> str:
        return closing_path(number)

    def close(self, number: int, create: Callable[[str], None]) -> float:
        create(closing_path(number))
        seen = self._seen.setdefault(number, self.clock())
        return max(0.0, seen + self.settle_time - self.clock())
