"""The memory budget of all streams of a pipeline."""

from collections.abc import Callable


class MemoryBudget:
    """Bounds the bytes that several streams hold together, on one event loop.

    While the budget is used up, a stream that holds something does not read. A stream that holds nothing may always
    read one reply, so no stream starves and some delivery always makes room. Together the streams hold at most `limit`
    and one reply each.

    Args:
        limit: Bytes that all streams may hold together.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._reservations: set[Reservation] = set()

    @property
    def held(self) -> int:
        """The bytes that all streams hold now."""
        return self._held

    @property
    def has_room(self) -> bool:
        """Whether less than the limit is held."""
        return self._held < self._limit

    def reserve(self, on_room: Callable[[], None]) -> "Reservation":
        """Return the reservation of one stream, which holds nothing yet.

        Args:
            on_room: Called whenever the budget has room again, until the reservation is released.
        """
        reservation = Reservation(self, on_room)
        self._reservations.add(reservation)
        return reservation

    def _change(self, difference: int) -> None:
        had_room = self.has_room
        self._held += difference
        if self.has_room and not had_room:
            for reservation in tuple(self._reservations):
                reservation.on_room()

    def _forget(self, reservation: "Reservation") -> None:
        self._reservations.discard(reservation)


class Reservation:
    """One stream's share of a `MemoryBudget`; made by `MemoryBudget.reserve`."""

    def __init__(self, budget: MemoryBudget, on_room: Callable[[], None]) -> None:
        self._budget = budget
        self.on_room = on_room
        self.nbytes = 0
        """The bytes that the stream holds now."""

    @property
    def has_room(self) -> bool:
        """Whether the budget has room for more."""
        return self._budget.has_room

    def hold(self, nbytes: int) -> None:
        """Set the number of bytes that the stream holds from now on."""
        difference, self.nbytes = nbytes - self.nbytes, nbytes
        if difference:
            self._budget._change(difference)

    def release(self) -> None:
        """Release the reservation: hold nothing, and stop calling `on_room`."""
        self._budget._forget(self)
        self.hold(0)
