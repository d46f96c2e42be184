"""Errors of PostgreSQL, by what the reader can do about them, and the translation of psycopg's exceptions.

DestinationError
  PostgresError                   the server responds with an error that retrying does not fix
    PostgresSchemaError             a table, a column or a schema is missing or of another kind
    PostgresCredentialsError        user, password, database or pg_hba.conf
    PostgresRightsError             the role lacks a privilege
    PostgresUnavailableError        no response, or not at present (transient)
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors
from rigatoni_core.api.errors import AccessDenied, DestinationError, Transient

REFUSED_ROWS = (psycopg.DataError, psycopg.IntegrityError, errors.ProgramLimitExceeded)
"""What the server raises for a row that it cannot store, such as text with a NUL character in `jsonb`."""

_AT_LOGIN = re.compile(r"authentication failed|no password supplied|pg_hba\.conf|(role|database) \".*\" does not exist")
_UNAVAILABLE = ("08", "40", "53", "55", "57", "58")
"""Classes of SQLSTATE (PostgreSQL manual, appendix A): connection, rollback, resources, state, operator, system."""


class PostgresError(DestinationError):
    """PostgreSQL refuses a statement for a reason that has no class of its own."""

    id = "postgres"
    default_remedy = "Look up the SQLSTATE in PostgreSQL's manual, appendix A, and see the server's log."


class PostgresSchemaError(PostgresError):
    """A schema, table or column is missing, or is not what the destination writes to."""

    id = "postgres-schema"
    default_remedy = (
        "Create what is missing, or restore the table's columns (the README lists them). A table that Rigatoni did not "
        "create may be in the way: rename it, or set another `schema` or `table`. Nothing of the batch was written."
    )


class PostgresCredentialsError(PostgresError, AccessDenied):
    """The server does not let the role log in to the database."""

    id = "postgres-credentials"
    default_remedy = "Check user, password and database in `dsn`, and the server's pg_hba.conf."


class PostgresRightsError(PostgresError, AccessDenied):
    """The role lacks a privilege."""

    id = "postgres-rights"
    default_remedy = (
        "Grant it: GRANT USAGE, CREATE ON SCHEMA public TO rigatoni; GRANT TEMPORARY ON DATABASE ... TO rigatoni; and "
        "for tables of others: GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO rigatoni."
    )


class PostgresUnavailableError(PostgresError, Transient):
    """The server does not respond, is shutting down, or is out of a resource."""

    id = "postgres-unavailable"
    default_remedy = "Check that the server runs, can be reached, and has free connections and disk space."


@contextmanager
def translated(what: str, where: str) -> Iterator[None]:
    """Raise psycopg's errors as Rigatoni's; `what` could not be done at `where`. Texts hold no values of rows."""
    try:
        yield
    except REFUSED_ROWS:
        raise  # the caller finds the rows
    except psycopg.Error as error:
        raise translate(error, what, where) from None


def translate(error: psycopg.Error, what: str, where: str) -> PostgresError:
    """Return Rigatoni's error for one of psycopg's."""
    state, primary = error.sqlstate or "", error.diag.message_primary or ""
    if not state:  # no connection: libpq's text names host and user, never the password
        text = f"cannot {what} in {where}: {str(error).strip() or 'the connection was lost'}"
        return PostgresCredentialsError(text) if _AT_LOGIN.search(text) else PostgresUnavailableError(text)
    said = type(error).__name__ if isinstance(error, REFUSED_ROWS) else primary
    text = f"cannot {what} in {where}: {said} (SQLSTATE {state})"
    if state.startswith("28") or isinstance(error, errors.InvalidCatalogName):
        return PostgresCredentialsError(text)
    if isinstance(error, errors.InsufficientPrivilege):
        return PostgresRightsError(text)
    if isinstance(error, errors.ObjectNotInPrerequisiteState) or state[:2] in ("42", "3F", "0A"):
        return PostgresSchemaError(text)
    return PostgresUnavailableError(text) if state.startswith(_UNAVAILABLE) else PostgresError(text)
