"""The catalog of this command, limited by the lists of plugins in the environment and the file."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rigatoni_core.plugins.commands import canonical

if TYPE_CHECKING:
    from rigatoni_core.plugins.catalog import Catalog

ALLOW, DENY = "RIGATONI_PLUGINS_ALLOW", "RIGATONI_PLUGINS_DENY"
"""Names of distributions, separated by commas. With `ALLOW` set only these, never those of `DENY`; core always."""

COMMAND_OF = "rigatoni_core.command_of"
"""The key of click's `Context.meta` that holds the distribution of the command, if it is a plugin's."""


def is_allowed(distribution: str) -> bool:
    """Return whether the environment allows importing this distribution.

    Args:
        distribution: Its normalized name.
    """
    allow, deny = os.environ.get(ALLOW), os.environ.get(DENY, "")
    return distribution not in map(canonical, _names(deny)) and (
        allow is None or distribution in map(canonical, _names(allow))
    )


def catalog(file: Path | None = None) -> "Catalog":
    """Return the installed plugins, except those that the environment or the file's table `[plugins]` excludes."""
    from rigatoni_core.plugins.catalog import Catalog

    allow, deny = os.environ.get(ALLOW), _names(os.environ.get(DENY, ""))
    if file is None:
        return Catalog.discover(allow=None if allow is None else _names(allow), deny=deny)
    from rigatoni_core.config import PluginLists, plugin_lists

    lists = PluginLists(None if allow is None else _names(allow), deny) & plugin_lists(file)
    return Catalog.discover(allow=lists.allow, deny=lists.deny)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
