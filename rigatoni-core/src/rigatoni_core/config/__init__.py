"""Configuration: builds components from TOML, strictly, and reports all errors together.

The only module that reads settings files, secret files and the environment.
"""

from rigatoni_core.config.cli_values import CliValue, Override, parse_override
from rigatoni_core.config.faults import Fault, InvalidConfigurationError, KeyPath
from rigatoni_core.config.file import load, load_all, structure
from rigatoni_core.config.plugins import PluginLists, plugin_lists
from rigatoni_core.plugins.component_options import Option, options_of

__all__ = [
    "CliValue",
    "Fault",
    "InvalidConfigurationError",
    "KeyPath",
    "Option",
    "Override",
    "PluginLists",
    "load",
    "load_all",
    "options_of",
    "parse_override",
    "plugin_lists",
    "structure",
]
