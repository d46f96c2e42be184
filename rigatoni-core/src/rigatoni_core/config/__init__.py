"""Configuration: TOML becomes components, strictly, and every fault is reported at once.

The only room that reads settings files, secrets' files and the environment.
"""

from rigatoni_core.config.faults import Fault, InvalidConfigurationError
from rigatoni_core.config.file import PipelineConfiguration, load, structure
from rigatoni_core.config.options import Option, options_of

__all__ = [
    "Fault",
    "InvalidConfigurationError",
    "Option",
    "PipelineConfiguration",
    "load",
    "options_of",
    "structure",
]
