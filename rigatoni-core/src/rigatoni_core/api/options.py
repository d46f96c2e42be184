"""Types of options that need more than a TOML value: secrets, sizes in bytes, durations in seconds.

A component's options are the public fields of its attrs class. The text in `Annotated[type, "text"]` is their help::

    @attrs.define(kw_only=True)
    class AcmeDestination(Destination):
        uri: Annotated[Secret, "Where Acme listens"]
        part_size: Annotated[ByteSize, "Bytes per part"] = ByteSize(8 * 1024**2)

`attrs.field(default=..., metadata={RECOMMENDED: value})` names the value that `rigatoni init` writes into a new file,
where it serves most users better than the default.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from fractions import Fraction
from typing import Annotated, NewType

import attrs

RECOMMENDED = "rigatoni.recommended"
"""The key of an option's metadata that holds the value for new files."""

ByteSize = NewType("ByteSize", int)
"""A number of bytes; a configuration may also say `"8 MiB"`, `"500 kB"`."""

Seconds = Annotated[float, timedelta]
"""A number of seconds; a configuration may also say `"5 s"`, `"2 min"`. In Python it is a `float`."""

SIZES = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
"""The units of sizes in bytes, those of powers of 1000 first."""

DURATIONS = {"": 1.0, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
"""The units of durations in seconds, the shortest first."""


def parse_size(text: str) -> ByteSize:
    """Parse a size such as `"8 MiB"`.

    Args:
        text: A number of bytes, or a number and one of kB, MB, GB (powers of 1000), KiB, MiB, GiB (powers of 1024).

    Returns:
        The size in bytes.

    Raises:
        ValueError: It is not a size. The message lists the units.
    """
    return ByteSize(int(_quantity(text, SIZES, 'a size such as 1048576 or "1 MiB"')))


def parse_duration(text: str) -> float:
    """Parse a duration such as `"5 s"`, `"2 min"` or `"1.5 h"`.

    Args:
        text: A number of seconds, or a number and one of ms, s, min, h, d.

    Returns:
        The duration in seconds.

    Raises:
        ValueError: It is not a duration. The message lists the units.
    """
    return float(_quantity(text, DURATIONS, 'a duration such as 90, "90 s" or "1.5 min"'))


def _quantity(text: str, units: Mapping[str, float], expected: str) -> Fraction:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2] not in units:
        raise ValueError(f"must be {expected}, not {text!r}; the units are {', '.join(filter(None, units))}")
    return Fraction(match[1]) * Fraction(str(units[match[2]]))


def texts(value: Iterable[str]) -> tuple[str, ...]:
    """Convert an option that holds several texts.

    Args:
        value: The texts.

    Returns:
        The texts as a tuple.

    Raises:
        TypeError: It is a single text.
    """
    if isinstance(value, str):
        raise TypeError(f"it is a list of texts: write [{value!r}]")
    return tuple(value)


@attrs.frozen(repr=False)
class Secret:
    """A string that no repr, log or error shows. `origin` says where it came from, for messages."""

    _value: str
    origin: str = attrs.field(default="", eq=False)

    def reveal(self) -> str:
        """Return the secret: pass it only to the client library."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.origin or 'hidden'})"

    __str__ = __repr__
