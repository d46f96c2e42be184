"""Deviations of events from a schema, and what is done about each kind."""

import enum
import re
from collections.abc import Mapping

import attrs

from rigatoni_transforms.errors import DeviationError, SchemaStopError
from rigatoni_transforms.fields import Steps

_PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]{0,63}").fullmatch


class Deviation(enum.Enum):
    """The kinds. The value is the name of the option."""

    NEW_FIELD = "new_field"
    MISSING_FIELD = "missing_field"
    OTHER_TYPE = "other_type"
    OTHER_VALUE = "other_value"
    NEW_COLLECTION = "new_collection"


_WORDS = {
    Deviation.NEW_FIELD: "the schema does not have the field {}",
    Deviation.MISSING_FIELD: "the required field {} is missing",
    Deviation.OTHER_TYPE: "the field {} has another type than in the schema",
    Deviation.OTHER_VALUE: "the field {} has a value beyond the limits of the schema",
    Deviation.NEW_COLLECTION: "the collection has no schema",
}


@attrs.frozen
class Actions:
    """What is done about each kind of deviation."""

    of: Mapping[Deviation, str]


@attrs.define
class Look:
    """A look at one event.

    Attributes:
        collection: The collection of the event.
        dropped: Whether the event is dropped.
        passed: The deviations that pass, in words.
    """

    _actions: Actions
    collection: str
    dropped: bool = False
    passed: set[str] = attrs.field(factory=set)
    _lenient: bool = False

    def lenient(self) -> "Look":
        """Return a look at the document before the change: values are left out of it, and it never rejects."""
        return Look(self._actions, self.collection, lenient=True)

    def finds(self, deviation: Deviation, path: Steps) -> bool:
        """Note a deviation. Return whether the value at this place is left out.

        Raises:
            DeviationError: The event is rejected.
            SchemaStopError: The worker stops.
        """
        action = self._actions.of[deviation]
        drops = action == "drop_value" and path != (b"_id",)
        if self._lenient or drops:
            return drops
        if action == "drop_event":
            self.dropped = True
            return False
        text = f"{self.collection}: {_WORDS[deviation].format(_shown(path))}"
        if action == "evolve":
            self.passed.add(text)
            return False
        if action == "stop":
            raise SchemaStopError(text)
        raise DeviationError(text)


def _shown(path: Steps) -> str:
    """A path for messages. Names that may be data, such as addresses as keys, are not shown."""
    steps = []
    for step in path:
        name = "*" if isinstance(step, int) else step.decode(errors="replace")
        steps.append(name if name == "*" or _PLAIN(name) else "…")
    return f'"{".".join(steps)}"'
