"""The errors of Azure Storage, and the translation of the client library's errors.

DestinationError
  AzureError                   the store refuses a request, and retrying cannot fix it
    AzureAccessError             credentials or permissions: the message names container and request
    AzureContainerError          the container does not exist
    AzureArchivedError           the blob is in the archive tier
    AzureUnavailableError        5xx, timeouts, connections (transient)
      AzureThrottledError          too many requests (transient)
"""

from collections.abc import Iterator
from contextlib import contextmanager

from azure.core import exceptions as azure
from rigatoni_core.api.errors import AccessDenied, DestinationError, Transient


class AzureError(DestinationError):
    """The store refuses a request for a reason that has no class of its own."""

    id = "azure"
    default_remedy = "Fix the cause in the store's message, then restart: the pipeline resumes from its checkpoint."


class AzureAccessError(AzureError, AccessDenied):
    """The credentials are missing, expired or wrong, or lack a permission."""

    id = "azure-access"


class AzureContainerError(AzureError):
    """The container does not exist."""

    id = "azure-container"


class AzureArchivedError(AzureError):
    """A blob of the pipeline is in the archive tier and cannot be read."""

    id = "azure-archived"
    default_remedy = (
        "Rehydrate the blob (`az storage blob set-tier --tier Hot`), restart, and exclude this pipeline's prefix from "
        "the lifecycle rule that archives blobs: Rigatoni reads its own objects."
    )


class AzureUnavailableError(AzureError, Transient):
    """The store does not respond, or fails internally."""

    id = "azure-unavailable"
    default_remedy = "Wait: the worker retries. If the error persists, check the network, the endpoint and the store."


class AzureThrottledError(AzureUnavailableError):
    """The store asks for fewer requests."""

    id = "azure-throttled"
    default_remedy = "Wait: the worker backs off. If the error persists, write fewer and larger objects."


EXISTS = {"BlobAlreadyExists", "PathAlreadyExists", "ConditionNotMet", "UnauthorizedBlobOverwrite"}
"""The codes of a conditional create whose key exists. The last one: a token that permits only to create."""

_THROTTLED = {"ServerBusy", "TooManyRequests", "AccountIopsLimitExceeded", "AccountBandwidthLimitExceeded"}
_TEMPORARY = {"OperationTimedOut", "InternalError", "ContainerBeingDeleted", "AccountBeingCreated", "Md5Mismatch"}
_TEMPORARY_STATUSES = {408, 425}
"""In addition to 5xx: the two 4xx that clients may retry unchanged (RFC 9110, RFC 8470)."""
_ROLE = 'Assign the role "Storage Blob Data Contributor" on the container to this identity'
_CREDENTIALS = {
    "AuthorizationPermissionMismatch": f"{_ROLE}. A new assignment takes effect after up to 10 minutes.",
    "AuthorizationFailure": f"{_ROLE}, and check the firewall of the storage account: it may refuse this network.",
    "AuthenticationFailed": "Check account_key or sas_token, whether the token has expired, and this machine's clock.",
    "InvalidAuthenticationInfo": "Check account_key or sas_token, and that the tenant is the storage account's.",
    "NoAuthenticationInformation": "Set account_key or sas_token, or use an identity of the default chain.",
    "KeyBasedAuthenticationNotPermitted": "Remove account_key: this storage account accepts only identities.",
    "InsufficientAccountPermissions": "Add the permissions create, read and list to the SAS token.",
    "AuthorizationProtocolMismatch": "Use an https endpoint: the SAS token forbids http.",
    "AuthorizationSourceIPMismatch": "Use a SAS token that admits this machine's address.",
    "AuthorizationServiceMismatch": "Use a SAS token for the blob service.",
    "AuthorizationResourceTypeMismatch": "Use a SAS token for containers and objects.",
    "AccountIsDisabled": "Enable the storage account, or pay its subscription.",
}


@contextmanager
def translated(container: str, action: str) -> Iterator[None]:
    """Translate the library's errors in this block into `AzureError`s that name the container and the request."""
    try:
        yield
    except azure.HttpResponseError as error:
        if error.status_code is None:
            raise _without_response(error, container) from error
        raise _refused(error, container, action) from error
    except (azure.ServiceRequestError, azure.ServiceResponseError, azure.IncompleteReadError) as error:
        raise AzureUnavailableError(f"the container {container} cannot be reached: {error.message}") from error
    except azure.AzureError as error:
        raise AzureError(f"{action} in the container {container} failed: {error.message}") from error
    except (ValueError, TypeError) as error:
        raise AzureError(
            f"{action} in the container {container} is invalid: {error}", remedy="Correct the options."
        ) from error


def code_of(error: azure.HttpResponseError) -> str:
    """Return the store's error code; empty if the response has none."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _without_response(error: azure.HttpResponseError, container: str) -> AzureError:
    """Translate an error of azure-identity (no credential was found or accepted), or of a damaged response."""
    if isinstance(error, azure.ClientAuthenticationError):
        return AzureAccessError(
            f"no credentials for the container {container}: {error.message.partition(chr(10))[0]}",
            remedy="Set account_key, sas_token or connection_string, sign in with `az login`, or run where a workload "
            "identity or a managed identity is attached.",
        )
    return AzureUnavailableError(f"the container {container} sent a damaged response: {error.message}")


def _refused(error: azure.HttpResponseError, container: str, action: str) -> AzureError:
    code, status = code_of(error), error.status_code or 0
    message = str(error.reason if error.message is None else error.message).partition("\n")[0][:300]
    what = f"{action} in the container {container} failed: {code or status} ({message})"
    hint = _retry_after(error)
    if code in _THROTTLED or status == 429:
        return AzureThrottledError(what, retry_after=hint)
    if code == "BlobArchived":
        return AzureArchivedError(what)
    if code in _CREDENTIALS:
        return AzureAccessError(what, remedy=_CREDENTIALS[code])
    if code in _TEMPORARY or status >= 500 or status in _TEMPORARY_STATUSES:
        return AzureUnavailableError(what, retry_after=hint)
    if status in (401, 403):
        return AzureAccessError(what, remedy=f"{_ROLE}, or correct its credentials.")
    if status == 404:
        return AzureContainerError(
            what, remedy=f"Create the container {container}, or correct account, container or endpoint_url."
        )
    return AzureError(what)


def _retry_after(error: azure.HttpResponseError) -> float | None:
    headers = getattr(error.response, "headers", None) or {}
    text = str(headers.get("Retry-After", ""))
    return float(text) if text.isdecimal() else None
