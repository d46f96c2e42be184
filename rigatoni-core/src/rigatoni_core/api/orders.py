"""The order of events in a stream."""

from array import array
from collections.abc import Iterable
from typing import NamedTuple


class Orders(NamedTuple):
    """The order of events in a stream, one entry per event: a version number of each change.

    `seconds` and `increments` are the cluster time (0 and 0 for a source without one), `ordinals` count the events of
    exactly that cluster time that come before the event in its stream.
    """

    seconds: "array[int]"
    increments: "array[int]"
    ordinals: "array[int]"

    def at(self, indices: Iterable[int]) -> "Orders":
        """Return the entries at these indices."""
        indices = list(indices)
        return Orders(*(array("q", [column[index] for index in indices]) for column in self))
