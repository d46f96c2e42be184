"""Configuration: TOML becomes components, strictly, and every fault is reported at once.

The only room that reads settings files, secrets' files and the environment.
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
