"""The translation of the store's error responses, as botocore parses them."""

import pytest
from botocore import exceptions as boto
from botocore.parsers import create_parser
from botocore.retries.standard import ThrottledRetryableChecker
from rigatoni_core.api.errors import AccessDenied
from rigatoni_s3.errors import (
    S3AccessError,
    S3ArchivedError,
    S3BucketError,
    S3Error,
    S3ThrottledError,
    S3UnavailableError,
    S3UnsupportedError,
    translated,
)

ELSEWHERE = {"TransactionInProgressException", "PriorRequestNotComplete"}  # of DynamoDB and Route 53
AWS = sorted({*ThrottledRetryableChecker._THROTTLED_ERROR_CODES} - ELSEWHERE)
HTML = b"<html><head><title>Service Unavailable</title></head><body><center>nginx</center></body></html>"


def xml(code):
    return f"<Error><Code>{code}</Code><Message>so it is</Message></Error>".encode()


def error_of(status, body=b"", *, operation="PutObject", headers=None):
    """Return the error that this response of a store is translated to."""
    response = {"status_code": status, "headers": headers or {}, "body": body}
    with pytest.raises(S3Error) as caught, translated("lake"):
        raise boto.ClientError(create_parser("rest-xml").parse(response, None), operation)
    return caught.value


@pytest.mark.parametrize(
    "code",
    [
        *AWS,
        *("KMS.ThrottlingException", "KMS.LimitExceededException", "TooManyRequests", "SlowDownRead", "SlowDownWrite"),
        *("RateLimitExceeded", "QpsLimitExceeded", "RequestRateTooHigh", "ServerBusy", "TooManyConnections"),
    ],
)
@pytest.mark.parametrize("status", [400, 403, 503])
def test_throttling_is_recognised_in_every_spelling(code, status):
    error = error_of(status, xml(code), headers={"retry-after": "7"})
    assert isinstance(error, S3ThrottledError)
    assert error.transient
    assert error.retry_after == 7


@pytest.mark.parametrize("status", [429, 509])
@pytest.mark.parametrize("body", [b"", HTML, xml("Odd")])
def test_a_status_that_means_throttling_needs_no_code(status, body):
    assert isinstance(error_of(status, body), S3ThrottledError)


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504, 520])
@pytest.mark.parametrize("body", [b"", HTML, b"<Error><Code>", xml("Odd"), b"upstream connect error"])
def test_a_status_that_passes_is_transient_whatever_the_body_is(status, body):
    error = error_of(status, body)
    assert isinstance(error, S3UnavailableError)
    assert error.transient


@pytest.mark.parametrize("code", ["KMS.KMSInternalException", "KMS.DependencyTimeoutException", "RequestTimeout"])
def test_a_code_that_passes_is_transient_whatever_the_status_is(code):
    assert isinstance(error_of(400, xml(code)), S3UnavailableError)


@pytest.mark.parametrize("code", ["InvalidStorageClass", "EntityTooLarge", "KeyTooLongError", "InvalidArgument", "Odd"])
def test_any_other_refusal_of_the_request_stays(code):
    assert type(error_of(400, xml(code))) is S3Error
    assert not error_of(400, xml(code)).transient


def test_a_feature_that_the_store_lacks_stays_although_its_status_is_a_5xx():
    error = error_of(501, xml("NotImplemented"))
    assert isinstance(error, S3UnsupportedError)
    assert not error.transient


@pytest.mark.parametrize("code", ["AccessDenied", "ExpiredToken", "KMS.DisabledException", "SignatureDoesNotMatch"])
def test_errors_of_credentials_and_permissions_are_access_denied(code):
    error = error_of(403, xml(code))
    assert isinstance(error, AccessDenied)
    assert not error.transient


@pytest.mark.parametrize(
    "error", [boto.UnauthorizedSSOTokenError(), boto.SSOTokenLoadError(profile_name="p", error_msg="x")]
)
def test_an_expired_sign_in_says_to_sign_in(error):
    with pytest.raises(S3AccessError) as caught, translated("lake"):
        raise error
    assert "aws sso login" in caught.value.remedy


def test_an_archived_object_says_to_restore_it():
    error = error_of(403, xml("InvalidObjectState"), operation="GetObject")
    assert isinstance(error, S3ArchivedError)
    assert error.remedy.startswith("Restore the object")
    assert "s3:GetObject" not in error.remedy


@pytest.mark.parametrize(("status", "first"), [(400, "Renew"), (401, "Renew"), (403, "Allow s3:GetObject")])
def test_a_head_that_is_refused_without_a_reason_names_the_most_frequent_cause_first(status, first):
    error = error_of(status, operation="HeadObject")
    assert isinstance(error, S3AccessError)
    assert error.remedy.startswith(first)
    assert "Renew the credentials if they have expired" in error.remedy


@pytest.mark.parametrize(("status", "body"), [(301, xml("PermanentRedirect")), (301, b""), (307, b"")])
def test_only_a_redirect_says_to_set_the_region(status, body):
    error = error_of(status, body, operation="HeadObject")
    assert isinstance(error, S3BucketError)
    assert error.remedy.startswith("Set region")
