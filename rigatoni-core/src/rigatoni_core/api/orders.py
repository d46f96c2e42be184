"""The order of events in a stream."""

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    Integers: TypeAlias = array[int]
else:
    Integers = array  # which takes no parameter before Python 3.12


class Orders(NamedTuple):
    """The order of events in a stream, one entry per event: a version number of each change.

    `seconds` and `increments` are the cluster time (0 and 0 for a source without one), `ordinals` count the events of
    exactly that cluster time that come before the event in its stream.
    """

    seconds: Integers
    increments: Integers
    ordinals: Integers

    def at(self, indices: Iterable[int]) -> "Orders":
        """Return the entries at these indices.

        Args:
            indices: The indices of events.
        """
        indices = list(indices)
        return Orders(*(array("q", [column[index] for index in indices]) for column in self))
