"""Counts of this process that belong to no stream, such as the documents that an accelerator leaves to slower code.

A library registers a count when it is first used. `rigatoni status` and the exporters of metrics read all counts.
"""

from collections.abc import Callable, Mapping, Sequence

import attrs


@attrs.frozen(kw_only=True)
class ProcessCount:
    """A count by reason. It never decreases.

    Attributes:
        name: The name in dotted form, without a prefix, such as `accelerator.fallbacks`.
        meaning: What is counted.
        read: Returns the present numbers by reason. Called from any thread.
    """

    name: str
    meaning: str
    read: Callable[[], Mapping[str, int]]


_counts: dict[str, ProcessCount] = {}


def register_count(count: ProcessCount) -> None:
    """Add a count. A count with the same name is replaced.

    Args:
        count: The count.
    """
    _counts[count.name] = count


def process_counts() -> Sequence[ProcessCount]:
    """Return the registered counts by name."""
    return [_counts[name] for name in sorted(_counts)]
