"""The address of Redis: one URL, which names several hosts if they are nodes of a cluster, or Sentinels.

The grammar is that of redis-py (`redis.asyncio.connection.parse_url`, with all its query options), extended by a list
of hosts as in MongoDB's URIs: `redis://user:password@a:6379,b:6379/0`. No message quotes the URL, because it holds
secrets.
"""

import re
from collections.abc import Mapping
from typing import Any, Self

import attrs
from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.exceptions import RedisError

SCHEMES = ("redis", "rediss", "unix")
DEFAULTS: Mapping[str, Any] = {
    "protocol": 2,  # RESP3 only adds push messages (maintenance, invalidation), which this store does not use
    "socket_timeout": 5.0,
    "socket_connect_timeout": 5.0,
    "max_connections": 32,
}


@attrs.frozen(repr=False)
class Address:
    """The hosts of a URL, and redis-py's arguments for a connection to one of them.

    `arguments` holds the secrets; `str()` names only the hosts.
    """

    hosts: tuple[tuple[str, int | None], ...]
    arguments: Mapping[str, Any]
    encrypted: bool

    @classmethod
    def parse(cls, url: str, option: str) -> Self:
        """Parse a URL.

        Args:
            url: The URL, with its secrets.
            option: The name of the option that holds it, for messages.

        Raises:
            ValueError: The URL is invalid. The message never quotes it.
        """
        scheme, _, rest = url.partition("://")
        if scheme not in SCHEMES:
            found = f"begins with {scheme}://" if "://" in url else "has no scheme"
            raise ValueError(f"{option} {found}: write redis://host:6379/0, rediss://host:6379/0 or unix:///socket")
        authority = re.split("[/?]", rest, maxsplit=1)[0]
        path = rest[len(authority) :]
        if "#" in rest or "@" in path:
            raise ValueError(f"{option} cannot be read: percent-encode / ? # : @ in user names and passwords")
        user, at, hosts = authority.rpartition("@")
        names = hosts.split(",") if scheme != "unix" else [hosts]
        parsed = [_parse(f"{scheme}://{user}{at}{name}{path}", option) for name in names]
        if scheme != "unix" and not re.fullmatch(r"/?|/\d+", path.partition("?")[0]):
            raise ValueError(f"{option} has a database that is not a number: write redis://host:6379/0")
        places = tuple((one.get("host", one.get("path", "localhost")), one.get("port")) for one in parsed)
        arguments = {**DEFAULTS, **parsed[0]}
        kind = arguments.pop("connection_class", Connection)
        _check_options(kind, arguments, option)
        for place in ("host", "port"):
            arguments.pop(place, None)
        return cls(places, arguments, kind is SSLConnection)

    def __str__(self) -> str:
        return ",".join(f"{host}:{port}" if port else host for host, port in self.hosts)

    __repr__ = __str__

    def at(self, default_port: int) -> list[tuple[str, int]]:
        """Return the hosts, each with its port."""
        return [(host, port or default_port) for host, port in self.hosts]


def _check_options(kind: type[Any], arguments: Mapping[str, Any], option: str) -> None:
    """Let redis-py check the query options. It creates a connection object, but does not connect."""
    try:
        kind(**{name: value for name, value in arguments.items() if name != "max_connections"})
    except TypeError as error:
        _, _, unknown = str(error).rpartition("keyword argument ")
        raise ValueError(f"{option} has the query option {unknown}, which redis-py does not have") from None
    except (ValueError, RedisError) as error:
        raise ValueError(f"{option} has a query option that redis-py rejects: {error}") from None


def _parse(url: str, option: str) -> dict[str, Any]:
    try:
        return dict(parse_url(url))
    except ValueError as error:
        known = str(error) if str(error).startswith("Invalid value for") else "its port is not a number"
        raise ValueError(
            f"{option} cannot be read: {known}. Percent-encode / ? # : @ in user names and passwords"
        ) from None
