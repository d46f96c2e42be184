"""Probes the features of a bucket and the permissions of the credentials with a few small requests at the start."""

import secrets
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from threading import Thread

import attrs
from botocore.exceptions import ClientError

from rigatoni_s3.bucket import Bucket
from rigatoni_s3.errors import S3ConflictError, S3Error, S3UnsupportedError, code_of, translated

RACERS = 4
"""Threads that put the same new key concurrently: with atomic conditional puts exactly one succeeds."""

PROBES = "_rigatoni-probe/"
"""The folder of the probe's objects, below the prefix."""

_TEXT = "text/plain"
_HEADER_REFUSED = {"NotImplemented", "InvalidArgument", "InvalidRequest"}


def probe(bucket: Bucket, prefix: str) -> None:
    """Put, read and list an object below `<prefix>/_rigatoni-probe/`.

    Raises an `S3Error` that names what is missing. If deleting the probe's object is forbidden, the object remains.
    """
    folder = _folder(prefix)
    key = f"{folder}{secrets.token_hex(8)}"
    plain = attrs.evolve(bucket, conditional=False)
    with translated(bucket.name):
        bucket.keys(folder, limit=1)
        plain.create(key, b"probe\n", media_type=_TEXT, metadata={"rigatoni-probe": "probe"})
        try:
            if (bucket.metadata(key) or {}).get("rigatoni-probe") != "probe":
                raise S3UnsupportedError(
                    f"s3://{bucket.name} does not keep the metadata of objects, which Rigatoni needs for its records"
                )
            if bucket.content(key) != b"probe\n":
                raise S3Error(f"s3://{bucket.name}/{key} returned other content than was just written")
        finally:
            _remove(bucket, key)


def is_atomic(bucket: Bucket, prefix: str) -> bool:
    """Return whether `If-None-Match: *` lets exactly one of several concurrent writers create an object."""
    key = f"{_folder(prefix)}{secrets.token_hex(8)}"
    racing = attrs.evolve(bucket, conditional=True)

    def put(number: int) -> bool:
        try:
            return racing.create(key, b"%d\n" % number, media_type=_TEXT)
        except S3ConflictError:
            return False
        except S3Error as error:
            if isinstance(error.__cause__, ClientError) and code_of(error.__cause__) in _HEADER_REFUSED:
                return False
            raise

    try:
        futures: list[Future[bool]] = [Future() for _ in range(RACERS)]
        for number, future in enumerate(futures):  # daemons: the process need not wait for a hanging one
            Thread(target=_run, args=(future, partial(put, number)), daemon=True).start()
        return sum(future.result() for future in futures) == 1 and not put(RACERS)
    finally:
        _remove(bucket, key)


def _folder(prefix: str) -> str:
    return f"{prefix.strip('/')}/{PROBES}".lstrip("/")


def _run(future: Future[bool], call: Callable[[], bool]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)


def _remove(bucket: Bucket, key: str) -> None:
    with suppress(S3Error), translated(bucket.name):  # a leftover is harmless
        bucket.client.delete_object(Bucket=bucket.name, Key=key)
