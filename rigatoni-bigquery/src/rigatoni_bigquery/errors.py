"""The errors of BigQuery, and the translation of the client library's errors.

DestinationError
  BigQueryError                BigQuery refuses a request, and retrying cannot fix it
    BigQueryAccessError          credentials or permissions: the message names the permission
    BigQueryDatasetError         the project or the dataset does not exist
    BigQueryLoadError            a load job failed for a reason that does not pass
    BigQueryUnavailableError     5xx, timeouts, quotas, connections (transient)
"""

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from google.api_core import exceptions as google
from google.auth import exceptions as auth
from rigatoni_core.api.errors import AccessDenied, DestinationError, Transient


class BigQueryError(DestinationError):
    """BigQuery refuses a request for a reason that has no class of its own."""

    id = "bigquery"
    default_remedy = "Fix the cause in the service's message, then restart. No event is lost: the objects stay."


class BigQueryAccessError(BigQueryError, AccessDenied):
    """The credentials are missing, expired or wrong, or lack a permission."""

    id = "bigquery-access"


class BigQueryDatasetError(BigQueryError):
    """The project or the dataset does not exist."""

    id = "bigquery-dataset"


class BigQueryLoadError(BigQueryError):
    """A load job failed for a reason that does not pass by itself."""

    id = "bigquery-load"
    default_remedy = (
        "Look at the job in the BigQuery console, fix the table or the objects, and restart: the load is repeated "
        "under another job id. No event is lost: the objects stay."
    )


class BigQueryUnavailableError(BigQueryError, Transient):
    """BigQuery does not respond, fails internally, or limits the rate of requests."""

    id = "bigquery-unavailable"
    default_remedy = "Wait: the load is retried. If the error persists, check the network and the project's quotas."


TEMPORARY = frozenset(
    {"backendError", "internalError", "quotaExceeded", "rateLimitExceeded", "jobBackendError", "jobInternalError"}
    | {"stopped", "timeout", "tableUnavailable", "jobRateLimitExceeded"}
)
"""Reasons of failed jobs and refused requests that pass by themselves (BigQuery, "Error messages")."""
_PERMISSIONS = {"get": "bigquery.datasets.get", "insert": "bigquery.jobs.create", "look": "bigquery.jobs.get"}


@contextmanager
def translated(where: str, action: str) -> Iterator[None]:
    """Translate the library's errors in this block.

    Args:
        where: The dataset, for messages.
        action: `get` (the dataset), `insert` (a job) or `look` (at a job).

    Raises:
        BigQueryError: What the library has raised. Its text is that of the service, which quotes no rows here.
    """
    try:
        yield
    except google.GoogleAPICallError as error:
        raise _refused(error, where, action) from error
    except (auth.TransportError, requests.RequestException) as error:
        raise BigQueryUnavailableError(f"BigQuery cannot be reached for {where}: {type(error).__name__}") from error
    except auth.RefreshError as error:
        kind = BigQueryUnavailableError if error.retryable else BigQueryAccessError
        raise kind(
            f"the credentials for {where} were refused",
            remedy="Check that the service account exists and that its key is valid.",
        ) from error
    except auth.GoogleAuthError as error:
        raise BigQueryAccessError(
            f"no credentials for {where}",
            remedy="Set credentials_file or credentials_json, or sign in with `gcloud auth application-default login`.",
        ) from error


def _refused(error: google.GoogleAPICallError, where: str, action: str) -> BigQueryError:
    status, permission = int(error.code or 0), _PERMISSIONS[action]
    reasons = {str(each.get("reason", "")) for each in error.errors or () if isinstance(each, dict)}
    message = str(error.message or "").partition("\n")[0][:300]
    what = f"{where}: {message} (status {status})"
    if status == 429 or status >= 500 or status in (408, 425) or reasons & TEMPORARY:
        return BigQueryUnavailableError(what)
    if status in (401, 403):
        return BigQueryAccessError(
            what,
            remedy=f"Grant {permission} to these credentials: roles/bigquery.jobUser on the project and "
            "roles/bigquery.dataEditor on the dataset contain everything.",
        )
    if status == 404:
        return BigQueryDatasetError(what, remedy="Create the dataset, or correct project, dataset or location.")
    return BigQueryError(what)
