"""A scripted server: speaks OP_MSG to the real PyMongo client, and does what no server does on demand.

It knows one change stream, a list of events, and serves it as a mongod does: replies of `reply_events`, a post-batch
resume token in each, resuming by token. `script` holds what to do instead at the next commands, one entry for each
`aggregate` and each `getMore`; None means: serve.
"""

import asyncio
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import attrs
import bson
from bson.timestamp import Timestamp as BsonTimestamp

_HEADER = struct.Struct("<iiii")
OP_MSG = 2013


@attrs.frozen
class Fail:
    """Answer with an error: its code, labels and text."""

    code: int
    labels: tuple[str, ...] = ()
    message: str = "scripted"

    def reply(self) -> dict[str, Any]:
        labels = {"errorLabels": list(self.labels)} if self.labels else {}
        return {"ok": 0.0, "errmsg": self.message, "code": self.code, "codeName": f"Code{self.code}", **labels}


@attrs.frozen
class Drop:
    """Close the connection, after `sent` bytes of the answer."""

    sent: int = 0


@attrs.frozen
class Invalidate:
    """End the cursor, as after an invalidate event."""


@attrs.define(kw_only=True)
class ScriptedServer:
    """Listens on a free port of the loopback interface while it is entered; `uri` says where.

    `commands` records every aggregate and getMore. `sends_tokens = False` leaves the post-batch resume token out,
    `knows_start_after = False` refuses that option as older servers do.
    """

    events: Sequence[bytes] = ()
    script: list[Any] = attrs.field(factory=list)
    reply_events: int = 1000
    sends_tokens: bool = True
    knows_start_after: bool = True
    operation_time: BsonTimestamp = attrs.field(factory=lambda: BsonTimestamp(1_900_000_000, 1))
    commands: list[dict[str, Any]] = attrs.field(factory=list, init=False)
    _server: asyncio.Server | None = attrs.field(default=None, init=False)
    _cursors: dict[int, int] = attrs.field(factory=dict, init=False)

    @property
    def uri(self) -> str:
        assert self._server is not None
        return f"mongodb://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/?directConnection=true"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**24)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                length, request, _, code = _HEADER.unpack(await reader.readexactly(16))
                body = await reader.readexactly(length - 16)
                command = bson.decode(body[5:]) if code == OP_MSG else {"hello": 1}
                answer = self._answer(command)
                if isinstance(answer, Drop):
                    writer.write(_message(request, bson.encode({"padding": "x" * 1000}))[: answer.sent])
                    await writer.drain()
                    break
                writer.write(_message(request, answer, legacy=code != OP_MSG))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away
        finally:
            writer.close()

    def _answer(self, command: dict[str, Any]) -> bytes | Drop:
        name = next(iter(command))
        if name not in ("aggregate", "getMore"):
            return bson.encode({**self._hello(), "ok": 1.0, "operationTime": self.operation_time})
        self.commands.append(command)
        action = self.script.pop(0) if self.script else None
        if isinstance(action, Drop):
            return action
        if isinstance(action, Fail):
            return bson.encode(action.reply())
        if name == "aggregate":
            return self._open(command)
        return self._more(command, ended=isinstance(action, Invalidate))

    def _open(self, command: dict[str, Any]) -> bytes:
        stage = command["pipeline"][0]["$changeStream"]
        if "startAfter" in stage and not self.knows_start_after:
            return bson.encode(Fail(40415, message="unknown field startAfter").reply())
        token = stage.get("startAfter") or stage.get("resumeAfter")
        index = self._index(token) if token else 0 if "startAtOperationTime" in stage else len(self.events)
        cursor = len(self._cursors) + 1
        self._cursors[cursor] = index
        return self._cursor_reply(cursor, "firstBatch", [], index)

    def _more(self, command: dict[str, Any], *, ended: bool) -> bytes:
        cursor = int(command["getMore"])
        start = self._cursors.get(cursor)
        if start is None:
            return bson.encode(Fail(43, message="cursor not found").reply())
        stop = min(start + self.reply_events, len(self.events))
        self._cursors[cursor] = stop
        return self._cursor_reply(0 if ended else cursor, "nextBatch", self.events[start:stop], stop)

    def _cursor_reply(self, cursor: int, name: str, batch: Sequence[bytes], index: int) -> bytes:
        documents = [bson.decode(raw, bson.CodecOptions(document_class=bson.raw_bson.RawBSONDocument)) for raw in batch]
        reply: dict[str, Any] = {"id": bson.Int64(cursor), "ns": "shop.orders", name: documents}
        if self.sends_tokens:
            reply["postBatchResumeToken"] = self._token(index)
        return bson.encode({"cursor": reply, "ok": 1.0, "operationTime": self.operation_time})

    def _token(self, index: int) -> dict[str, Any]:
        """Right after an event its own token, else one between events, as a high-water mark is."""
        return bson.decode(self.events[index - 1])["_id"] if index else {"_data": "begin"}

    def _index(self, token: dict[str, Any]) -> int:
        return next((i for i in range(len(self.events) + 1) if self._token(i) == token), len(self.events))

    def _hello(self) -> dict[str, Any]:
        return {
            "isWritablePrimary": True,
            "setName": "scripted",
            "hosts": ["127.0.0.1:1"],
            "maxBsonObjectSize": 16 * 2**20,
            "maxMessageSizeBytes": 48_000_000,
            "maxWriteBatchSize": 100_000,
            "logicalSessionTimeoutMinutes": 30,
            "minWireVersion": 0,
            "maxWireVersion": 17,
        }


def _message(request: int, document: bytes, *, legacy: bool = False) -> bytes:
    """The document as an OP_MSG answer, or as the OP_REPLY that a driver's first handshake may ask for."""
    if legacy:
        body = struct.pack("<iqii", 8, 0, 0, 1) + document
        return _HEADER.pack(16 + len(body), 1, request, 1) + body
    body = struct.pack("<IB", 0, 0) + document
    return _HEADER.pack(16 + len(body), 1, request, OP_MSG) + body
