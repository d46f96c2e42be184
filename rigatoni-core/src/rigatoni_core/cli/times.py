"""Times that people type."""

from datetime import UTC, datetime

from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.api.events import Timestamp


def parse_time(option: str, text: str) -> Timestamp:
    """`2026-11-23T14:00:00Z` as a cluster time; without a zone it is UTC. Raises `ConfigurationError`."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"{option} {text}: this is no time", remedy=f"Write it as in {option} 2026-11-23T14:00:00Z."
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not 0 < moment.timestamp() < 2**32:
        raise ConfigurationError(
            f"{option} {text}: cluster times lie between 1970 and 2106", remedy="Name another time."
        )
    if moment > datetime.now(UTC):
        raise ConfigurationError(
            f"{option} {text} lies in the future",
            remedy="A stream can not begin there: name the present or a past time.",
        )
    return Timestamp(int(moment.timestamp()), 0)
