"""What the checks look at: a connection, the streams, and the options that decide what can go wrong."""

from collections.abc import Sequence
from typing import Any

import attrs
from pymongo.errors import OperationFailure
from rigatoni_core.api.contracts import Finding

from rigatoni_mongodb.driver import Driver
from rigatoni_mongodb.error_codes import UNAVAILABLE, is_resumable
from rigatoni_mongodb.scope import Watch

MAX_TIME_MS = 5_000
"""Milliseconds after which the server abandons a read of a check."""


@attrs.frozen(kw_only=True)
class Examined:
    """An entered source.

    Attributes:
        driver: Its connection.
        hosts: The hosts as in messages.
        version: The server's version, such as `5.0.7`; empty if unknown.
        is_sharded: Whether the connection leads to a `mongos`.
        watches: The scopes of its streams.
        full_document: The option of this name.
        full_document_before_change: The option of this name.
        reads_secondaries: Whether streams may be read from a secondary.
        takes_snapshots: Whether streams may have snapshots.
    """

    driver: Driver
    hosts: str
    version: str
    is_sharded: bool
    watches: Sequence[Watch]
    full_document: str
    full_document_before_change: str
    reads_secondaries: bool
    takes_snapshots: bool

    async def command(self, name: str, **options: Any) -> dict[str, Any] | OperationFailure:
        """Return the response to a command on `admin`, or the refusal. Raises PyMongo's temporary errors."""
        reply: dict[str, Any] | OperationFailure = await self.tried(self.driver.client.admin.command, name, **options)
        return reply

    async def tried(self, method: Any, *arguments: Any, **options: Any) -> Any:
        """Return what a method of the driver returns, or the server's refusal. Raises PyMongo's temporary errors."""
        try:
            return await self.driver.calls(method, *arguments, **options)
        except OperationFailure as error:
            if is_resumable(error) or error.code in UNAVAILABLE:
                raise
            return error


def refused(what: str, refusal: OperationFailure, remedy: str) -> Finding:
    """Return the finding of a check that the server does not permit or support.

    Args:
        what: What cannot be read.
        refusal: The server's error; only its name or code is shown.
        remedy: What the user should do.
    """
    name = (refusal.details or {}).get("codeName") or f"code {refusal.code}"
    return Finding("not checked", f"{what} cannot be read: the server refuses it ({name})", remedy)
