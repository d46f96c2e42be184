"""Errors of Redis, classified by their remedy, and the translation of redis-py's exceptions.

StateStoreError
  RedisStateError               the server responded with an error that a retry does not fix
    RedisConfigurationError       the options do not fit the server
    RedisCredentialsError         the user name or password is wrong or missing
    RedisRightsError              the ACL user lacks a right
    RedisForeignKeyError          one of Rigatoni's keys holds data that Rigatoni has not written
    RedisUnavailableError         the server does not respond, or cannot serve the command now (transient)
      RedisReadOnlyError            the server is a replica (transient: a failover may be in progress)
      RedisMemoryError              the server's memory is full (transient)
      RedisReplicationError         too few replicas confirmed the write (transient)
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from redis import exceptions as redis
from redis.asyncio.sentinel import MasterNotFoundError
from rigatoni_core.api.errors import StateStoreError, Transient

ACL = (
    "ACL SETUSER rigatoni on >PASSWORD ~rigatoni:* resetchannels -@all +eval +get +set +del +scan +exists +pexpire "
    "+rpush +zadd +zrem +zremrangebyscore +zcard +time +wait +info +config|get +select +ping +command +cluster|slots"
)
"""The command that grants the necessary permissions. A test runs the store as this user."""


class RedisStateError(StateStoreError):
    """Redis rejects an operation for a reason that has no class of its own."""

    id = "redis-state"


class RedisConfigurationError(RedisStateError):
    """The options do not fit the server, or each other."""

    id = "redis-configuration"


class RedisCredentialsError(RedisStateError):
    """Redis rejects the user name or the password."""

    id = "redis-credentials"
    default_remedy = "Check the user name and password in url; percent-encode / ? # : @ in them."


class RedisRightsError(RedisStateError):
    """The user has no permission for a command, a key or a channel."""

    id = "redis-rights"
    default_remedy = f"Grant the permissions, with your prefix: {ACL}"


class RedisForeignKeyError(RedisStateError):
    """A key of this pipeline holds something that Rigatoni has not written."""

    id = "redis-foreign-key"
    default_remedy = "Set prefix or the database number to one that only Rigatoni uses. Nothing was changed."


class RedisUnavailableError(RedisStateError, Transient):
    """Redis does not respond, or its cluster is down."""

    id = "redis-unavailable"
    default_remedy = "Check that Redis runs and is reachable from this host. A running stream retries."


class RedisReadOnlyError(RedisUnavailableError):
    """The server is a replica, or has just become one."""

    id = "redis-read-only"
    default_remedy = (
        "Wait for the failover to end. If the error persists, url names a replica: name the master, or set sentinels."
    )


class RedisMemoryError(RedisUnavailableError):
    """Redis has reached `maxmemory`."""

    id = "redis-memory"
    default_remedy = "Raise maxmemory or remove other keys. Nothing was changed; Rigatoni retries."


class RedisReplicationError(RedisUnavailableError):
    """Fewer replicas than `wait_replicas` confirmed a write in time."""

    id = "redis-replication"
    default_remedy = "Check the replicas, or lower wait_replicas to their number. Rigatoni retries."


_TYPES: tuple[tuple[type[Exception] | tuple[type[Exception], ...], type[RedisStateError], str], ...] = (
    ((redis.AuthenticationError, redis.AuthorizationError), RedisCredentialsError, ""),
    (redis.AuthenticationWrongNumberOfArgsError, RedisCredentialsError, ""),
    (redis.NoPermissionError, RedisRightsError, ""),
    (redis.OutOfMemoryError, RedisMemoryError, ""),
    (redis.ReadOnlyError, RedisReadOnlyError, ""),
    ((redis.ClusterDownError, redis.TryAgainError), RedisUnavailableError, ""),
    (
        (redis.AskError, redis.ClusterCrossSlotError),
        RedisConfigurationError,
        "The server belongs to a Redis Cluster: set cluster = true.",
    ),
    (
        MasterNotFoundError,
        RedisUnavailableError,
        "Check the service name (the host in url) and that the Sentinels are reachable. Rigatoni retries.",
    ),
    ((redis.ConnectionError, redis.TimeoutError, redis.ClusterError), RedisUnavailableError, ""),
)
"""redis-py's types and their translations; the first that matches applies. An empty remedy means the default."""

_CODES: Mapping[str, tuple[type[RedisStateError], str]] = {
    "MISCONF": (RedisUnavailableError, "Check the server's log and disk: Redis cannot save its data."),
    "NOREPLICAS": (RedisReplicationError, "Check the replicas: fewer than min-replicas-to-write are connected."),
    "BUSY": (RedisUnavailableError, "End the script that blocks the server with SCRIPT KILL."),
    "WRONGTYPE": (RedisForeignKeyError, ""),
}
"""Error codes without a type: the first word of the reply (Redis protocol specification, "Simple errors")."""


@contextmanager
def translated(what: str, where: str) -> Iterator[None]:
    """Translate redis-py's exceptions in this block.

    Args:
        what: The attempted operation, as a phrase that follows "cannot".
        where: The hosts.

    Raises:
        RedisStateError: The operation failed.
    """
    try:
        yield
    except (redis.RedisError, redis.RedisClusterException) as error:
        raise _translation(error, f"cannot {what} in Redis at {where}") from error


def _translation(error: Exception, what: str) -> RedisStateError:
    text = _message_of(error)
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return RedisConfigurationError(
                f"{what}: its certificate is not trusted: {cause.verify_message}",
                remedy="Name the certificate authority: rediss://…?ssl_ca_certs=/path/ca.pem",
            )
    for types, kind, remedy in _TYPES:
        if isinstance(error, types):
            return kind(f"{what}: {text}", remedy=remedy)
    if isinstance(error, redis.RedisClusterException):
        return _cluster_translation(error, what, text)
    kind, remedy = _CODES.get(str(error).partition(" ")[0], (RedisStateError, ""))
    return kind(f"{what}: {text}", remedy=remedy)


def _cluster_translation(error: Exception, what: str, text: str) -> RedisStateError:
    """Translate an error about a whole cluster. Its cause is the error that prevented the discovery of the nodes."""
    for cause in _causes(error):
        if type(cause) is redis.ResponseError:
            remedy = "Remove cluster = true, or name nodes of a cluster."
            return RedisConfigurationError(f"{what}: {_message_of(cause)}", remedy=remedy)
        if isinstance(cause, redis.RedisError):
            return _translation(cause, what)
    return RedisUnavailableError(f"{what}: {text}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen = error.__cause__ or error.__context__
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _message_of(error: Exception) -> str:
    """Return the text without the clients that redis-py lists."""
    return (str(error) or type(error).__name__).partition(" : <")[0].rstrip(".")
