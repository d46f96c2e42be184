"""Where the optional accelerator is looked for, and nowhere else.

`rigatoni-native` is a distribution of its own that does what this library does, to the letter, several times faster.
"""

from collections.abc import Sequence
from typing import Protocol


class Accelerator(Protocol):
    """What is used of `rigatoni_native`; its own documentation says what each does."""

    def json_lines(
        self, buffer: bytes, offsets: Sequence[int], mode: str, /
    ) -> tuple[bytes, list[tuple[int, int]]]: ...


def find_accelerator() -> Accelerator | None:
    """The accelerator; None where it is not installed: nothing is missing then."""
    try:
        import rigatoni_native
    except ImportError:
        return None
    found: Accelerator = rigatoni_native
    return found
