"""The server's error codes by their meaning for a change stream.

Codes not listed here are retried: the worker resumes from its checkpoint. An unknown code of a newer server, an
interrupted operation or an overloaded shard must not stop a stream permanently.
"""

import re

from pymongo.errors import ConnectionFailure, NotPrimaryError, OperationFailure, PyMongoError

HISTORY_LOST = 286
LOST = {
    HISTORY_LOST: "the history after the saved position has rolled out of the oplog (ChangeStreamHistoryLost)",
    280: "the server cannot find the saved position with this pipeline (ChangeStreamFatalError)",
    260: "the server does not accept the saved resume token (InvalidResumeToken)",
    50811: "the server cannot decode the saved resume token",
    40647: "the server does not accept the saved resume token",
    40649: "the server does not accept the saved resume token",
}
"""Codes that refuse a position. All but the first may concern only its token: the history may still contain it."""

AUTHENTICATION = {
    11,  # UserNotFound
    18,  # AuthenticationFailed
    334,  # MechanismUnavailable: the server does not offer the authMechanism of the URI
}
"""The server refuses the credentials until an administrator changes them."""

UNAUTHORIZED = 13
"""The user lacks a privilege (Unauthorized) until an administrator grants it."""

ATLAS = 8000
"""AtlasError: the only code of Atlas's proxy, from a wrong password to a full tier; only its messages differ."""

STANDALONE = 40573
"""The server is not a member of a replica set, so it has no oplog."""

IMAGE_MISSING = 47
"""NoMatchingDocument: a required image was never recorded; every attempt reaches the same event."""

TOO_LARGE = 10334
"""BSONObjectTooLarge: an event exceeds 16 MB; every attempt reaches the same event."""

INTERNAL = 73
"""InvalidNamespace: a system collection, or one of the databases admin, config and local."""

NOT_WATCHABLE = {
    INTERNAL,
    166,  # CommandNotSupportedOnView: a view, or a time series collection, which is one inside
    167,  # OptionNotSupportedOnView
}
"""The watched namespace has no change stream."""

REFUSED = {
    2,  # BadValue: such as a full_document mode that the server does not support
    9,  # FailedToParse
    14,  # TypeMismatch
    20,  # IllegalOperation: a stage that change streams do not allow
    72,  # InvalidOptions
    168,  # InvalidPipelineOperator
    40323,  # a stage is not exactly one field
    40324,  # Unrecognized pipeline stage name
    40415,  # an unknown field: such as an option of a newer server
    40602,  # $changeStream is not the first stage
}
"""The server refuses the pipeline or an option; the configuration has to change."""

UNAVAILABLE = {
    *(6, 7, 89, 9001),  # HostUnreachable, HostNotFound, NetworkTimeout, SocketException
    *(91, 11600, 11602),  # ShutdownInProgress, InterruptedAtShutdown, InterruptedDueToReplStateChange
    *(
        189,
        10107,
        13435,
        13436,
    ),  # PrimarySteppedDown, NotWritablePrimary, NotPrimaryNoSecondaryOk, NotPrimaryOrSecondary
    *(
        63,
        133,
        150,
        234,
        13388,
    ),  # StaleShardVersion, FailedToSatisfyReadPreference, StaleEpoch, RetryChangeStream, StaleConfig
    *(262, 50),  # ExceededTimeLimit, MaxTimeMSExpired
    *(11601, 237, 175, 43),  # Interrupted (killOp), CursorKilled, QueryPlanKilled, CursorNotFound
    *(
        202,
        290,
        462,
    ),  # NetworkInterfaceExceededTimeLimit, TransactionExceededLifetimeLimitSeconds, IngressRequestRateLimitExceeded
    355,  # PooledConnectionsExpired
}
"""Codes of elections, shutdowns, networks, overload and interrupted operations (change-streams specification,
"Resumable Error"; error_codes.yml of the server). Errors with unknown codes are retried, too."""

PROJECTED_AWAY = 280
"""ChangeStreamFatalError: also for a pipeline that changes `_id` or lacks the split stage, at any position."""

_MODIFIES_ID = re.compile(r"was modified by the pipeline|must include a \$changeStreamSplitLargeEvent")
_NAMES_TOKEN = re.compile(r"\bresume ?token\b|\bKeyString\b", re.IGNORECASE)


def modifies_id(code: int | None, message: str) -> bool:
    """Return whether a fatal error concerns the pipeline rather than the position."""
    return code == PROJECTED_AWAY and bool(_MODIFIES_ID.search(message))


def concerns_token(code: int | None, message: str) -> bool:
    """Return whether a refusal concerns the resume token: several servers report it under a general code."""
    return code in REFUSED and bool(_NAMES_TOKEN.search(message))


def is_resumable(error: PyMongoError) -> bool:
    """Return whether the stream may be reopened at once (change-streams specification, "Resumable Error").

    Servers since 4.4 set a label; PyMongo does not support older ones.
    """
    if isinstance(error, (OperationFailure, NotPrimaryError)):
        return getattr(error, "code", None) == 43 or error.has_error_label("ResumableChangeStreamError")
    return isinstance(error, ConnectionFailure)
