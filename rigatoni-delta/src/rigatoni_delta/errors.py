"""Errors of Delta tables, and the translation of deltalake's exceptions.

TableError
  DeltaTableError             the library refuses what retrying does not fix
    DeltaAccessError            credentials or permissions of the store
    DeltaUnavailableError       the store does not respond, or is full (transient)
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from deltalake.exceptions import CommitFailedError, DeltaError
from rigatoni_core.api.errors import AccessDenied, Transient
from rigatoni_tables.errors import CommitRefusedError, TableError

_DENIED = re.compile(
    r"permission denied|access.?denied|forbidden|unauthorized|credential|InvalidAccessKeyId|SignatureDoesNotMatch|"
    r"\b40[13]\b",
    re.IGNORECASE,
)
_PERMANENT = re.compile(r"schema|protocol|unsupported|not a Delta table|invalid", re.IGNORECASE)
_SECRET = re.compile(r"(?<=[?&])(sig|X-Amz-[A-Za-z-]+|X-Goog-[A-Za-z-]+)=[^&\s\"]+")


class DeltaTableError(TableError):
    """The library refuses an operation for a reason that has no class of its own."""

    id = "delta"


class DeltaAccessError(DeltaTableError, AccessDenied):
    """The store denies access."""

    id = "delta-access"
    default_remedy = (
        "Check the credentials in storage_options, and grant reading, listing and writing below the table's path."
    )


class DeltaUnavailableError(DeltaTableError, Transient):
    """The store does not respond, or has no space left."""

    id = "delta-unavailable"
    default_remedy = "Check that the store can be reached and has space. Rigatoni retries; nothing is lost."


@contextmanager
def translated(what: str, where: str) -> Iterator[None]:
    """Raise the library's errors as Rigatoni's; a refused commit as `CommitRefusedError`."""
    try:
        yield
    except CommitFailedError:
        raise CommitRefusedError from None
    except (DeltaError, OSError, ValueError) as error:
        said = _SECRET.sub(r"\1=...", str(error)).strip()
        text = f"cannot {what} {where}: {said}"
        if _DENIED.search(said):
            raise DeltaAccessError(text) from None
        if isinstance(error, OSError) or not _PERMANENT.search(said):
            raise DeltaUnavailableError(text) from None
        raise DeltaTableError(text) from None
