"""Times in the command line's options."""

from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.api.events import Timestamp
from rigatoni_core.api.times import parse_cluster_time


def parse_time(option: str, text: str) -> Timestamp:
    """Parses the value of a command-line option as `parse_cluster_time` does. Raises `ConfigurationError`."""
    try:
        return parse_cluster_time(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{option} {error}", remedy=f"Give a past time in UTC, such as {option} 2026-11-23T14:00:00Z."
        ) from None
