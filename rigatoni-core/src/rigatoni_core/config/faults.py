"""Configuration errors: each with its key path, all in one exception."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
from cattrs.errors import AttributeValidationNote, BaseValidationError, IterableValidationNote

from rigatoni_core.api.errors import ConfigurationError, RigatoniError
from rigatoni_core.plugins.component_options import spelled_key

KeyPath = tuple[str | int, ...]
"""Keys of tables and indices of lists, from the top of the file."""


@attrs.frozen
class Fault:
    """One error: its place (`line` counts from 1, None if unknown) and a message."""

    path: KeyPath
    message: str
    line: int | None = None
    file: str = ""

    @property
    def key(self) -> str:
        """The key path in TOML syntax, such as `pipeline.source.watch[1]`."""
        return spelled(self.path)


class InvalidConfigurationError(ConfigurationError):
    """The file has errors: `details` has them as records, `faults` as lines of text."""

    id = "invalid-configuration"

    def __init__(self, where: str, details: Iterable[Fault]) -> None:
        self.details = tuple(sorted(details, key=lambda fault: (fault.file, fault.line or 0)))
        lines = tuple(
            f"{fault.file or where}{f':{fault.line}' if fault.line else ''}: {fault.key}: {fault.message}"
            for fault in self.details
        )
        count = "1 fault" if len(lines) == 1 else f"{len(lines)} errors"
        super().__init__(
            "\n  ".join((f"{count} in {where}", *lines)),
            remedy=f"Correct {'it' if len(lines) == 1 else 'them'}: `rigatoni plugins show NAME` explains the options "
            f"of a component. Then run: rigatoni validate {where}",
            faults=lines,
        )


class Refused(ValueError):
    """A value that is not accepted; `below` is the path from where it is raised to the value."""

    def __init__(self, message: str, *below: str | int) -> None:
        super().__init__(message)
        self.below = below


def faults_of(error: BaseException, path: KeyPath) -> Iterator[Fault]:
    """Yield every error inside an exception raised while the value at `path` was structured."""
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            yield from faults_of(inner, path + _step(inner))
    elif isinstance(error, Refused):
        yield Fault(path + error.below, str(error))
    else:
        yield Fault(path, in_words(error))


def in_words(error: BaseException) -> str:
    """Return the message of an error from a constructor or validator, with its remedy if any."""
    if isinstance(error, RigatoniError):
        text = str(error)
        return f"{text}{'' if text.endswith(('.', '?')) else '.'} {error.remedy}" if error.remedy else text
    return str(error.args[0]) if error.args else type(error).__name__  # attrs hands further arguments to its errors


def spelled(path: KeyPath) -> str:
    """Return a key path in TOML syntax."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += "." + spelled_key(step)
    return text.removeprefix(".")


def nearest(word: Any, valid: Iterable[Any]) -> str:
    """Return a hint at the nearest valid word, to append to a message; empty if none is near."""
    words = {str(choice).lower(): str(choice) for choice in valid}
    near = difflib.get_close_matches(str(word).lower().replace("-", "_"), words, n=1)
    return f'; did you mean "{words[near[0]]}"?' if near else ""


def _step(error: BaseException) -> KeyPath:
    """Return the key or index below which the error was raised, as cattrs records it."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return (note.name,)
        if isinstance(note, IterableValidationNote):
            return (note.index,)
    return ()
