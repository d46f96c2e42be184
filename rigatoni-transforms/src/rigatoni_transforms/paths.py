"""Paths of fields: `address.street`, `contacts.*.phone`, `"a name with dots".given`."""

from collections.abc import Iterable
from enum import Enum
from typing import Final, Literal, TypeAlias

import attrs

from rigatoni_transforms.errors import PathError

_EVENT_FIELDS = ("fullDocument", "fullDocumentBeforeChange", "updateDescription", "updatedFields", "documentKey")
_DEEPEST = 100
"""Levels of nesting that MongoDB allows ("BSON Document Nesting", limits of MongoDB)."""


class _Any(Enum):
    """The step `*`."""

    ANY = "*"


ANY: Final = _Any.ANY
"""The step `*`: every field of a document, every element of an array."""

Step: TypeAlias = str | Literal[_Any.ANY]


@attrs.frozen
class Path:
    """A path in the text of its option, and its steps from the top of a document."""

    text: str
    steps: tuple[Step, ...]

    @classmethod
    def parse(cls, text: str) -> "Path":
        """Parse the text of an option.

        Steps are separated by dots. A step is a name, `*`, or a name in double quotes, in which a backslash stands
        before a quote or a backslash. A name of digits is an element of an array as well as a field.

        Raises:
            PathError: It cannot be parsed, or can never match; the message says at which character.
        """
        steps: list[Step] = []
        place = 0
        while True:
            step, place = _step(text, place)
            steps.append(step)
            if place == len(text):
                break
            if text[place] != ".":
                raise _error(text, place, "expected a dot after the quoted name")
            place += 1
        if len(steps) > _DEEPEST:
            raise PathError(f'the path "{text}" has {len(steps)} steps; documents are nested up to {_DEEPEST} deep')
        if not text.startswith('"') and isinstance(steps[0], str):
            _refuse_event_field(text, steps[0])
        return cls(text, tuple(steps))

    def covers(self, other: "Path") -> bool:
        """Return whether every field that `other` names is a field of this path, or lies in one."""
        return len(self.steps) <= len(other.steps) and all(
            mine in (ANY, its) for mine, its in zip(self.steps, other.steps, strict=False)
        )


def parsed(texts: Iterable[str]) -> tuple[Path, ...]:
    """Parse the paths of an option.

    Raises:
        PathError: One cannot be parsed, or can never match because another one covers it.
    """
    paths = tuple(map(Path.parse, texts))
    for place, path in enumerate(paths):
        for earlier in paths[:place]:
            if earlier.steps == path.steps:
                raise PathError(f'the path "{path.text}" is given twice', remedy="Remove one of them.")
    for path in paths:
        for other in paths:
            if other is not path and other.covers(path) and len(other.steps) < len(path.steps):
                raise PathError(
                    f'the path "{path.text}" can never match: "{other.text}" already takes all of it',
                    remedy="Remove one of them.",
                )
    return paths


def _step(text: str, place: int) -> tuple[Step, int]:
    """Read one step. Return it, and where it ends."""
    if text.startswith('"', place):
        return _quoted(text, place)
    stop = text.find(".", place)
    stop = len(text) if stop < 0 else stop
    name = text[place:stop]
    if not name:
        raise _error(text, place, "expected a name, * or a quoted name")
    if name == "*":
        return ANY, stop
    for offset, character in enumerate(name):
        if character in '*"\0':
            shown = {"*": "a star", '"': "a quote", "\0": "a zero character"}[character]
            raise _error(text, place + offset, f"{shown} inside a name")
    if name != name.strip():
        raise _error(text, place, "a name begins or ends with white space; quote it if the field has this name")
    return name, stop


def _quoted(text: str, start: int) -> tuple[str, int]:
    name, place = "", start + 1
    while place < len(text):
        character = text[place]
        if character == '"':
            return name, place + 1
        if character == "\\":
            place += 1
            character = text[place : place + 1]
            if character not in ('"', "\\"):
                raise _error(text, place, "expected a quote or a backslash after the backslash")
        if character == "\0":
            raise _error(text, place, "a zero character inside a name")
        name, place = name + character, place + 1
    raise _error(text, start, "the quote is not closed")


def _refuse_event_field(text: str, first: str) -> None:
    """Paths are relative to the document: one that begins with a field of the event would match nothing."""
    if first in _EVENT_FIELDS:
        rest = text.partition(".")[2]
        while rest.partition(".")[0] in _EVENT_FIELDS:
            rest = rest.partition(".")[2]
        meant = f'Write "{rest}".' if rest else f"Name fields of the document; {first} is a field of the event."
        raise PathError(
            f'the path "{text}" can never match: paths are relative to the document, in all parts of an event',
            remedy=f'{meant} If documents have a field of the name {first}, quote it: "\\"{first}\\"".',
        )


def _error(text: str, place: int, what: str) -> PathError:
    return PathError(f'the path "{text}" cannot be parsed at character {place + 1}: {what}')
