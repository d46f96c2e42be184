"""Errors of Iceberg tables and catalogs, and the translation of PyIceberg's exceptions.

TableError
  IcebergError                  the catalog or the library refuses what retrying does not fix
    IcebergAccessError            credentials or permissions of the catalog or the store
    IcebergUnavailableError       the catalog or the store does not respond (transient)
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pyiceberg import exceptions
from rigatoni_core.api.errors import AccessDenied, Transient
from rigatoni_tables.errors import CommitRefusedError, TableError
from sqlalchemy.exc import OperationalError, SQLAlchemyError

_DENIED = re.compile(
    r"permission denied|access.?denied|forbidden|unauthorized|credential|InvalidAccessKeyId|SignatureDoesNotMatch|"
    r"authentication failed",
    re.IGNORECASE,
)
_DENIED_KINDS = (exceptions.UnauthorizedError, exceptions.ForbiddenError, exceptions.AuthorizationExpiredError)
_AWAY = (
    *(exceptions.ServiceUnavailableError, exceptions.ServerError, exceptions.CommitStateUnknownException),
    *(OSError, OperationalError),
)
_SECRET = re.compile(
    r"(?<=://)[^/@\s]+:[^/@\s]+(?=@)|(?<=[?&])[A-Za-z-]*(?:sig|signature|token)=[^&\s\"]+", re.IGNORECASE
)


class IcebergError(TableError):
    """The catalog or the library refuses an operation for a reason that has no class of its own."""

    id = "iceberg"


class IcebergAccessError(IcebergError, AccessDenied):
    """The catalog or the store denies access."""

    id = "iceberg-access"
    default_remedy = (
        "Check the credentials in `catalog`, and grant creating and changing tables in the namespace, and reading and "
        "writing below its location."
    )


class IcebergUnavailableError(IcebergError, Transient):
    """The catalog or the store does not respond, or a commit has an unknown outcome: the next attempt finds it out."""

    id = "iceberg-unavailable"
    default_remedy = "Check that the catalog and the store can be reached. Rigatoni retries; nothing is lost."


@contextmanager
def translated(what: str, where: str) -> Iterator[None]:
    """Raise the library's errors as Rigatoni's; a refused commit as `CommitRefusedError`."""
    try:
        yield
    except exceptions.CommitFailedException:
        raise CommitRefusedError from None
    except (
        exceptions.RESTError,
        exceptions.CommitStateUnknownException,
        SQLAlchemyError,
        OSError,
        ValueError,
    ) as error:
        cause = getattr(error, "orig", None) or error  # SQLAlchemy's own text quotes the statement and its values
        said = _SECRET.sub("...", str(cause)).strip()
        text = f"cannot {what} {where}: {said}"
        if isinstance(error, _DENIED_KINDS) or _DENIED.search(said):
            raise IcebergAccessError(text) from None
        raise (IcebergUnavailableError if isinstance(error, _AWAY) else IcebergError)(text) from None
