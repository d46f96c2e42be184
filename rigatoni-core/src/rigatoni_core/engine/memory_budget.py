"""How many bytes of events all streams of a pipeline may hold together."""

from collections.abc import Callable


class MemoryBudget:
    """Shared by the batchers of a pipeline, on one event loop.

    While it is used up, nobody reads who holds something already. Who holds nothing may always take one reply, so no
    stream starves, and there is always somebody whose delivery makes room. So what is held together is at most `limit`
    and one reply of each stream.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[Callable[[], None], int] = {}  # by what tells its owner that there is room again
        self._total = 0

    @property
    def held(self) -> int:
        """Bytes that are held at present."""
        return self._total

    @property
    def has_room(self) -> bool:
        return self._total < self._limit

    def hold(self, owner: Callable[[], None], nbytes: int) -> None:
        """The owner holds so many bytes from now on. All owners are called when there is room again."""
        had_room = self.has_room
        self._total += nbytes - self._held.get(owner, 0)
        self._held[owner] = nbytes
        if self.has_room and not had_room:
            for wake in tuple(self._held):
                wake()

    def leave(self, owner: Callable[[], None]) -> None:
        """The owner holds nothing any more, and is not called again."""
        self.hold(owner, 0)
        self._held.pop(owner, None)
