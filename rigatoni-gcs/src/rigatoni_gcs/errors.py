"""The errors of Google Cloud Storage, and the translation of the client libraries' errors.

DestinationError
  GcsError                     the store refuses a request, and retrying cannot fix it
    GcsAccessError               credentials or permissions: the message names bucket and permission
    GcsBucketError               the bucket does not exist
    GcsUnavailableError          5xx, timeouts, connections (transient)
      GcsThrottledError            too many requests (transient)
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import requests
from google.api_core import exceptions as google
from google.auth import exceptions as auth
from google.cloud.storage.exceptions import DataCorruption
from rigatoni_core.api.errors import AccessDenied, DestinationError, Transient

Action = Literal["create", "get", "list", "delete"]
"""A request, by the name of the permission that it needs: `storage.objects.<action>`."""


class GcsError(DestinationError):
    """The store refuses a request for a reason that has no class of its own."""

    id = "gcs"
    default_remedy = "Fix the cause in the store's message, then restart: the pipeline resumes from its checkpoint."


class GcsAccessError(GcsError, AccessDenied):
    """The credentials are missing, expired or wrong, or lack a permission."""

    id = "gcs-access"


class GcsBucketError(GcsError):
    """The bucket does not exist."""

    id = "gcs-bucket"


class GcsUnavailableError(GcsError, Transient):
    """The store does not respond, or fails internally."""

    id = "gcs-unavailable"
    default_remedy = "Wait: the worker retries. If the error persists, check the network, the endpoint and the store."


class GcsThrottledError(GcsUnavailableError):
    """The store asks for fewer requests."""

    id = "gcs-throttled"
    default_remedy = "Wait: the worker backs off. If the error persists, write fewer and larger objects."


_THROTTLED = {"rateLimitExceeded", "userRateLimitExceeded", "dailyLimitExceeded", "quotaExceeded"}
"""Reasons that come with 403 as well as with 429 (Cloud Storage JSON API, "HTTP status and error codes")."""
_BILLING = {"accountDisabled", "userProjectMissing", "billingNotEnabled", "accessNotConfigured"}
_TEMPORARY_STATUSES = {408, 425}
"""In addition to 5xx: the two 4xx that clients may retry unchanged (RFC 9110, RFC 8470)."""
_LOGIN = (
    "Set credentials_file or credentials_json, sign in with `gcloud auth application-default login`, or run where a "
    "service account is attached."
)


@contextmanager
def translated(bucket: str, action: Action) -> Iterator[None]:
    """Translate the libraries' errors in this block into `GcsError`s that name the bucket and the permission."""
    where = f"gs://{bucket}"
    try:
        yield
    except google.GoogleAPICallError as error:
        raise _refused(error, bucket, action) from error
    except auth.TransportError as error:
        raise GcsUnavailableError(f"the token server for {where} cannot be reached: {error}") from error
    except auth.RefreshError as error:
        kind = GcsUnavailableError if error.retryable else GcsAccessError
        remedy = "" if error.retryable else f"Check that the service account exists and its key is valid. {_LOGIN}"
        raise kind(f"the credentials for {where} were refused: {_first(error)}", remedy=remedy) from error
    except auth.GoogleAuthError as error:
        raise GcsAccessError(f"no credentials for {where}: {_first(error)}", remedy=_LOGIN) from error
    except (DataCorruption, requests.RequestException) as error:
        raise GcsUnavailableError(f"{where} cannot be reached: {error}") from error


@contextmanager
def credentials_read(bucket: str) -> Iterator[None]:
    """Translate errors of reading the credentials in this block. Their text is never part of a message."""
    try:
        yield
    except json.JSONDecodeError as error:
        raise GcsAccessError(
            f"the credentials for gs://{bucket} are not JSON (line {error.lineno})",
            remedy="Set credentials_json or credentials_file to the complete JSON key of a service account.",
        ) from None
    except OSError as error:
        raise GcsAccessError(
            f"the credentials for gs://{bucket} cannot be read: {error}",
            remedy="Correct credentials_file, or allow this user to read it.",
        ) from error
    except (ValueError, KeyError, AttributeError) as error:
        raise GcsAccessError(
            f"the credentials for gs://{bucket} are malformed: {type(error).__name__}",
            remedy="Set credentials_json or credentials_file to the complete JSON key of a service account.",
        ) from None


def _refused(error: google.GoogleAPICallError, bucket: str, action: Action) -> GcsError:
    status, permission = int(error.code or 0), f"storage.objects.{action}"
    reasons = {str(each.get("reason", "")) for each in error.errors or () if isinstance(each, dict)}
    message = str(error.message or "").partition("\n")[0][:300]
    what = f"{permission.rpartition('.')[2]} in gs://{bucket} failed with status {status}: {message}"
    hint = _retry_after(error.response)
    if status == 429 or reasons & _THROTTLED:
        return GcsThrottledError(what, retry_after=hint)
    if status >= 500 or status in _TEMPORARY_STATUSES:
        return GcsUnavailableError(what, retry_after=hint)
    if status == 401:
        return GcsAccessError(what, remedy=f"Renew the credentials, and check this machine's clock. {_LOGIN}")
    if reasons & _BILLING:
        return GcsAccessError(
            what, remedy="Enable billing and the Cloud Storage API in the bucket's project, or set user_project."
        )
    if "kms" in message.lower() or any("kms" in reason.lower() for reason in reasons):
        return GcsAccessError(
            what,
            remedy="Check kms_key_name: grant roles/cloudkms.cryptoKeyEncrypterDecrypter on the key to the project's "
            "Cloud Storage service agent; the key must be enabled and in the bucket's location.",
        )
    if status == 403:
        return GcsAccessError(
            what,
            remedy=f"Grant {permission} on gs://{bucket} to these credentials: roles/storage.objectUser contains it.",
        )
    if status == 404:
        return GcsBucketError(what, remedy=f"Create the bucket {bucket}, or correct bucket or endpoint_url.")
    return GcsError(what)


def _first(error: Exception) -> str:
    """Return the message of an error without the response's body, which google-auth adds as a second argument."""
    return str(error.args[0] if error.args else error)[:300]


def _retry_after(response: Any) -> float | None:
    text = str(getattr(response, "headers", {}).get("Retry-After", ""))
    return float(text) if text.isdecimal() else None
