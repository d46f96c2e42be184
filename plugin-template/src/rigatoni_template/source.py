"""The source `template`: reads a file that grows by one JSON document per line."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, ClassVar

import attrs
from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.contracts import Source
from rigatoni_core.api.decoder import Decoder
from rigatoni_core.api.errors import PositionLostError
from rigatoni_core.api.events import ChangeEvent, Definition, Namespace, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.executor import SerialExecutor
from rigatoni_core.api.options import Seconds
from rigatoni_core.api.segments import Segment

from rigatoni_template.errors import TemplateSourceError, reading

_MOST = 1024**2  # bytes per read


class LineDecoder:
    """Decodes raw documents of the form `<offset of the line's end> <operation> <JSON>`. The offset is the token."""

    format = "template-lines"

    def token_and_time(self, raw: memoryview) -> tuple[ResumeToken, Timestamp | None]:
        """Return the token. The file has no times."""
        return ResumeToken(bytes(raw).split(b" ", 1)[0].decode()), None

    def cluster_times(self, documents: Segment) -> Iterable[None]:
        """Return None for each document, because the file has no times."""
        return [None] * len(documents)

    def namespace(self, raw: memoryview) -> Namespace | None:
        """Return the namespace of all lines."""
        return Namespace("lines")

    def scalar_text(self, value: Any) -> str | None:
        """Return the value in JSON notation; None for a document, an array or null."""
        if isinstance(value, (dict, list, type(None))):
            return None
        return value if isinstance(value, str) else json.dumps(value)

    def synthesize(self, raw: memoryview, operation: str, fields: Mapping[str, Any]) -> bytes:
        """Return a document with these fields, in which bytes are base64. See `Decoder`."""
        return f"{self.token_and_time(raw)[0]} {operation} {json.dumps(fields, default=_base64)}".encode()

    def event(self, raw: memoryview) -> ChangeEvent:
        """Decode a line. Raises ValueError if it is not a JSON document."""
        token, operation, text = bytes(raw).decode().split(" ", 2)
        document = json.loads(text)
        if not isinstance(document, dict):
            raise ValueError("the line is not a document")
        return ChangeEvent(ResumeToken(token), operation, self.namespace(raw), full_document=document)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


@attrs.define(kw_only=True, eq=False)
class TemplateSource(Source):
    """Reads complete lines only. A position is the offset after a line."""

    path: Annotated[Path, "File that grows by one JSON document per line"]
    poll_interval: Annotated[Seconds, "Delay between two reads at the end of the file"] = 0.5

    decoder: ClassVar[Decoder] = LineDecoder()
    _thread: SerialExecutor = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._thread = SerialExecutor(
            "rigatoni-template", lambda seconds: TemplateSourceError(f"{self.path} has hung for {seconds:.0f} s")
        )

    async def streams(self) -> Sequence[str]:
        """Return the only stream."""
        return ["lines"]

    def definition(self, stream: Stream) -> Definition:
        """Return what determines the events of the stream: the file."""
        return Definition("lines", {"path": str(self.path)})

    async def read(self, stream: Stream, *, after: Position | None) -> AsyncIterator[EventBatch | Heartbeat]:
        """Read the lines after a position. A fresh stream starts at the end of the file. See `Source`."""
        size = await self._thread.run(self._size)
        position = after or Position(ResumeToken(str(size)), "lines", None, size)
        if int(position.resume_token) > size:
            raise PositionLostError(f"{self.path} has only {size} bytes: lines before the position are missing")
        yield Heartbeat(position)
        while True:
            raws = await self._thread.run(partial(self._raws, int(position.resume_token)))
            if raws:
                offsets = list(accumulate(map(len, raws), initial=0))
                batch = EventBatch.from_reply(position, stream, memoryview(b"".join(raws)), offsets, self.decoder)
                position = batch.end
                yield batch
            else:
                yield Heartbeat(position, caught_up=True)
                await asyncio.sleep(self.poll_interval)

    def _size(self) -> int:
        """Return the size of the file up to the last complete line."""
        with reading(self.path), self.path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - _MOST)
            file.seek(start)
            return start + file.read().rfind(b"\n") + 1

    def _raws(self, offset: int) -> list[bytes]:
        """Return the raw documents of the complete lines after an offset."""
        with reading(self.path), self.path.open("rb") as file:
            file.seek(offset)
            lines = file.read(_MOST).splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        ends = list(accumulate(map(len, lines), initial=offset))[1:]
        return [b"%d insert %s" % (end, line.rstrip(b"\r\n")) for end, line in zip(ends, lines, strict=True)]
