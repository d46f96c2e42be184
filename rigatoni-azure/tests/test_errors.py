"""The translation of the store's error responses, as the client library raises them, and of its credentials' errors."""

import pytest
from azure.core import exceptions as azure
from rigatoni_azure.errors import (
    AzureAccessError,
    AzureArchivedError,
    AzureContainerError,
    AzureError,
    AzureThrottledError,
    AzureUnavailableError,
    translated,
)
from rigatoni_core.api.errors import AccessDenied


class Response:
    def __init__(self, status, headers):
        self.status_code, self.headers, self.reason = status, headers, "so it is"


def error_of(status, code="", *, headers=None):
    """Return the error that this response of the store is translated to."""
    raised = azure.HttpResponseError("so it is", response=Response(status, headers or {}))
    raised.error_code = code
    with pytest.raises(AzureError) as caught, translated("lake", "Put Blob"):
        raise raised
    return caught.value


@pytest.mark.parametrize(("status", "code"), [(503, "ServerBusy"), (429, "TooManyRequests"), (429, "")])
def test_throttling_is_transient_and_carries_the_stores_delay(status, code):
    error = error_of(status, code, headers={"Retry-After": "7"})
    assert isinstance(error, AzureThrottledError)
    assert error.transient
    assert error.retry_after == 7


@pytest.mark.parametrize(
    ("status", "code"), [(500, "InternalError"), (500, "OperationTimedOut"), (409, "ContainerBeingDeleted"), (408, "")]
)
def test_what_passes_is_transient(status, code):
    assert isinstance(error_of(status, code), AzureUnavailableError)


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (403, "AuthorizationPermissionMismatch", AzureAccessError, "Storage Blob Data Contributor"),
        (403, "AuthorizationFailure", AzureAccessError, "firewall"),
        (403, "AuthenticationFailed", AzureAccessError, "sas_token"),
        (403, "KeyBasedAuthenticationNotPermitted", AzureAccessError, "Remove account_key"),
        (403, "", AzureAccessError, "Storage Blob Data Contributor"),
        (401, "InvalidAuthenticationInfo", AzureAccessError, "tenant"),
        (404, "ContainerNotFound", AzureContainerError, "Create the container lake"),
        (409, "BlobArchived", AzureArchivedError, "Rehydrate"),
        (400, "InvalidHeaderValue", AzureError, "store's message"),
    ],
)
def test_what_stays_names_the_container_and_the_role_or_setting_to_change(status, code, kind, words):
    error = error_of(status, code)
    assert type(error) is kind
    assert not error.transient
    assert isinstance(error, AccessDenied) == (kind is AzureAccessError)
    assert words in error.remedy
    assert "container lake" in str(error)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (azure.ClientAuthenticationError("DefaultAzureCredential failed\nto retrieve"), AzureAccessError),
        (azure.ServiceRequestError("no route"), AzureUnavailableError),
        (azure.ServiceResponseError("reset"), AzureUnavailableError),
        (azure.DecodeError("damaged"), AzureUnavailableError),
        (azure.AzureError("odd"), AzureError),
        (azure.SerializationError("odd"), AzureError),
    ],
)
def test_errors_without_a_response(error, kind):
    with pytest.raises(AzureError) as caught, translated("lake", "List Blobs"):
        raise error
    assert isinstance(caught.value, kind)
