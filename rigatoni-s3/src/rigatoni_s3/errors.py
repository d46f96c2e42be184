"""The errors of an object store, and the translation of boto's errors.

DestinationError
  S3Error                     the store refuses a request, and retrying cannot fix it
    S3AccessError               credentials or permissions: the message names bucket and action
    S3BucketError               the bucket does not exist, or is in another region
    S3UnsupportedError          the store does not support an option
    S3KeyTooLongError           a key could be longer than S3 allows
    S3ArchivedError             the object was moved to an archive storage class
    S3UnavailableError          5xx, timeouts, connections (transient)
      S3ThrottledError            too many requests, under any error code (transient)
    S3ConflictError             another request for the same key won the race (transient)
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore import exceptions as boto
from rigatoni_core.api.errors import AccessDenied, DestinationError, Transient


class S3Error(DestinationError):
    """The store refuses a request for a reason that has no class of its own."""

    id = "s3"
    default_remedy = "Fix the cause in the store's message, then restart: the pipeline resumes from its checkpoint."


class S3AccessError(S3Error, AccessDenied):
    """The credentials are missing, expired or wrong, or lack a permission."""

    id = "s3-access"


class S3BucketError(S3Error):
    """The bucket does not exist, or is in another region."""

    id = "s3-bucket"


class S3UnsupportedError(S3Error):
    """The store lacks a feature that the destination needs."""

    id = "s3-unsupported"


class S3ArchivedError(S3Error):
    """An object of the pipeline is archived and cannot be read."""

    id = "s3-archived"
    default_remedy = (
        "Restore the object (`aws s3api restore-object`), restart, and exclude this pipeline's prefix from the "
        "lifecycle rule that archives objects: Rigatoni reads its own objects."
    )


class S3UnavailableError(S3Error, Transient):
    """The store does not respond, or fails internally."""

    id = "s3-unavailable"
    default_remedy = "Wait: the worker retries. If the error persists, check the network, the endpoint and the store."


class S3ThrottledError(S3UnavailableError):
    """The store asks for fewer requests."""

    id = "s3-throttled"
    default_remedy = "Wait: the worker backs off. If the error persists, write fewer and larger objects."


class S3ConflictError(S3Error, Transient):
    """Another request to the same key was in progress."""

    id = "s3-conflict"
    default_remedy = "Wait: the worker retries and reads what the other request has written."


_ACTIONS = {
    "PutObject": "s3:PutObject",
    "HeadObject": "s3:GetObject",
    "GetObject": "s3:GetObject",
    "DeleteObject": "s3:DeleteObject",
    "ListObjectsV2": "s3:ListBucket",
}
_THROTTLED = re.compile(
    r"throttl|slow_?down|too_?many_?(requests|connections)|(limit|rate|throughput)_?exceeded|request_?rate|server_?busy",
    re.IGNORECASE,
)
"""Matches the error codes of throttling, which differ between stores. botocore lists 14 for AWS alone (its module
`retries.standard`), KMS adds its own prefix (`KMS.ThrottlingException`), MinIO uses SlowDownWrite, Aliyun
QpsLimitExceeded. No permanent error has such a code."""

_CREDENTIALS = {
    "InvalidAccessKeyId": "Check the access key id, and that it belongs to this store.",
    "XAdminUserNotFound": "Check the access key id, and that it belongs to this store.",  # versitygw
    "SignatureDoesNotMatch": "Check the secret access key, and the region.",
    "AuthorizationHeaderMalformed": "Set region to the bucket's region.",
    "InvalidToken": "Check the session token.",
    "ExpiredToken": "Renew the credentials and restart. A role or web identity is renewed automatically.",
    "ExpiredTokenException": "Renew the credentials and restart.",
    "TokenRefreshRequired": "Renew the credentials and restart.",
    "RequestTimeTooSkewed": "Set this machine's clock: it differs too much from the store's.",
}
_CONFLICT = {"ConditionalRequestConflict", "OperationAborted", "NoSuchUpload", "409"}
_FOLDER_CLASH = {"ExistingObjectIsDirectory", "ObjectParentIsFile", "XMinioParentIsObject", "ExistingObjectIsFile"}
_ELSEWHERE = {
    "PermanentRedirect",
    "TemporaryRedirect",
    "IllegalLocation",
    "IllegalLocationConstraintException",
    "301",
    "307",
}
_TEMPORARY = {"RequestTimeout", "RequestTimeoutException", "InternalError", "ServiceUnavailable", "IncompleteBody"}
_TEMPORARY |= {"BadDigest", "KMS.KMSInternalException", "KMS.DependencyTimeoutException", "KMS.KeyUnavailableException"}
_TEMPORARY_STATUSES = {0, 408, 425}
"""In addition to 5xx: no status, and the two 4xx that clients may retry unchanged (RFC 9110, RFC 8470)."""


@contextmanager
def translated(bucket: str) -> Iterator[None]:
    """Translate boto's errors in this block into `S3Error`s that name the bucket and the action."""
    try:
        yield
    except boto.ClientError as error:
        raise _refused(error, bucket) from error
    except (boto.SSOError, boto.TokenRetrievalError) as error:
        raise S3AccessError(
            f"no credentials for s3://{bucket}: {error}", remedy="Sign in again, for example with `aws sso login`."
        ) from error
    except (boto.NoCredentialsError, boto.PartialCredentialsError, boto.ProfileNotFound) as error:
        raise S3AccessError(
            f"no credentials for s3://{bucket}: {error}",
            remedy="Set profile, role_arn, or access_key_id and secret_access_key, or another source of boto's chain.",
        ) from error
    except (boto.NoRegionError, boto.ParamValidationError, boto.UnknownServiceError, ValueError) as error:
        raise S3Error(f"a request to s3://{bucket} is invalid: {error}", remedy="Correct the options.") from error
    except (boto.BotoCoreError, boto.HTTPClientError, OSError) as error:
        raise S3UnavailableError(f"s3://{bucket} cannot be reached: {error}") from error


def status_of(error: boto.ClientError) -> int:
    """Return the HTTP status of an error response; 0 if it has none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def code_of(error: boto.ClientError) -> str:
    """Return the store's error code. A response to HEAD has no body: boto uses its status as the code."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _refused(error: boto.ClientError, bucket: str) -> S3Error:
    code, status, operation = code_of(error), status_of(error), error.operation_name
    action = _ACTIONS.get(operation, operation)
    message = str(error.response.get("Error", {}).get("Message", ""))[:300]
    what = f"{operation} in s3://{bucket} failed: {code}" + (f" ({message})" if message and message != code else "")
    hint = _retry_after(error)
    if _THROTTLED.search(code) or status in (429, 509):
        return S3ThrottledError(what, retry_after=hint)
    if code in _FOLDER_CLASH:
        return S3Error(what, remedy="Move one of the two objects away: this store keeps keys as files and folders.")
    if code in _CONFLICT or status == 409:
        return S3ConflictError(what, retry_after=hint)
    if code in _CREDENTIALS:
        return S3AccessError(what, remedy=_CREDENTIALS[code])
    if status == 501:
        return S3UnsupportedError(what, remedy="Remove the option that this store does not support.")
    if code in _TEMPORARY or status in _TEMPORARY_STATUSES or status >= 500:
        return S3UnavailableError(what, retry_after=hint)
    if code == "NoSuchBucket":
        return S3BucketError(what, remedy=f"Create the bucket {bucket}, or correct bucket, region or endpoint_url.")
    if code in _ELSEWHERE:
        return S3BucketError(what, remedy=f"Set region to the region of the bucket {bucket}.")
    if code == "InvalidObjectState":
        return S3ArchivedError(f"{what}: the object was moved to an archive storage class")
    if code in ("400", "401", "403"):  # a response to HEAD has only a status
        return S3AccessError(what, remedy=_unexplained(code, action, bucket))
    if code.startswith("KMS."):
        return S3AccessError(
            what, remedy="Check sse_kms_key_id: the key must exist, be enabled, and be in the bucket's region."
        )
    if status in (401, 403):
        return S3AccessError(what, remedy=_allow(action, bucket))
    return S3Error(what)


def _allow(action: str, bucket: str) -> str:
    resource = f"arn:aws:s3:::{bucket}" if action == "s3:ListBucket" else f"arn:aws:s3:::{bucket}/*"
    more = ""
    if action == "s3:PutObject":
        more = (
            ". Also allow s3:PutObjectTagging for tags, s3:PutObjectAcl for acl, and kms:GenerateDataKey and "
            "kms:Decrypt for a KMS key"
        )
    return f"Allow {action} on {resource} for these credentials{more}."


def _unexplained(code: str, action: str, bucket: str) -> str:
    """Return the remedy for an error without a reason, most frequent cause first. AWS sends 400 for expired tokens."""
    renew = "Renew the credentials if they have expired; check the secret access key and this machine's clock."
    if code == "403":
        return f"{_allow(action, bucket)} {renew}"
    return f"{renew} {_allow(action, bucket)} Set region to the bucket's region."


def _retry_after(error: boto.ClientError) -> float | None:
    headers: dict[str, Any] = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    text = str(headers.get("retry-after", ""))
    return float(text) if text.isdecimal() else None
