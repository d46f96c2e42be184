"""The catalog of this command, limited by the lists of plugins in the environment and the file."""

from pathlib import Path
from typing import TYPE_CHECKING

from rigatoni_core.plugins.installed import allowed, denied, installed_plugins

if TYPE_CHECKING:
    from rigatoni_core.plugins.catalog import Catalog

COMMAND_OF = "rigatoni_core.command_of"
"""The key of click's `Context.meta` that holds the distribution of the command, if it is a plugin's."""


def catalog(file: Path | None = None) -> "Catalog":
    """Return the installed plugins, except those that the environment or the file's table `[plugins]` excludes."""
    if file is None:
        return installed_plugins()
    from rigatoni_core.config import PluginLists, plugin_lists
    from rigatoni_core.plugins.catalog import Catalog

    lists = PluginLists(allowed(), denied()) & plugin_lists(file)
    return Catalog.discover(allow=lists.allow, deny=lists.deny)
