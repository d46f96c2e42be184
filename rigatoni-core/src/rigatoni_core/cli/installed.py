"""The catalog as this command may use it: two environment variables say which plugins are imported at all."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rigatoni_core.catalog import Catalog

ALLOW, DENY = "RIGATONI_PLUGINS_ALLOW", "RIGATONI_PLUGINS_DENY"
"""Names of distributions, separated by commas. With `ALLOW` set only these, never those of `DENY`; core always."""


def catalog() -> "Catalog":
    """The installed plugins, less those that the lists leave out."""
    from rigatoni_core.catalog import Catalog

    allow = os.environ.get(ALLOW)
    return Catalog.discover(allow=None if allow is None else _names(allow), deny=_names(os.environ.get(DENY, "")))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
