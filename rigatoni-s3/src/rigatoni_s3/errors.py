"""What can go wrong with an object store, and the translation of boto's errors.

DestinationError
  S3Error                     the store refuses, and trying again will not help by itself
    S3AccessError               credentials or rights: the message names bucket and action (access denied)
    S3BucketError               no such bucket, or it lies in another region
    S3UnsupportedError          the store lacks what the options ask for
    S3KeyTooLongError           a key could be longer than S3 allows
    S3ArchivedError             the object was moved to an archive storage class
    S3UnavailableError          5xx, timeouts, connections (transient)
      S3ThrottledError            too many requests, in every spelling (transient)
    S3ConflictError             another request for the same key was quicker (transient)
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore import exceptions as boto
from rigatoni_core.api.errors import AccessDenied, DestinationError, Transient


class S3Error(DestinationError):
    id = "s3"
    default_remedy = "Look at the message of the store; start again when it is mended: nothing is lost."


class S3AccessError(S3Error, AccessDenied):
    id = "s3-access"


class S3BucketError(S3Error):
    id = "s3-bucket"


class S3UnsupportedError(S3Error):
    id = "s3-unsupported"


class S3ArchivedError(S3Error):
    id = "s3-archived"
    default_remedy = (
        "Restore the object (`aws s3api restore-object`), start again, and exclude this pipeline's prefix from the "
        "lifecycle rule that archives objects: Rigatoni reads back what it wrote."
    )


class S3UnavailableError(S3Error, Transient):
    id = "s3-unavailable"
    default_remedy = "It is tried again. If it lasts, look at the network, the endpoint and the state of the store."


class S3ThrottledError(S3UnavailableError):
    id = "s3-throttled"
    default_remedy = "It is tried again, later each time. If it lasts, write fewer and larger objects."


class S3ConflictError(S3Error, Transient):
    id = "s3-conflict"
    default_remedy = "It is tried again: whoever was quicker is asked what was written."


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
"""Codes that ask for fewer requests. Stores spell them in many ways: botocore lists 14 for AWS alone (its module
`retries.standard`), a key service adds its own prefix (`KMS.ThrottlingException`), MinIO says SlowDownWrite, Aliyun
QpsLimitExceeded. No error that stays has such a name."""

_CREDENTIALS = {
    "InvalidAccessKeyId": "Check the access key id, and that it belongs to this store.",
    "XAdminUserNotFound": "Check the access key id, and that it belongs to this store.",  # versitygw
    "SignatureDoesNotMatch": "Check the secret access key, and the region.",
    "AuthorizationHeaderMalformed": "Set region to the bucket's region.",
    "InvalidToken": "Check the session token.",
    "ExpiredToken": "Renew the credentials and start again; a role and web identity renew themselves.",
    "ExpiredTokenException": "Renew the credentials and start again.",
    "TokenRefreshRequired": "Renew the credentials and start again.",
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
_PASSING = {"RequestTimeout", "RequestTimeoutException", "InternalError", "ServiceUnavailable", "IncompleteBody"}
_PASSING |= {"BadDigest", "KMS.KMSInternalException", "KMS.DependencyTimeoutException", "KMS.KeyUnavailableException"}
_PASSING_STATUSES = {0, 408, 425}
"""Besides 5xx: no status at all, and the two of the 4xx that RFC 9110 and RFC 8470 let a client repeat unchanged."""


@contextmanager
def translated(bucket: str) -> Iterator[None]:
    """Within this block boto's errors become `S3Error`s that name the bucket and the action."""
    try:
        yield
    except boto.ClientError as error:
        raise _answered(error, bucket) from error
    except (boto.SSOError, boto.TokenRetrievalError) as error:
        raise S3AccessError(
            f"no credentials for s3://{bucket}: {error}", remedy="Sign in again, such as with `aws sso login`."
        ) from error
    except (boto.NoCredentialsError, boto.PartialCredentialsError, boto.ProfileNotFound) as error:
        raise S3AccessError(
            f"no credentials for s3://{bucket}: {error}",
            remedy="Set profile, role_arn or access_key_id and secret_access_key, or one of boto's own sources.",
        ) from error
    except (boto.NoRegionError, boto.ParamValidationError, boto.UnknownServiceError, ValueError) as error:
        raise S3Error(f"a request to s3://{bucket} can not be made: {error}", remedy="Check the options.") from error
    except (boto.BotoCoreError, boto.HTTPClientError, OSError) as error:
        raise S3UnavailableError(f"s3://{bucket} can not be reached: {error}") from error


def status_of(error: boto.ClientError) -> int:
    """The HTTP status of an answer; 0 where it has none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def code_of(error: boto.ClientError) -> str:
    """The store's code of an answer. An answer to HEAD has no body: its status stands for the code."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _answered(error: boto.ClientError, bucket: str) -> S3Error:
    code, status, operation = code_of(error), status_of(error), error.operation_name
    action = _ACTIONS.get(operation, operation)
    said = str(error.response.get("Error", {}).get("Message", ""))[:300]
    what = f"{operation} in s3://{bucket} failed: {code}" + (f" ({said})" if said and said != code else "")
    hint = _retry_after(error)
    if _THROTTLED.search(code) or status in (429, 509):
        return S3ThrottledError(what, retry_after=hint)
    if code in _FOLDER_CLASH:
        return S3Error(what, remedy="Move one of the two away: this store keeps keys as files and folders.")
    if code in _CONFLICT or status == 409:
        return S3ConflictError(what, retry_after=hint)
    if code in _CREDENTIALS:
        return S3AccessError(what, remedy=_CREDENTIALS[code])
    if status == 501:
        return S3UnsupportedError(what, remedy="Remove the option that this store does not support.")
    if code in _PASSING or status in _PASSING_STATUSES or status >= 500:
        return S3UnavailableError(what, retry_after=hint)
    if code == "NoSuchBucket":
        return S3BucketError(what, remedy=f"Create the bucket {bucket}, or correct bucket, region or endpoint_url.")
    if code in _ELSEWHERE:
        return S3BucketError(what, remedy=f"Set region to the region of the bucket {bucket}.")
    if code == "InvalidObjectState":
        return S3ArchivedError(f"{what}: the object was moved to an archive storage class")
    if code in ("400", "401", "403"):  # HEAD has no body: the status is all that the store says
        return S3AccessError(what, remedy=_unexplained(code, action, bucket))
    if code.startswith("KMS."):
        return S3AccessError(
            what, remedy="Check sse_kms_key_id: the key must exist, be enabled, and lie in the region."
        )
    if status in (401, 403):
        return S3AccessError(what, remedy=_allow(action, bucket))
    return S3Error(what)


def _allow(action: str, bucket: str) -> str:
    resource = f"arn:aws:s3:::{bucket}" if action == "s3:ListBucket" else f"arn:aws:s3:::{bucket}/*"
    more = ""
    if action == "s3:PutObject":
        more = (
            ". With tags it needs s3:PutObjectTagging, with acl s3:PutObjectAcl, with a KMS key kms:GenerateDataKey "
            "and kms:Decrypt, too"
        )
    return f"Allow {action} on {resource} to these credentials{more}."


def _unexplained(code: str, action: str, bucket: str) -> str:
    """The remedy where the store gives no reason, most frequent cause first: AWS says 400 of an expired token."""
    renew = "Renew the credentials if they have expired; check the secret access key and this machine's clock."
    if code == "403":
        return f"{_allow(action, bucket)} {renew}"
    return f"{renew} {_allow(action, bucket)} Set region to the bucket's region."


def _retry_after(error: boto.ClientError) -> float | None:
    headers: dict[str, Any] = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    text = str(headers.get("retry-after", ""))
    return float(text) if text.isdecimal() else None
