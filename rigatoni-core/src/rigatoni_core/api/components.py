"""What a plugin's hook yields: the name of a component and how to get its class."""

from collections.abc import Callable
from typing import Any

import attrs


@attrs.frozen
class Component:
    """A named class that a plugin contributes, listed without importing it.

    `name` is what `type = "..."` says in a configuration; `load` imports and returns the class on first use;
    `summary` is one line for `rigatoni plugins list`.
    """

    name: str
    load: Callable[[], type[Any]]
    summary: str = ""
