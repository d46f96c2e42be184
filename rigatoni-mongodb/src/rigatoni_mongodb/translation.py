"""Translates PyMongo's exceptions into this plugin's errors: what happened, where, and the remedy."""

from collections.abc import Sequence
from typing import Any

import attrs
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    InvalidName,
    InvalidOperation,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)
from rigatoni_core.api.errors import RigatoniError

from rigatoni_mongodb import error_codes
from rigatoni_mongodb.errors import (
    AuthenticationError,
    IllegalPipelineError,
    MongoDBConfigurationError,
    MongoDBError,
    MongoDBPositionLostError,
    MongoDBTokenRefusedError,
    MongoDBUnavailableError,
    NotAReplicaSetError,
    NotWatchableError,
    PrivilegeError,
    ServerFailureError,
    ServerTooOldError,
)
from rigatoni_mongodb.features import Feature, lacking
from rigatoni_mongodb.refused_events import refused_event
from rigatoni_mongodb.server_messages import server_message


@attrs.frozen(kw_only=True)
class Deployment:
    """The server that an error came from.

    `version` is the server's, such as "5.0.7", empty if unknown; `features` are options that need a certain version.
    """

    hosts: str
    version: str = ""
    features: Sequence[Feature] = ()

    def too_old(self, what: str) -> ServerTooOldError | None:
        """Return an error that names every unsupported option in use; None if the server supports them all."""
        missing = lacking(self.features, self.version)
        if not missing:
            return None
        needs = " and ".join(f"{feature.option} needs MongoDB {feature.since}" for feature in missing)
        return ServerTooOldError(
            f"{what}: {needs}; MongoDB at {self.hosts} is {self.version}",
            remedy="Upgrade MongoDB, or remove the option.",
        )


def translate(
    error: PyMongoError, deployment: Deployment, *, what: str, resource: dict[str, Any] | None = None
) -> RigatoniError:
    """Translate an exception of PyMongo.

    Args:
        error: The exception.
        deployment: Where it came from.
        what: The stream or step that failed.
        resource: The resource document of the required privilege.

    Returns:
        The error to raise. Its text contains no data that the server quotes, see `server_messages`.
    """
    where, message = deployment.hosts, server_message(error)
    if isinstance(error, OperationFailure):
        return _operation_failure(error.code, message, error, deployment, what, resource or {})
    if isinstance(error, (ConfigurationError, InvalidURI)):
        return MongoDBConfigurationError(
            f"the MongoDB URI is invalid: {message}",
            remedy="Correct the uri. Its files (tlsCAFile, tlsCertificateKeyFile) must be readable and in PEM format.",
        )
    if isinstance(error, ConnectionFailure):
        return MongoDBUnavailableError(f"{what}: no reply from MongoDB at {where}: {message}")
    if isinstance(error, (InvalidName, InvalidOperation)):  # a name that PyMongo refuses, a client that was closed
        return MongoDBError(f"{what}: the driver refused the operation: {message}")
    return ServerFailureError(f"{what}: MongoDB at {where} failed: {message}")


def _operation_failure(
    code: int | None,
    message: str,
    error: OperationFailure,
    deployment: Deployment,
    what: str,
    resource: dict[str, Any],
) -> RigatoniError:
    """Translate by code; the order matters only for refusals, which differ by their message."""
    where, says = deployment.hosts, f"{message} (code {code})"
    if error_codes.modifies_id(code, message):
        return IllegalPipelineError(f"{what}: {says}")
    if code in error_codes.LOST or error_codes.concerns_token(code, message):
        kind = MongoDBPositionLostError if code == error_codes.HISTORY_LOST else MongoDBTokenRefusedError
        cause = error_codes.LOST.get(code or 0, error_codes.LOST[260])
        return kind(f"{what}: {cause}. The server reports: {says}")
    if code in error_codes.AUTHENTICATION:
        return AuthenticationError(f"MongoDB at {where} refused the credentials: {says}")
    if code == error_codes.UNAUTHORIZED:
        return _unauthorized(what, where, says, resource)
    if code == error_codes.ATLAS:
        return _atlas(what, where, message, resource)
    if code == error_codes.STANDALONE:
        return NotAReplicaSetError(f"MongoDB at {where} is a standalone server, which has no change streams")
    if code in (error_codes.IMAGE_MISSING, error_codes.TOO_LARGE):
        return refused_event(error, what, resource, deployment.version)
    if code in error_codes.NOT_WATCHABLE:
        return _not_watchable(what, message, resource, is_view=code != error_codes.INTERNAL)
    if code in error_codes.REFUSED:
        refused = f"{what}: MongoDB at {where} refuses the pipeline or an option: {says}"
        return deployment.too_old(what) or IllegalPipelineError(refused)
    if error_codes.is_resumable(error) or code in error_codes.UNAVAILABLE:
        return MongoDBUnavailableError(
            f"{what}: MongoDB at {where} is temporarily unavailable: {says}",
            remedy="Wait: the worker retries. If the error persists, check the state of the deployment.",
        )
    return ServerFailureError(f"{what}: MongoDB at {where} failed: {says}")


def _unauthorized(what: str, where: str, says: str, resource: dict[str, Any]) -> PrivilegeError:
    """Return the error with a command that grants the privilege (MongoDB manual, "Change Streams", access control)."""
    database, collection = resource.get("db", ""), resource.get("collection", "")
    role = f'{{role: "read", db: "{database}"}}' if database else '"readAnyDatabase"'
    return PrivilegeError(
        f"{what}: the user may not read this change stream at {where}: {says}",
        remedy=f'Grant a role: db.getSiblingDB("admin").grantRolesToUser("USER", [{role}]), or a custom role with the '
        f'actions find and changeStream on the resource {{db: "{database}", collection: "{collection}"}}.',
    )


def _atlas(what: str, where: str, message: str, resource: dict[str, Any]) -> RigatoniError:
    """Translate by message, since Atlas's proxy has one code for all errors. Unknown messages are transient."""
    says, words = f"{message} (code {error_codes.ATLAS})", message.lower()
    if any(refusal in words for refusal in ("not authorized", "unauthorized", "user is not allowed")):
        return _unauthorized(what, where, says, resource)
    if "auth" in words:
        return AuthenticationError(f"MongoDB Atlas at {where} refused the credentials: {says}")
    if "not allowed" in words or "not supported" in words or "unsupported" in words:
        return MongoDBError(
            f"{what}: this tier of MongoDB Atlas lacks a required feature: {says}",
            remedy="Use a tier with change streams (M10 or larger), or remove the option that the message names.",
        )
    return ServerFailureError(
        f"{what}: MongoDB Atlas at {where} failed: {says}",
        remedy="Check the cluster's state and limits in Atlas; the worker retries by itself.",
    )


def _not_watchable(what: str, message: str, resource: dict[str, Any], *, is_view: bool) -> NotWatchableError:
    """Name the kind of namespace, and what to watch instead (MongoDB manual, "Change Streams")."""
    database, collection = resource.get("db") or "shop", resource.get("collection") or "*"
    name = f"{database}.{collection}"
    if is_view and "series" in message:  # a time series collection is a view internally
        return NotWatchableError(
            f"{what}: {name} is a time series collection, which has no change stream",
            remedy=f'Remove it from watch. Watch other collections that its writers change, or "{database}.*".',
        )
    if is_view:
        return NotWatchableError(
            f"{what}: {name} is a view, which has no change stream",
            remedy="Watch the collection that the view reads: "
            f'db.getSiblingDB("{database}").getCollectionInfos({{name: "{collection}"}})[0].options.viewOn names it.',
        )
    return NotWatchableError(
        f"{what}: {name} belongs to the server itself and has no change stream: {message}",
        remedy='Watch other collections, a database such as "shop.*", or "*" for all of them.',
    )
