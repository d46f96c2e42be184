"""The installed commands of plugins, found without importing them.

A command is an entry point of its own (group `rigatoni.commands`), not a record that a hook yields. `rigatoni --help`
must name all commands, and asking hooks would import every plugin: twice the time of the whole help.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

GROUP = "rigatoni.commands"
"""The entry-point group: the name is the command's, the value says where its click command is."""

BUILT_IN = ("run", "validate", "plugins", "state", "status", "completion")
"""The commands of rigatoni-core, in the order of the help. A plugin cannot replace them."""


class Entry(NamedTuple):
    """A command that an installed distribution registers.

    Args:
        name: What follows `rigatoni` on the command line.
        value: The module and the object in it, such as `rigatoni_acme.command:acme`.
        distribution: The normalized name of the distribution.
    """

    name: str
    value: str
    distribution: str


def canonical(name: str) -> str:
    """Return a distribution's name as PyPA's "Names and normalization" has it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def entries() -> Iterator[Entry]:
    """Yield the commands of every distribution that is installed in a folder of the path.

    Reads the files that `importlib.metadata` reads; importing that module alone takes as long as half of the help. Only
    for listing names: what is used is found by the catalog, which checks it.
    """
    seen: set[str] = set()
    for folder in sys.path:
        with suppress(OSError):  # not a folder that can be read
            for info in sorted(os.listdir(folder or ".")):  # noqa: PTH208 (a Path for each file takes twice the time)
                if info.endswith("-info") and (text := _entry_points(folder, info)):
                    distribution = canonical(info.partition("-")[0])
                    if distribution not in seen:  # of one name, only the first on the path counts
                        seen.add(distribution)
                        yield from _entries_in(text, distribution)


def _entry_points(folder: str, info: str) -> str:
    with suppress(OSError), open(os.path.join(folder, info, "entry_points.txt"), "rb") as file:  # noqa: PTH118, PTH123
        return file.read().decode("utf-8", "replace")
    return ""


def _entries_in(text: str, distribution: str) -> Iterator[Entry]:
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line.strip("[]")
        elif section == GROUP and line and line[0] != "#":
            name, _, value = line.partition("=")
            yield Entry(name.strip(), value.partition("[")[0].strip(), distribution)
