"""Writing raw documents as JSON texts: many at a time, by the quickest way that is faithful."""

from collections.abc import Sequence

from rigatoni_bson.decoded import Decoded
from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.modes import MODES
from rigatoni_bson.shapes import Shapes
from rigatoni_bson.walker import Walker

CHUNK = 512
"""Documents worth handing over at once: enough for columns, few enough that the garbage collector does not notice."""


class JsonWriter:
    """Writes documents in one mode (a name in `MODES`; ValueError for any other). Thread-safe.

    The same document gives the same bytes whichever of three ways it takes: `Shapes` for many alike, `Decoded`
    (PyMongo and orjson) where that is faithful, `Walker` for everything.
    """

    def __init__(self, mode: str) -> None:
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}; it must be one of {', '.join(MODES)}")
        known = MODES[mode]()
        self._walker = Walker(known)
        self._decoded = Decoded(known) if mode != "canonical" else None
        self._shapes = Shapes(known, self._walker)

    def texts(self, documents: Sequence[bytes]) -> list[bytes | MalformedEventError]:
        """For each raw document its JSON text in UTF-8 (no newline in it), or what is wrong with it."""
        texts: list[bytes | MalformedEventError] = []
        for start in range(0, len(documents), CHUNK):
            chunk = documents[start : start + CHUNK]
            known = self._shapes.lines(chunk)
            texts += [text or self._text(raw) for text, raw in zip(known, chunk, strict=True)]
        return texts

    def _text(self, raw: bytes) -> bytes | MalformedEventError:
        try:
            return (self._decoded and self._decoded.line(raw)) or self._walker.line(raw)
        except MalformedEventError as error:
            return error
