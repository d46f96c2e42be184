"""What can go wrong at MongoDB, by what the reader can do about it, and the translation of PyMongo's exceptions."""

from typing import Any, Self

from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    InvalidURI,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
)
from rigatoni_core.api.errors import PositionLostError, RigatoniError, SourceError, TokenRefusedError, Transient


class MongoDBError(SourceError):
    id = "mongodb"
    default_remedy = (
        "Look at the server's log of that moment; MongoDB's manual explains the code under \"Error Codes\"."
    )


class MongoDBUnavailableError(MongoDBError, Transient):
    id = "mongodb-unavailable"
    default_remedy = (
        "Check host and port in the URI, that the server runs, and that it can be reached from here; a running stream "
        "goes on by itself."
    )


class MongoDBConfigurationError(MongoDBError):
    id = "mongodb-configuration"


class AuthenticationError(MongoDBError):
    id = "mongodb-authentication"
    default_remedy = "Check user name, password and authSource in the URI."


class PrivilegeError(MongoDBError):
    id = "mongodb-privilege"


class NotAReplicaSetError(MongoDBError):
    id = "mongodb-not-a-replica-set"
    default_remedy = (
        "Change streams need a replica set, of one node at least: start mongod with --replSet and run "
        "rs.initiate() once."
    )


class IllegalPipelineError(MongoDBError):
    id = "mongodb-illegal-pipeline"
    default_remedy = (
        "A change stream takes $match, $project, $addFields, $set, $unset, $replaceRoot, $replaceWith and $redact, "
        "and must keep _id."
    )


class ImageMissingError(MongoDBError):
    id = "mongodb-image-missing"

    @classmethod
    def of(cls, database: str, collection: str) -> Self:
        """For a collection that records no images, found before the first change needs one."""
        return cls(
            f"{database}.{collection} records no pre- and post-images, which are required", remedy=enabling(collection)
        )


class EventTooLargeError(MongoDBError):
    id = "mongodb-event-too-large"
    default_remedy = (
        'Let the server split such events, and here they are whole again: add {"$changeStreamSplitLargeEvent" = {}} as '
        "the last stage of the source's pipeline (MongoDB 6.0.9, 7.0 or newer). Or leave fields out with $unset."
    )


class MongoDBPositionLostError(PositionLostError, MongoDBError):
    id = "mongodb-position-lost"


class MongoDBTokenRefusedError(TokenRefusedError, MongoDBPositionLostError):
    id = "mongodb-token-refused"


HISTORY_LOST = 286
LOST = {
    HISTORY_LOST: "the history after the saved position has rolled out of the oplog (ChangeStreamHistoryLost)",
    280: "the server can not find the saved position with this pipeline (ChangeStreamFatalError)",
    260: "the server does not take the saved resume token (InvalidResumeToken)",
    50811: "the server can not decode the saved resume token",
}
"""Codes that refuse a position. All but the first may be about its token only: the history may still hold it."""

_UNAVAILABLE = frozenset((6, 7, 63, 89, 91, 133, 150, 189, 234, 262, 9001, 10107, 11600, 11602, 13388, 13435, 13436))
"""Codes that pass by themselves: elections, shutdowns, networks (change-streams specification, "Resumable Error")."""

_AUTHENTICATION = (11, 18, 8000)
_PRIVILEGE = (13,)
_ILLEGAL = (20, 40324, 40415, 40602, 9, 2, 72)


def is_resumable(error: PyMongoError) -> bool:
    """Whether the stream may be opened again after this error (change-streams specification, "Resumable Error").

    Servers since 4.4 say so by a label; PyMongo does not talk to older ones.
    """
    if isinstance(error, (OperationFailure, NotPrimaryError)):
        return getattr(error, "code", None) == 43 or error.has_error_label("ResumableChangeStreamError")
    return isinstance(error, ConnectionFailure)


def translate(error: PyMongoError, *, where: str, what: str, resource: dict[str, Any] | None = None) -> RigatoniError:
    """PyMongo's exception as ours. `what` names the stream or step, `where` the hosts, `resource` the privilege's."""
    if isinstance(error, OperationFailure):
        return _operation_failure(error, where, what, resource)
    if isinstance(error, (ConfigurationError, InvalidURI)):
        return MongoDBConfigurationError(
            f"the MongoDB URI is not usable: {error}",
            remedy="Correct the uri; files that it names (tlsCAFile, tlsCertificateKeyFile) must be PEM, and readable.",
        )
    if isinstance(error, ConnectionFailure):
        return MongoDBUnavailableError(f"{what}: no answer from MongoDB at {where}: {_short(str(error))}")
    return MongoDBError(f"{what}: MongoDB at {where} failed: {_short(str(error))}")


def _operation_failure(
    error: OperationFailure, where: str, what: str, resource: dict[str, Any] | None
) -> RigatoniError:
    code, details = error.code, error.details or {}
    reason = str(details.get("errmsg") or error)
    if code in LOST:
        kind = MongoDBPositionLostError if code == HISTORY_LOST else MongoDBTokenRefusedError
        return kind(f"{what}: {LOST[code]}. The server says: {reason} (code {code})")
    if code in _AUTHENTICATION:
        return AuthenticationError(f"MongoDB at {where} refused the credentials: {reason}")
    if code in _PRIVILEGE:
        return PrivilegeError(
            f"{what}: the user may not read this change stream at {where}: {reason}",
            remedy=_granting(resource or {}),
        )
    if code == 40573:
        return NotAReplicaSetError(f"MongoDB at {where} is a standalone server, which has no change streams")
    if code == 47:
        collection = (resource or {}).get("collection")
        return ImageMissingError(
            f"{what}: an image that is required is not there: {reason}",
            remedy=enabling(collection) if collection else f"For each collection watched: {enabling('ITS NAME')}",
        )
    if code == 10334:
        return EventTooLargeError(f"{what}: an event is larger than the 16 MB that a document may have: {reason}")
    if code in _ILLEGAL:
        return IllegalPipelineError(f"{what}: MongoDB refuses the pipeline or an option: {reason} (code {code})")
    if is_resumable(error) or code in _UNAVAILABLE:
        return MongoDBUnavailableError(f"{what}: MongoDB at {where} can not serve at present: {reason} (code {code})")
    return MongoDBError(f"{what}: MongoDB at {where} answered: {reason} (code {code})")


def enabling(collection: str) -> str:
    """How images are enabled (MongoDB manual, "Change Streams with Document Pre- and Post-Images")."""
    command = f'db.runCommand({{collMod: "{collection}", changeStreamPreAndPostImages: {{enabled: true}}}})'
    return f'Enable images: {command}, or ask for "whenAvailable".'


def _granting(resource: dict[str, Any]) -> str:
    """How the right to read a change stream is granted (MongoDB manual, "Change Streams", access control)."""
    database, collection = resource.get("db", ""), resource.get("collection", "")
    role = f'{{role: "read", db: "{database}"}}' if database else '"readAnyDatabase"'
    return (
        f'Grant a role that may: db.getSiblingDB("admin").grantRolesToUser("USER", [{role}]), or one of your own with '
        f'the actions find and changeStream on the resource {{db: "{database}", collection: "{collection}"}}.'
    )


def _short(text: str) -> str:
    """PyMongo's text without its topology description."""
    return text.split(", Timeout:")[0].split(" (configured timeouts")[0]
