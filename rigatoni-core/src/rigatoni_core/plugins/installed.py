"""The installed plugins that the environment allows."""

import os
from typing import TYPE_CHECKING

from rigatoni_core.plugins.commands import canonical

if TYPE_CHECKING:
    from rigatoni_core.plugins.catalog import Catalog

ALLOW, DENY = "RIGATONI_PLUGINS_ALLOW", "RIGATONI_PLUGINS_DENY"
"""Names of distributions, separated by commas. With `ALLOW` set only these, never those of `DENY`; core always."""


def allowed() -> list[str] | None:
    """Return the names in `ALLOW`; None if it is not set."""
    names = os.environ.get(ALLOW)
    return None if names is None else _names(names)


def denied() -> list[str]:
    """Return the names in `DENY`."""
    return _names(os.environ.get(DENY, ""))


def is_allowed(distribution: str) -> bool:
    """Return whether the environment allows importing this distribution.

    Args:
        distribution: Its normalized name.
    """
    allow = allowed()
    return distribution not in map(canonical, denied()) and (allow is None or distribution in map(canonical, allow))


def installed_plugins() -> "Catalog":
    """Return the installed plugins, except those that the environment excludes."""
    from rigatoni_core.plugins.catalog import Catalog

    return Catalog.discover(allow=allowed(), deny=denied())


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
