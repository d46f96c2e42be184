"""The errors of MongoDB, by what the user can do about them. `translation` derives them from PyMongo's exceptions.

MongoDBError
  MongoDBConfigurationError       an option or the URI is wrong
  MongoDBUnavailableError         networks, elections, interrupted operations (transient)
  ServerFailureError              an error not known to be permanent (transient)
  StalledStreamError              no reply for many times the await time (transient)
  AuthenticationError             the server refuses the credentials (access denied)
  PrivilegeError                  the user lacks a privilege (access denied)
  NotAReplicaSetError             the server has no change streams
  NotWatchableError               a view, a time series collection or a system collection
  IllegalPipelineError            the server refuses the pipeline or an option
    ServerTooOldError               an option needs a newer server
  ImageMissingError               a required pre- or post-image does not exist
  EventTooLargeError              an event exceeds the size of a reply
  MongoDBPositionLostError        resuming from the saved position is impossible
    MongoDBTokenRefusedError        the server refuses its token, but may still have its place
"""

from typing import Self

from rigatoni_core.api.errors import AccessDenied, PositionLostError, SourceError, TokenRefusedError, Transient


class MongoDBError(SourceError):
    """The server refuses an operation for a reason that has no class of its own."""

    id = "mongodb"
    default_remedy = "Check the server's log of that time; MongoDB's manual explains the code under \"Error Codes\"."


class MongoDBUnavailableError(MongoDBError, Transient):
    """The server cannot be reached, or has no primary."""

    id = "mongodb-unavailable"
    default_remedy = (
        "Check the host and port in the URI, and that the server is running and reachable from this host. A running "
        "stream resumes by itself."
    )


class ServerFailureError(MongoDBError, Transient):
    """The server failed in an operation that may succeed later."""

    id = "mongodb-server-failure"
    default_remedy = (
        "Wait: the worker retries from its checkpoint. If the error persists, check the server's log of that time; "
        'MongoDB\'s manual explains the code under "Error Codes".'
    )


class StalledStreamError(MongoDBError, Transient):
    """The server does not respond to a request of the stream within the time limit."""

    id = "mongodb-stalled"


class MongoDBConfigurationError(MongoDBError):
    """The options do not fit the server, or each other."""

    id = "mongodb-configuration"


class AuthenticationError(MongoDBError, AccessDenied):
    """The server rejects the user name or the password."""

    id = "mongodb-authentication"
    default_remedy = "Check user name, password and authSource in the URI."


class PrivilegeError(MongoDBError, AccessDenied):
    """The user lacks a privilege that the stream needs."""

    id = "mongodb-privilege"


class NotAReplicaSetError(MongoDBError):
    """The server is a standalone server, which has no change streams."""

    id = "mongodb-not-a-replica-set"
    default_remedy = (
        "Start mongod with --replSet and run rs.initiate() once: change streams need a replica set, even of one node."
    )


class NotWatchableError(MongoDBError):
    """A watched name is a view, a time series or a collection that has no change stream."""

    id = "mongodb-not-watchable"


class IllegalPipelineError(MongoDBError):
    """The server refuses a stage of the server-side pipeline."""

    id = "mongodb-illegal-pipeline"
    default_remedy = (
        "Use only $match, $project, $addFields, $set, $unset, $replaceRoot, $replaceWith and $redact in pipeline, and "
        "keep _id."
    )


class ServerTooOldError(IllegalPipelineError):
    """A stage or an option needs a newer server."""

    id = "mongodb-server-too-old"


class ImageMissingError(MongoDBError):
    """A pre- or post-image is required, and does not exist."""

    id = "mongodb-image-missing"

    @classmethod
    def of(cls, database: str, collection: str) -> Self:
        """Return the error for a collection that records no images, before a change needs one."""
        return cls(
            f"{database}.{collection} records no pre- and post-images, which are required", remedy=enabling(collection)
        )


class EventTooLargeError(MongoDBError):
    """An event is larger than the largest document of 16 MiB."""

    id = "mongodb-event-too-large"
    default_remedy = (
        'Add {"$changeStreamSplitLargeEvent" = {}} as the last stage of the source\'s pipeline: the server splits such '
        "events (MongoDB 6.0.9, 7.0 or newer), and Rigatoni delivers them whole. Or remove large fields with $unset."
    )


class MongoDBPositionLostError(PositionLostError, MongoDBError):
    """The oplog no longer contains the position."""

    id = "mongodb-position-lost"


class MongoDBTokenRefusedError(TokenRefusedError, MongoDBPositionLostError):
    """The server refuses the resume token."""

    id = "mongodb-token-refused"


def enabling(collection: str) -> str:
    """Return how to enable images (MongoDB manual, "Change Streams with Document Pre- and Post-Images")."""
    command = f'db.runCommand({{collMod: "{collection}", changeStreamPreAndPostImages: {{enabled: true}}}})'
    return f'Enable images: {command}. For changes made without them, set "whenAvailable".'
