"""Errors that all tables share. Each destination adds those of its library.

DestinationError
  TableError                  the table cannot be read or written
    TableSchemaError            its columns are not those that Rigatoni writes
    TableRestoredError          it was restored, and the version cannot be determined
    TableConflictError          others committed again and again (transient)
"""

from rigatoni_core.api.errors import DestinationError, Transient


class TableError(DestinationError):
    """The table cannot be read or written."""

    id = "table"
    default_remedy = "See the message of the table's library; the table was not changed."


class TableSchemaError(TableError):
    """A column of the table has another type than the rows. Nothing is ever cast."""

    id = "table-schema"
    default_remedy = (
        "Restore the type of the column, or rename the column: Rigatoni then adds a new one. Nothing was written."
    )


class TableRestoredError(TableError):
    """The table was restored, and the position of the restored version is unknown."""

    id = "table-restored"
    default_remedy = (
        "Restore the table by the number of a version, or remove the table: the stream then resumes from its "
        "checkpoint, in a new table."
    )


class TableConflictError(TableError, Transient):
    """Other writers committed to the table at each attempt."""

    id = "table-conflict"
    default_remedy = "If this repeats, give each stream a table of its own, or run maintenance jobs less often."


class CommitRefusedError(Exception):
    """The table has changed since it was read: read it again. Raised by `TableDestination.commit` and `create`."""
