"""Writes many raw documents as JSON at once, in the fastest way that loses nothing."""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.segments import Segment

from rigatoni_bson.accelerator import completed, documents_for, find_accelerator
from rigatoni_bson.decoded import Decoded
from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.json_encoder import Walker
from rigatoni_bson.modes import MODES
from rigatoni_bson.template_cache import Shapes

CHUNK = 512
"""Documents converted at once: enough for columns, but too few to trigger garbage collections."""


PIECE = 256 * 1024
"""Bytes of raw documents per piece of a file: few calls, little memory."""


def pieces_of(events: EventBatch) -> Iterator[tuple[int, Segment]]:
    """Yield the documents in pieces of about `PIECE` bytes at most, without a copy, with the index of the first."""
    first = 0
    for chunk in events.segments:
        start, offsets = 0, chunk.offsets
        while start < len(chunk):
            stop = max(bisect_right(offsets, offsets[start] + PIECE) - 1, start + 1)
            yield first + start, chunk.cut(start, stop)
            start = stop
        first += len(chunk)


class JsonWriter:
    """Writes documents in one mode (a name in `MODES`; ValueError for others). Thread-safe.

    All ways give the same bytes: rigatoni-native if it is installed (and `accelerated`), `Shapes` for many similar
    documents, `Decoded` (PyMongo and orjson) if it loses nothing, and `Walker` for everything.
    """

    def __init__(self, mode: str, *, accelerated: bool = True) -> None:
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}; it must be one of {', '.join(MODES)}")
        known = MODES[mode]()
        self._mode = mode
        self._accelerator = find_accelerator() if accelerated else None
        self._walker = Walker(known)
        self._decoded = Decoded(known) if mode != "canonical" else None
        self._shapes = Shapes(known, self._walker)

    def texts(self, documents: Sequence[bytes]) -> list[bytes | MalformedEventError]:
        """Return the JSON text in UTF-8 (without newlines) or the error of each raw document."""
        if self._accelerator is not None and documents:
            offsets = array("Q", accumulate(map(len, documents), initial=0))
            lines, malformed = self.lines(Segment(memoryview(b"".join(documents)), offsets))
            rest = iter(lines.split(b"\n"))
            return [malformed.get(index) or next(rest) for index in range(len(documents))]
        texts: list[bytes | MalformedEventError] = []
        for start in range(0, len(documents), CHUNK):
            chunk = documents[start : start + CHUNK]
            known = self._shapes.lines(chunk)
            texts += [text or self._text(raw) for text, raw in zip(known, chunk, strict=True)]
        return texts

    def lines(self, documents: Segment) -> tuple[bytes, dict[int, MalformedEventError]]:
        """Return the documents as lines that end with a newline, and the errors of the others.

        The errors are by index. A document with an error has no line.
        """
        if self._accelerator is None:
            return self._pure_lines(documents)
        whole, places = documents_for(documents)
        text, left = self._accelerator.json_lines(whole, places, self._mode)
        lines, malformed = [], dict[int, MalformedEventError]()
        for index, _ in left:
            line = self._text(whole[places[index] : places[index + 1]])
            if isinstance(line, MalformedEventError):
                malformed[index] = line
                line = b""
            lines.append(line + b"\n" if line else line)
        return completed(text, left, lines) if left else text, malformed

    def _pure_lines(self, documents: Segment) -> tuple[bytes, dict[int, MalformedEventError]]:
        lines: list[bytes] = []
        malformed: dict[int, MalformedEventError] = {}
        for start in range(0, len(documents), CHUNK):
            some = documents.cut(start, min(start + CHUNK, len(documents)))
            for index, line in enumerate(self.texts(some.copies()), start):
                if isinstance(line, MalformedEventError):
                    malformed[index] = line
                else:
                    lines.append(line)
        lines.append(b"")
        return b"\n".join(lines), malformed

    def _text(self, raw: bytes) -> bytes | MalformedEventError:
        try:
            return (self._decoded and self._decoded.line(raw)) or self._walker.line(raw)
        except MalformedEventError as error:
            return error
