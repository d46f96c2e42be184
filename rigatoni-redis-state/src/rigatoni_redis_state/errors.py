"""What can go wrong at Redis, by what the reader can do about it, and the translation of redis-py's exceptions.

StateStoreError
  RedisStateError               the server answered what trying again will not mend
    RedisConfigurationError       the options do not fit the server
    RedisCredentialsError         user name or password are wrong or missing
    RedisRightsError              the ACL user lacks a right
    RedisForeignKeyError          something that is not ours stands under our key
    RedisUnavailableError         no answer, or not the one that is needed, for now (transient)
      RedisReadOnlyError            the server is a replica (transient: a failover ends)
      RedisMemoryError              the server's memory is full (transient)
      RedisReplicationError         too few replicas have the write (transient)
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
"""The rights that are needed, as a command; a test runs the store as this user."""


class RedisStateError(StateStoreError):
    """Redis refuses an operation for a reason that has no class of its own."""

    id = "redis-state"


class RedisConfigurationError(RedisStateError):
    """The options do not fit the server, or each other."""

    id = "redis-configuration"


class RedisCredentialsError(RedisStateError):
    """Redis rejects the user name or the password."""

    id = "redis-credentials"
    default_remedy = "Check user name and password in the url; percent-encode / ? # : @ in them."


class RedisRightsError(RedisStateError):
    """The user has no permission for a command, a key or a channel."""

    id = "redis-rights"
    default_remedy = f"Grant them, with your prefix: {ACL}"


class RedisForeignKeyError(RedisStateError):
    """A key of this pipeline holds something that Rigatoni has not written."""

    id = "redis-foreign-key"
    default_remedy = "Nothing was changed. Give Rigatoni a prefix, or a database, of its own."


class RedisUnavailableError(RedisStateError, Transient):
    """Redis does not respond, or its cluster is down."""

    id = "redis-unavailable"
    default_remedy = "Check that Redis runs and can be reached from here; a running stream asks again by itself."


class RedisReadOnlyError(RedisUnavailableError):
    """The server is a replica, or has just become one."""

    id = "redis-read-only"
    default_remedy = (
        "A failover ends by itself. If it lasts, the url names a replica: name the master, or use sentinels."
    )


class RedisMemoryError(RedisUnavailableError):
    """Redis has reached `maxmemory`."""

    id = "redis-memory"
    default_remedy = "Raise maxmemory or remove other keys; nothing was changed, and it is tried again."


class RedisReplicationError(RedisUnavailableError):
    """Fewer replicas than `wait_replicas` confirmed a write in time."""

    id = "redis-replication"
    default_remedy = "Look at the replicas; it is tried again. Lower wait_replicas if there are not that many."


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
        "Check the service's name (the url's host) and that the Sentinels can be reached; they are asked again.",
    ),
    ((redis.ConnectionError, redis.TimeoutError, redis.ClusterError), RedisUnavailableError, ""),
)
"""redis-py's types, the first that fits, with a remedy of their own."""

_CODES: Mapping[str, tuple[type[RedisStateError], str]] = {
    "MISCONF": (RedisUnavailableError, "Redis cannot save its data to disk: look at its log and its disk."),
    "NOREPLICAS": (RedisReplicationError, "Fewer replicas than min-replicas-to-write: look at them."),
    "BUSY": (RedisUnavailableError, "Somebody's script occupies the server: SCRIPT KILL ends it."),
    "WRONGTYPE": (RedisForeignKeyError, ""),
}
"""Error codes (the first word of the answer; Redis protocol specification, "Simple errors") that have no type."""


@contextmanager
def translated(what: str, where: str) -> Iterator[None]:
    """Within this block redis-py's exceptions become ours; `what` says in words what was tried, `where` the hosts."""
    try:
        yield
    except (redis.RedisError, redis.RedisClusterException) as error:
        raise _translation(error, f"cannot {what} in Redis at {where}") from error


def _translation(error: Exception, what: str) -> RedisStateError:
    text = _sayable(error)
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return RedisConfigurationError(
                f"{what}: its certificate is not trusted: {cause.verify_message}",
                remedy="Name the authority that signed it: rediss://…?ssl_ca_certs=/path/ca.pem",
            )
    for types, kind, remedy in _TYPES:
        if isinstance(error, types):
            return kind(f"{what}: {text}", remedy=remedy)
    if isinstance(error, redis.RedisClusterException):
        return _cluster(error, what, text)
    kind, remedy = _CODES.get(str(error).partition(" ")[0], (RedisStateError, ""))
    return kind(f"{what}: {text}", remedy=remedy)


def _cluster(error: Exception, what: str, text: str) -> RedisStateError:
    """redis-py's errors about a cluster as a whole; what kept it from finding the nodes is their cause."""
    for cause in _causes(error):
        if type(cause) is redis.ResponseError:
            remedy = "Leave cluster = true out, or name nodes of a cluster."
            return RedisConfigurationError(f"{what}: {_sayable(cause)}", remedy=remedy)
        if isinstance(cause, redis.RedisError):
            return _translation(cause, what)
    return RedisUnavailableError(f"{what}: {text}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen = error.__cause__ or error.__context__
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _sayable(error: Exception) -> str:
    """The text without redis-py's lists of clients."""
    return (str(error) or type(error).__name__).partition(" : <")[0].rstrip(".")
