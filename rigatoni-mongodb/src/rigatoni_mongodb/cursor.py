"""The interface to the driver: whole raw replies of a cursor, of a change stream or of a snapshot's reads.

The rest of the source uses only `next_reply()`. PyMongo's public `cursor_command` opens the cursor, pins it to its
server and session, and closes it. Only the unpacking of a reply is replaced, so that the array of events stays one
piece of bytes (0.4 µs per event faster than even lazy decoding). This module relies on `_unpack_response`,
`_batch_size` and `_post_batch_resume_token` of PyMongo's cursors, and is tested against each supported release.
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
"""Seconds that closing a cursor may take, so that an abandoned stream does not hang again."""

_NOTHING = b"\5\0\0\0\0"
"""An empty array."""


@attrs.frozen
class Reply:
    """One reply of the server: the events' raw documents, and the stream's position after them.

    `token` is the post-batch resume token, None if the server sends none; `alive` is False for the cursor's last reply.
    `read_time` is the cluster time of a read with the read concern `snapshot`; None if the server reports none, as in
    the opening reply.
    """

    documents: Segment
    token: dict[str, Any] | None
    operation_time: Timestamp | None
    cluster_time: Timestamp | None
    alive: bool
    read_time: Timestamp | None = None


class ReplyCursor(Protocol):
    """An open cursor. After a cancelled `next_reply` it must be closed and reopened."""

    opening: Reply

    async def next_reply(self, events: int) -> Reply:
        """Return the next reply, with at most `events` documents; 0 for as many as fit into 16 MiB."""

    async def close(self) -> None:
        """Close the cursor on the server."""


class PyMongoCursor:
    """A `ReplyCursor` on PyMongo's own cursors, async or not."""

    def __init__(self, cursor: Any, session: Any, calls: Calls) -> None:
        self._cursor = cursor
        self._session = session
        self._calls = calls
        self._batch = EMPTY
        self._read_time: Timestamp | None = None
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
        max_await_time_ms: int | None,
        comment: str | None,
    ) -> "PyMongoCursor":
        """Run a command that opens a cursor with a batch size of 0. Raises PyMongo's own errors.

        Only cursors of change streams take `max_await_time_ms`. The default read preference is the client's, as its URI
        sets it.
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
        self._cursor._batch_size = events  # its public setter turns 1 into 2
        with _damage():
            await self._calls(self._cursor.try_next)  # one getMore; its events are kept by _unpack
            return self._reply()

    async def close(self) -> None:
        """Close the cursor within `CLOSE_LIMIT`: a server that does not reply drops cursor and session by itself."""
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
            read_time=self._read_time,
        )

    def _unpack(self, response: Any, *_: Any, **__: Any) -> list[dict[str, Any]]:
        """Return the reply to PyMongo with an empty batch, and keep the events' bytes."""
        with _damage():
            envelope = self._envelope(response)
            self._read_time = _timestamp(envelope.get("cursor", {}).get("atClusterTime"))
            return [envelope]

    def _envelope(self, response: Any) -> dict[str, Any]:
        payload = memoryview(response.raw_command_response())
        cursor = _place(payload, 0, b"cursor", 0x03)
        if cursor is None:
            reply: dict[str, Any] = bson.decode(payload)
            if reply.get("ok") == 1:
                raise ValueError("it reports success and has no cursor")
            return reply
        batch = _place(payload, cursor.start, b"nextBatch", 0x04)
        if batch is None:  # unlike an empty one: its token may be after unread events
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
    """Translate errors of a damaged reply into AutoReconnect, so that it is requested again.

    PyMongo raises InvalidOperation for a reply without a cursor.
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
    """Return the place of the value with this name and type in the document at `start`."""
    found = (
        slice(value, after) for type_, key, value, after in elements(document, start) if (type_, key) == (kind, name)
    )
    return next(found, None)


def _timestamp(value: Any) -> Timestamp | None:
    return Timestamp(value.time, value.inc) if value is not None else None
