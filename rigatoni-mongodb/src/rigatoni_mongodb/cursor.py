"""The seam to the driver: whole raw replies of a change stream's cursor.

`next_reply()` is all that the rest of the source knows of a driver. PyMongo's public `cursor_command` opens the
cursor, and keeps it on its server, in its session, and closes it; only the unpacking of an answer is replaced: the
array of events stays one piece of bytes (0.4 µs an event less than decoding it even lazily). This module leans on
`_unpack_response`, `_batch_size` and `_post_batch_resume_token` of PyMongo's cursors and is tested against each release
that the package allows.
"""

import asyncio
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import attrs
import bson
from pymongo.errors import AutoReconnect, InvalidOperation, PyMongoError
from pymongo.read_preferences import _ServerMode
from rigatoni_bson.elements import INT32, documents_of, elements
from rigatoni_core.api.events import Timestamp
from rigatoni_core.api.segments import Segment

from rigatoni_mongodb.driver import Calls, Driver

EMPTY = Segment(memoryview(b""), (0,))
CLOSE_LIMIT = 5.0
"""Seconds that closing a cursor may take: a stream that is given up must not hang there again."""

_NOTHING = b"\5\0\0\0\0"
"""An empty array."""


@attrs.frozen
class Reply:
    """One answer of the server: the events' raw documents, and where the stream stands after them.

    `token` is the post-batch resume token, None where the server sends none; `alive` is False when this was the
    cursor's last answer.
    """

    documents: Segment
    token: dict[str, Any] | None
    operation_time: Timestamp | None
    cluster_time: Timestamp | None
    alive: bool


class ReplyCursor(Protocol):
    """An open change stream. After any cancellation of `next_reply` it must be closed and opened anew."""

    opening: Reply

    async def next_reply(self, events: int) -> Reply:
        """The next reply, of at most `events` events."""

    async def close(self) -> None:
        """Close the cursor on the server."""


class PyMongoCursor:
    """A `ReplyCursor` on PyMongo's own cursors, async or not."""

    def __init__(self, cursor: Any, session: Any, calls: Calls) -> None:
        self._cursor = cursor
        self._session = session
        self._calls = calls
        self._batch = EMPTY
        self.opening = self._reply()
        cursor._unpack_response = self._unpack

    @classmethod
    async def open(
        cls,
        driver: Driver,
        database: str,
        command: dict[str, Any],
        *,
        read_preference: _ServerMode | None,
        max_await_time_ms: int,
        comment: str | None,
    ) -> "PyMongoCursor":
        """Run an aggregate command with `cursor: {batchSize: 0}`. Raises PyMongo's own errors.

        Without a read preference the client's own is used, which its URI says.
        """
        session = driver.client.start_session(causal_consistency=False)
        calls = driver.new_calls()
        try:
            with _damage():
                cursor = await calls(
                    driver.client[database].cursor_command,
                    command,
                    read_preference=read_preference or driver.client.read_preference,
                    session=session,
                    comment=comment,
                    max_await_time_ms=max_await_time_ms,
                )
                return cls(cursor, session, calls)
        except BaseException:
            await calls(session.end_session)
            calls.close()
            raise

    async def next_reply(self, events: int) -> Reply:
        """See `ReplyCursor`."""
        self._batch = EMPTY
        self._cursor._batch_size = events  # its public setter makes 2 of 1
        with _damage():
            await self._calls(self._cursor.try_next)  # one getMore; its events are kept by _unpack
            return self._reply()

    async def close(self) -> None:
        """Close it within `CLOSE_LIMIT`: a server that does not reply ends cursor and session by itself."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_LIMIT):
                    with suppress(PyMongoError), _damage():
                        await self._calls(self._cursor.close)
                    await self._calls(self._session.end_session)
        finally:
            self._calls.close()

    def _reply(self) -> Reply:
        cluster_time = self._session.cluster_time
        return Reply(
            documents=self._batch,
            token=dict(token) if (token := self._cursor._post_batch_resume_token) else None,
            operation_time=_timestamp(self._session.operation_time),
            cluster_time=_timestamp(cluster_time["clusterTime"]) if cluster_time else None,
            alive=self._cursor.alive,
        )

    def _unpack(self, response: Any, *_: Any, **__: Any) -> list[dict[str, Any]]:
        """The reply as PyMongo wants to see it, with an empty batch; the events' bytes are kept aside."""
        with _damage():
            return [self._envelope(response)]

    def _envelope(self, response: Any) -> dict[str, Any]:
        payload = memoryview(response.raw_command_response())
        cursor = _place(payload, 0, b"cursor", 0x03)
        if cursor is None:
            reply: dict[str, Any] = bson.decode(payload)
            if reply.get("ok") == 1:
                raise ValueError("it succeeded and has no cursor")
            return reply
        batch = _place(payload, cursor.start, b"nextBatch", 0x04)
        if batch is None:  # not the same as an empty one: its token stands after events that nobody has seen
            raise ValueError("its cursor has no nextBatch")
        kept = bytearray().join((payload[: batch.start], _NOTHING, payload[batch.stop :]))
        for document in (0, cursor.start):
            size = INT32(payload, document)[0] - (batch.stop - batch.start - len(_NOTHING))
            struct.pack_into("<i", kept, document, size)
        if batch.stop - batch.start > len(_NOTHING):
            self._batch = documents_of(payload[batch.start : batch.stop])
        return bson.decode(kept)


@contextmanager
def _damage() -> Iterator[None]:
    """A reply that can not be read is like one that did not arrive: AutoReconnect, it has to be asked for again.

    PyMongo says InvalidOperation of a reply without a cursor.
    """
    try:
        yield
    except (
        bson.errors.BSONError,
        struct.error,
        InvalidOperation,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise AutoReconnect(f"a damaged reply: {type(error).__name__}") from None  # its text may quote the document


def _place(document: memoryview, start: int, name: bytes, kind: int) -> slice | None:
    """Where the value of this name and type is in the document at `start`."""
    found = (
        slice(value, after) for type_, key, value, after in elements(document, start) if (type_, key) == (kind, name)
    )
    return next(found, None)


def _timestamp(value: Any) -> Timestamp | None:
    return Timestamp(value.time, value.inc) if value is not None else None
