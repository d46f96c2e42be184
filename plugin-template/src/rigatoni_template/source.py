"""The source `template`: a file that grows by one JSON document per line."""

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
from rigatoni_core.api.segments import Segment

from rigatoni_template.errors import TemplateSourceError, reading

_MOST = 1024**2  # bytes that are read at once


class LineDecoder:
    """A raw document is `<offset of the line's end> <operation> <JSON>`; the offset is the resume token."""

    format = "template-lines"

    def token_and_time(self, raw: memoryview) -> tuple[ResumeToken, Timestamp | None]:
        """The file knows no time."""
        return ResumeToken(bytes(raw).split(b" ", 1)[0].decode()), None

    def cluster_times(self, documents: Segment) -> Iterable[None]:
        """The file knows no time."""
        return [None] * len(documents)

    def namespace(self, raw: memoryview) -> Namespace | None:
        """All lines are of one stream."""
        return Namespace("lines")

    def scalar_text(self, value: Any) -> str | None:
        """As JSON would write it."""
        if isinstance(value, (dict, list, type(None))):
            return None
        return value if isinstance(value, str) else json.dumps(value)

    def synthesize(self, raw: memoryview, operation: str, fields: Mapping[str, Any]) -> bytes:
        """See `Decoder`; bytes become their base64 text."""
        return f"{self.token_and_time(raw)[0]} {operation} {json.dumps(fields, default=_base64)}".encode()

    def event(self, raw: memoryview) -> ChangeEvent:
        """Raises ValueError where the line is no JSON document."""
        token, operation, text = bytes(raw).decode().split(" ", 2)
        document = json.loads(text)
        if not isinstance(document, dict):
            raise ValueError("the line is no document")
        return ChangeEvent(ResumeToken(token), operation, self.namespace(raw), full_document=document)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


@attrs.define(kw_only=True, eq=False)
class TemplateSource(Source):
    """Reads whole lines only. A position is the offset behind a line."""

    path: Annotated[Path, "A file that grows by one JSON document per line"]
    poll_interval: Annotated[float, "Seconds between two looks at the file"] = 0.5

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
        """See `Source`. A fresh stream begins at the file's end."""
        size = await self._thread.run(self._size)
        position = after or Position(ResumeToken(str(size)), "lines", None, size)
        if int(position.resume_token) > size:
            raise PositionLostError(f"{self.path} has {size} bytes only: the lines up to the position are gone")
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
        """Up to the end of the last whole line."""
        with reading(self.path), self.path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - _MOST)
            file.seek(start)
            return start + file.read().rfind(b"\n") + 1

    def _raws(self, offset: int) -> list[bytes]:
        """The raw documents of the whole lines after an offset."""
        with reading(self.path), self.path.open("rb") as file:
            file.seek(offset)
            lines = file.read(_MOST).splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        ends = list(accumulate(map(len, lines), initial=offset))[1:]
        return [b"%d insert %s" % (end, line.rstrip(b"\r\n")) for end, line in zip(ends, lines, strict=True)]
