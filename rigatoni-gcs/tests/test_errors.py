"""The translation of the store's error responses, as the client library parses them, and of its credentials' errors."""

import json

import pytest
import requests
from google.api_core.exceptions import from_http_response
from google.auth import exceptions as auth
from rigatoni_core.api.errors import AccessDenied
from rigatoni_core.api.options import Secret
from rigatoni_gcs.access import Access
from rigatoni_gcs.errors import (
    GcsAccessError,
    GcsBucketError,
    GcsError,
    GcsThrottledError,
    GcsUnavailableError,
    credentials_read,
    translated,
)


def error_of(status, reason="", message="so it is", *, action="create", headers=None):
    """Return the error that this response of the store is translated to."""
    response = requests.Response()
    response.status_code = status
    response.headers.update({"Content-Type": "application/json", **(headers or {})})
    errors = [{"domain": "global", "reason": reason, "message": message}]
    response._content = json.dumps({"error": {"code": status, "message": message, "errors": errors}}).encode()
    response.request = requests.Request("POST", "https://storage.example/o").prepare()
    with pytest.raises(GcsError) as caught, translated("lake", action):
        raise from_http_response(response)
    return caught.value


@pytest.mark.parametrize(
    ("status", "reason"),
    [(429, "rateLimitExceeded"), (429, ""), (403, "userRateLimitExceeded"), (403, "quotaExceeded")],
)
def test_throttling_is_transient_under_every_status_and_carries_the_stores_delay(status, reason):
    error = error_of(status, reason, headers={"Retry-After": "7"})
    assert isinstance(error, GcsThrottledError)
    assert error.transient
    assert error.retry_after == 7


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504])
def test_a_status_that_passes_is_transient(status):
    assert isinstance(error_of(status, "backendError"), GcsUnavailableError)


@pytest.mark.parametrize(
    ("status", "reason", "message", "kind", "words"),
    [
        (403, "forbidden", "no access", GcsAccessError, "storage.objects.create"),
        (401, "authError", "invalid", GcsAccessError, "Renew the credentials"),
        (403, "accountDisabled", "billing", GcsAccessError, "Enable billing"),
        (400, "userProjectMissing", "requester pays", GcsAccessError, "user_project"),
        (
            403,
            "forbidden",
            "Permission denied on Cloud KMS key",
            GcsAccessError,
            "cloudkms.cryptoKeyEncrypterDecrypter",
        ),
        (404, "notFound", "The specified bucket does not exist.", GcsBucketError, "Create the bucket lake"),
        (400, "invalid", "Invalid storage class", GcsError, "store's message"),
    ],
)
def test_what_stays_names_the_bucket_and_the_permission_or_setting_to_change(status, reason, message, kind, words):
    error = error_of(status, reason, message)
    assert type(error) is kind
    assert not error.transient
    assert isinstance(error, AccessDenied) == (kind is GcsAccessError)
    assert words in error.remedy
    assert "gs://lake" in str(error)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (auth.DefaultCredentialsError("none found"), GcsAccessError),
        (auth.RefreshError("invalid_grant", {"secret": "sentinel"}), GcsAccessError),
        (auth.RefreshError("busy", retryable=True), GcsUnavailableError),
        (auth.TransportError("no route"), GcsUnavailableError),
        (requests.ConnectionError("reset"), GcsUnavailableError),
    ],
)
def test_errors_of_credentials_and_connections(error, kind):
    with pytest.raises(kind) as caught, translated("lake", "list"):
        raise error
    assert "sentinel" not in str(caught.value) + caught.value.remedy


@pytest.mark.parametrize(
    "text", ["sentinel", '{"type": "sentinel"}', '{"type": "service_account", "private_key": "s"}']
)
def test_malformed_credentials_are_an_error_that_does_not_quote_them(text):
    with pytest.raises(GcsAccessError) as caught, translated("lake", "list"), credentials_read("lake"):
        Access(credentials_json=Secret(text)).session()
    assert "sentinel" not in str(caught.value) + caught.value.remedy


def test_a_missing_file_of_credentials_is_named(tmp_path):
    with pytest.raises(GcsAccessError, match="cannot be read"), credentials_read("lake"):
        Access(credentials_file=str(tmp_path / "key.json")).session()
