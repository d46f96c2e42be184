"""Configuration: builds components from TOML, strictly, and reports all errors together.

The only module that reads settings files, secret files and the environment. What this package exports is public:
programs load files with it, and commands describe or write files with it.
"""

from rigatoni_core.config.cli_values import CliValue, Override, parse_override
from rigatoni_core.config.faults import Fault, InvalidConfigurationError, KeyPath, spelled
from rigatoni_core.config.file import PipelineTable, load, load_all, structure
from rigatoni_core.config.plugins import PluginLists, plugin_lists
from rigatoni_core.plugins.catalog import CORE, Catalog, Plugin, Provided
from rigatoni_core.plugins.component_options import (
    CONTRACTS,
    Option,
    bare,
    help_of,
    options_of,
    spelled_value,
    words_of,
)
from rigatoni_core.plugins.installed import installed_plugins

__all__ = [
    "CONTRACTS",
    "CORE",
    "Catalog",
    "CliValue",
    "Fault",
    "InvalidConfigurationError",
    "KeyPath",
    "Option",
    "Override",
    "PipelineTable",
    "Plugin",
    "PluginLists",
    "Provided",
    "bare",
    "help_of",
    "installed_plugins",
    "load",
    "load_all",
    "options_of",
    "parse_override",
    "plugin_lists",
    "spelled",
    "spelled_value",
    "structure",
    "words_of",
]
