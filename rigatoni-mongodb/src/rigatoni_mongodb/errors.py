"""What can go wrong at MongoDB, by what the reader can do about it, and the translation of PyMongo's exceptions."""

import re
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
        'Add {"$changeStreamSplitLargeEvent" = {}} as the last stage of the source\'s pipeline: the server splits such '
        "events (MongoDB 6.0.9, 7.0 or newer), and Rigatoni delivers them whole. Or leave large fields out with $unset."
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

_TOO_LARGE = 10334
_NO_IMAGE = 47
_REFUSED_EVENT = (_TOO_LARGE, _NO_IMAGE, 2, 9, 14, 241)
"""Codes of an event that cannot be sent or that an expression fails on; most of the latter are called "Location…"."""

_SIZE_IN_REASON = re.compile(r"BSONObj size: (\d+)")
_TIME_IN_TOKEN = re.compile(r'_data: "82([0-9A-F]{8})([0-9A-F]{8})')
_TIME_IN_REASON = re.compile(r"clusterTime: Timestamp\((\d+), (\d+)\)")
_IMAGE_IN_REASON = re.compile(r"(?:pre|post)-image")
_NAMES_IN_REASON = re.compile(r'ns: \{ ?db: "([^"]*)", coll: "([^"]*)"')
_SHRINKING = (
    "Make such events smaller: MongoDB {} cannot split them. Leave large fields out with $unset in the source's "
    'pipeline, or set full_document = "default" and full_document_before_change = "off". Or upgrade MongoDB to 6.0.9, '
    "7.0 or newer."
)
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


def refuses_an_event(error: PyMongoError) -> bool:
    """Whether a server refused a reply for one event in it: one too large, one without its image, or one that a stage
    of the user's pipeline fails on. Events before it can be read in smaller replies.
    """
    if not isinstance(error, OperationFailure) or is_resumable(error) or error.code in LOST:
        return False
    name = str((error.details or {}).get("codeName", ""))
    return error.code in _REFUSED_EVENT or name.startswith("Location")


def translate(
    error: PyMongoError, *, where: str, what: str, resource: dict[str, Any] | None = None, version: str = ""
) -> RigatoniError:
    """PyMongo's exception as ours.

    Args:
        error: What the driver raised.
        where: The hosts.
        what: The stream or step.
        resource: The resource of the privilege that is needed.
        version: The server's, such as "5.0.7"; empty where it is unknown.
    """
    if isinstance(error, OperationFailure):
        if error.code in (_TOO_LARGE, _NO_IMAGE):
            return _refused_event(error, what, resource or {}, version)
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
    if code in _ILLEGAL:
        return IllegalPipelineError(f"{what}: MongoDB refuses the pipeline or an option: {reason} (code {code})")
    if is_resumable(error) or code in _UNAVAILABLE:
        return MongoDBUnavailableError(f"{what}: MongoDB at {where} can not serve at present: {reason} (code {code})")
    return MongoDBError(f"{what}: MongoDB at {where} answered: {reason} (code {code})")


def _refused_event(error: OperationFailure, what: str, resource: dict[str, Any], version: str) -> RigatoniError:
    """One event that the server cannot send. The server's own text is left out: it holds the event's resume token."""
    reason = str((error.details or {}).get("errmsg") or error)
    inside, time = _TIME_IN_TOKEN.search(reason), _TIME_IN_REASON.search(reason)
    place = (int(inside[1], 16), int(inside[2], 16)) if inside else time and (time[1], time[2])
    when = f" (cluster time {place[0]}.{place[1]})" if place else ""
    if error.code == _TOO_LARGE:
        size = _SIZE_IN_REASON.search(reason)
        return EventTooLargeError(
            f"{what}: an event{when} has {int(size[1]):,} bytes, and a reply takes 16 MiB"
            if size
            else f"{what}: an event{when} is larger than the 16 MiB that a reply takes",
            remedy="" if _splits_events(version) else _SHRINKING.format(version),
        )
    image, names = _IMAGE_IN_REASON.search(reason), _NAMES_IN_REASON.search(reason)
    collection = names[2] if names else resource.get("collection")
    where = f" in {names[1]}.{names[2]}" if names else ""
    return ImageMissingError(
        f"{what}: the {image[0] if image else 'image'} of a change{where}{when}, which is required, does not exist",
        remedy=enabling(collection) if collection else f"For each collection watched: {enabling('ITS NAME')}",
    )


def _splits_events(version: str) -> bool:
    """Whether this server has $changeStreamSplitLargeEvent; True where its version is unknown."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    return not numbers or numbers >= (7,) or (6, 0, 9) <= numbers < (6, 1)


def enabling(collection: str) -> str:
    """How images are enabled (MongoDB manual, "Change Streams with Document Pre- and Post-Images")."""
    command = f'db.runCommand({{collMod: "{collection}", changeStreamPreAndPostImages: {{enabled: true}}}})'
    return f'Enable images: {command}. For changes that were made without them, ask for "whenAvailable".'


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
