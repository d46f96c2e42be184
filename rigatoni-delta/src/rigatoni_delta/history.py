"""The record of a stream in a table's log: in the commit information of the stream's newest commit in force.

Commits of others, such as a compaction or a Spark job, carry no record and do not matter. A `RESTORE` makes the record
of the restored version the one in force.
"""

from collections.abc import Mapping
from typing import Any

from deltalake import DeltaTable
from rigatoni_core.api.events import Stream
from rigatoni_core.api.stream_record import StreamRecord
from rigatoni_tables.errors import TableRestoredError

_FIRST = 8
"""Commits that are read at first; then eight times as many, until the record is found."""


def app_id(stream: Stream) -> str:
    """Return the application id of a stream's transactions in the table, and the name of its record."""
    return f"rigatoni/{stream.key}"


def record_in(table: DeltaTable, stream: Stream, where: str) -> StreamRecord | None:
    """Return the record in force; None if the stream never committed to the table.

    Raises:
        TableRestoredError: The table was restored, and the record of the restored version cannot be found; or the log
            no longer holds the stream's newest commit.
    """
    name = app_id(stream)
    if table.transaction_version(name) is None:
        return None
    limit = _FIRST
    while True:
        commits = table.history(limit)
        ceiling = table.version()
        for commit in commits:
            if commit["version"] > ceiling:
                continue
            if name in commit:
                text = commit[name]
                return StreamRecord.load(stream, text, f"the commit {commit['version']} of {where}")
            if commit.get("operation") == "RESTORE":
                ceiling = _restored(commit, where)
        if commits and commits[-1]["version"] == 0:
            return None  # restored to a version before the stream's first commit
        if len(commits) < limit:
            raise TableRestoredError(
                f"{stream}: the log of {where} no longer holds the stream's newest commit, only the "
                f"{len(commits)} newest commits (delta.logRetentionDuration)"
            )
        limit *= 8


def _restored(commit: Mapping[str, Any], where: str) -> int:
    """Return the version that a commit restored."""
    version = commit.get("operationParameters", {}).get("version")
    if version is None:
        raise TableRestoredError(f"{where} was restored by time in version {commit['version']}, not by version")
    return int(version)
