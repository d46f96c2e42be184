"""Types of options that need more than a TOML value: secrets, sizes in bytes.

A component's options are the public fields of its attrs class. The text in `Annotated[type, "text"]` is their help:

    @attrs.define(kw_only=True)
    class AcmeDestination(Destination):
        uri: Annotated[Secret, "Where Acme listens"]
        part_size: Annotated[ByteSize, "Bytes per part"] = ByteSize(8 * 1024**2)

`attrs.field(default=..., metadata={RECOMMENDED: value})` names the value that `rigatoni init` writes into a new file,
where it serves most users better than the default.
"""

import re
from collections.abc import Iterable
from typing import NewType

import attrs

RECOMMENDED = "rigatoni.recommended"
"""The key of an option's metadata that holds the value for new files."""

ByteSize = NewType("ByteSize", int)
"""A number of bytes; a configuration may also say `"8 MiB"`, `"500 kB"`."""

_UNITS = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def parse_size(text: str) -> ByteSize:
    """Parse a size such as `"8 MiB"`.

    Args:
        text: A number of bytes, or a number and one of kB, MB, GB (powers of 1000), KiB, MiB, GiB (powers of 1024).

    Returns:
        The size in bytes.

    Raises:
        ValueError: It is not a size. The message lists the units.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2] not in _UNITS:
        raise ValueError(
            f"{text!r} is not a size: write a number of bytes, or a number and one of kB, MB, GB, KiB, MiB, GiB"
        )
    return ByteSize(int(float(match[1]) * _UNITS[match[2]]))


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
