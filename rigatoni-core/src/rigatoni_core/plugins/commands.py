"""Lists the installed commands of plugins without importing them.

A command is a separate entry point (group `rigatoni.commands`), not a record from a hook. `rigatoni --help` lists all
commands. Hooks would import every plugin, and so triple the time of the help.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

GROUP = "rigatoni.commands"
"""The entry-point group. The name of an entry is the command's, and its value refers to the click command."""

BUILT_IN = ("run", "validate", "plugins", "state", "status", "completion")
"""The commands of rigatoni-core, in the order of the help. A plugin cannot replace them."""

INTERNAL = ("supervise",)
"""Hidden commands of plugins that the built-in ones call. Lists for people leave them out."""


class Entry(NamedTuple):
    """A command that an installed distribution registers.

    Args:
        name: The word after `rigatoni` on the command line.
        value: The module and the object in it, such as `rigatoni_acme.command:acme`.
        distribution: The normalized name of the distribution.
    """

    name: str
    value: str
    distribution: str


def canonical(name: str) -> str:
    """Return the normalized name of a distribution (PyPA, "Names and normalization")."""
    return re.sub(r"[-_.]+", "-", name).lower()


def entries() -> Iterator[Entry]:
    """Yield the commands of every distribution that is installed in a folder of the path.

    Reads the same files as `importlib.metadata`, whose import would take half the time of the help. Use it only to list
    names: the catalog finds and checks the commands that run.
    """
    seen: set[str] = set()
    for folder in sys.path:
        with suppress(OSError):  # not a readable folder
            for info in sorted(os.listdir(folder or ".")):  # noqa: PTH208 (a Path for each file takes twice the time)
                if info.endswith("-info") and (text := _entry_points(folder, info)):
                    distribution = canonical(info.partition("-")[0])
                    if distribution not in seen:  # only the first of several distributions with one name is used
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
