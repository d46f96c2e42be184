"""Times that people write, wherever a configuration or a command takes one."""

import time
from datetime import UTC, datetime

from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.api.events import Timestamp

_LAST = 2**32 - 1
"""Cluster times count seconds since 1970 in 32 bits (BSON specification, "Timestamp")."""


def parse_cluster_time(text: str) -> Timestamp:
    """Parses a point in time as the cluster time at which that second begins.

    Args:
        text: ISO 8601, such as `2026-11-23T14:00:00Z` or `2026-11-23`; UTC unless it has an offset.

    Returns:
        The cluster time, always in the past.

    Raises:
        ValueError: `text` is not a time, lies outside 1970 to 2106, or lies in the future. The message starts with the
            quoted text, so that callers put the option's name in front.
    """
    try:
        moment = datetime.fromisoformat(text)
        seconds = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise ValueError(f'"{text}" is not a time: write it like "2026-11-23T14:00:00Z"') from None
    if not 0 < seconds <= _LAST:
        raise ValueError(f'"{text}" is out of range: cluster times lie between 1970 and 2106')
    if seconds > time.time():
        raise ValueError(f'"{text}" lies in the future: use the present or a past time')
    return Timestamp(seconds, 0)


def parse_time(option: str, text: str) -> Timestamp:
    """Parses the value of a command-line option as `parse_cluster_time` does.

    Args:
        option: The name of the option, such as `--since`.
        text: Its value.

    Returns:
        The cluster time.

    Raises:
        ConfigurationError: `parse_cluster_time` does not take the value.
    """
    try:
        return parse_cluster_time(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{option} {error}", remedy=f"Give a past time in UTC, such as {option} 2026-11-23T14:00:00Z."
        ) from None
