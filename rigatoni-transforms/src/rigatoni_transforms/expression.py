"""Expressions over an event, in CEL (Common Expression Language, cel.dev)."""

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, Final, Literal

import attrs
from cel_expr_python import cel
from cel_expr_python.ext import ext_math, ext_optional, ext_strings

from rigatoni_transforms.errors import ExpressionError, ExpressionFailedError
from rigatoni_transforms.event_view import EventView

_ANYTHING = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
_TYPES: Mapping[str, Any] = {
    "operation": cel.Type.STRING,
    "database": cel.Type.STRING,
    "collection": cel.Type.STRING,
    "document": _ANYTHING,
    "before": _ANYTHING,
    "key": _ANYTHING,
    "update": _ANYTHING,
}
_RETURNS = {"bool": cel.Type.BOOL, "string": cel.Type.STRING}
_FOUND: Mapping[str, type] = {"bool": bool, "string": str}
_PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_MISSING = re.compile(r'Key not found in map : "(.*)"', re.DOTALL)
_FIELD = r"\s*(?:\.\s*\??\s*([A-Za-z_]\w*+)(?!\s*\()|\[\s*\??\s*(\"[^\"\\\n]*\"|'[^'\\\n]*')\s*\])"

Result = Literal["bool", "string"]


class Undecided:
    """The result of an expression that needs a part which the event does not have."""


UNDECIDED: Final = Undecided()


@attrs.frozen
class Expression:
    """A compiled expression. Thread-safe.

    Attributes:
        text: The expression as the user wrote it.
        variables: The variables that it names.
        fields: For variables of which only fields at the top are needed, the names of these fields.
    """

    text: str
    variables: frozenset[str]
    fields: Mapping[str, frozenset[str]]
    _result: Result
    _program: Any = attrs.field(repr=False)

    def evaluate(self, event: bytes) -> bool | str | Undecided:
        """Return the value of the expression for a raw event.

        Returns:
            A value of the expression's type; `UNDECIDED` if the event lacks a part, such as the document of a delete,
            on which the value depends.

        Raises:
            ExpressionFailedError: The expression fails on this event, or its value has another type.
            ValueError: The bytes of the event cannot be read.
        """
        values = EventView(event).values(self.variables, self.fields)
        found = self._program.eval(data=values)
        if found.type() == cel.Type.ERROR:
            if self.variables - values.keys():
                return UNDECIDED
            raise ExpressionFailedError(f"the expression failed: {self._reason(str(found.plain_value()))}")
        value: bool | str = found.value()
        if type(value) is not _FOUND[self._result]:
            raise ExpressionFailedError(f"the expression gave {found.type().name()}, not {self._result}")
        return value

    def _reason(self, message: str) -> str:
        """The message of the library, without values of the document."""
        missing = _MISSING.search(message)
        if missing and missing[1] in self.text:  # a name in the user's own words
            return f'a document has no field "{missing[1]}"'
        for known, words in (("No matching overloads", "a value has another type"), ("divide", "division by zero")):
            if known in message:
                return words
        return "it does not fit the values of this event"


@lru_cache
def compiled(text: str, result: Result) -> Expression:
    """Compile an expression.

    Args:
        text: The expression.
        result: The type of its value.

    Raises:
        ExpressionError: It cannot be compiled, or its value has another type; the message says where.
    """
    if "\0" in text:  # the library would stop reading there
        raise ExpressionError("the expression contains the character U+0000")
    try:
        program = _environment().compile(text)
    except Exception as error:  # the library raises RuntimeError; its bindings may raise others
        raise ExpressionError(_faults(str(error))) from None
    kind = program.return_type()
    if kind not in (_RETURNS[result], cel.Type.DYN):
        raise ExpressionError(f"the value of the expression is {kind.name()}; it must be {result}")
    variables = frozenset(name for name in _TYPES if _needs(text, name))
    fields = {name: found for name in variables if (found := _fields(text, name)) is not None}
    return Expression(text, variables, fields, result, program)


@cache
def _environment(without: str = "") -> Any:
    return cel.NewEnv(
        variables={name: kind for name, kind in _TYPES.items() if name != without},
        extensions=[ext_strings.ExtStrings(), ext_math.ExtMath(), ext_optional.ExtOptional()],
    )


def _needs(text: str, name: str) -> bool:
    """Return whether the expression names the variable: it does not compile without it."""
    try:
        _environment(name).compile(text)
    except Exception:
        return True
    return False


def _fields(text: str, name: str) -> frozenset[str] | None:
    """Return which fields of a variable are needed at most; None for all of it.

    The name in a text or as a field of another document only adds to them.
    """
    if name not in ("document", "before"):
        return None
    fields = set()
    for found in re.finditer(rf"\b{name}\b", text):
        field = re.compile(_FIELD).match(text, found.end())
        if field is None:
            return None
        fields.add(field[1] or field[2][1:-1])
    return frozenset(fields)


def _faults(message: str) -> str:
    places = _PLACE.findall(message)
    if not places:
        return "the expression cannot be compiled"
    faults = (f"line {line}, column {column}: {what.split(' (in container')[0]}" for line, column, what in places)
    return f"the expression cannot be compiled: {'; '.join(faults).removesuffix(' [INVALID_ARGUMENT]')}"
