"""The errors of this distribution. Messages never quote a value of an event."""

from rigatoni_core.api.errors import ConfigurationError, RigatoniError


class PathError(ConfigurationError, ValueError):
    """A path that cannot be parsed, or that can never match."""

    default_remedy = 'Write a path such as address.street, lines.*.price, or "name with a dot".given.'


class UnreadableEventError(RigatoniError):
    """The bytes of an event cannot be read, so nothing can be said about its fields."""

    default_remedy = "The event is rejected; on_rejected decides what becomes of it."
