"""The present shapes of the documents of a stream: learned as they occur, and dropped when they no longer do."""

import threading
from collections.abc import Sequence

import attrs

from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.json_encoder import Walker
from rigatoni_bson.json_template import NoShapeError, Row, Shape
from rigatoni_bson.modes import Relaxed

_MOST = 8
"""The maximum number of shapes. Each costs time for every document without a known shape."""
_FEW = 4
"""The minimum number of documents for which setting up columns pays off."""
_WORTH = 16
"""The number of documents that a new shape must match at once to be kept. Learning a shape costs about 2 ms."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 512, 65_536
"""The number of documents without a shape before the next attempt after a failed one. It doubles each time."""


@attrs.define(eq=False)
class _Known:
    shape: Shape
    use: float


class Shapes:
    """Writes the documents with a known shape. Thread-safe: its state changes its speed, never its output."""

    def __init__(self, mode: Relaxed, walker: Walker) -> None:
        self._mode = mode
        self._walker = walker
        self._known: list[_Known] = []
        self._passing = 0
        self._pause = _SHORTEST_PAUSE
        self._lock = threading.Lock()

    def lines(self, raws: Sequence[bytes]) -> list[bytes | None]:
        """Return the JSON of each document, or None if it has no known shape."""
        with self._lock:
            shapes = [known.shape for known in self._known]
        found: dict[Shape, dict[int, Row]] = {shape: {} for shape in shapes}
        strangers = []
        for index, raw in enumerate(raws):
            for shape in shapes:
                if row := shape.match(raw):
                    found[shape][index] = row
                    break
            else:
                strangers.append(index)
        while len(strangers) >= _WORTH and (learned := self._learn(raws, strangers)):
            shape, rows = learned
            found[shape] = rows
            strangers = [index for index in strangers if index not in rows]
        self._remember({shape: len(rows) for shape, rows in found.items()})
        lines: list[bytes | None] = [None] * len(raws)
        for shape, rows in found.items():
            if len(rows) >= _FEW:
                for index, line in zip(rows, shape.lines(list(rows.values())), strict=True):
                    lines[index] = line
        return lines

    def _learn(self, raws: Sequence[bytes], strangers: Sequence[int]) -> tuple[Shape, dict[int, Row]] | None:
        """Return a new shape that matches enough of the other documents, and these documents."""
        with self._lock:
            if self._passing > 0:
                self._passing -= len(strangers)
                return None
        sample = raws[strangers[len(strangers) // 2]]
        try:
            self._walker.line(sample)
            shape = Shape(sample, self._mode)
        except (MalformedEventError, NoShapeError):
            rows = {}
        else:
            rows = {index: row for index in strangers if (row := shape.match(raws[index]))}
        with self._lock:
            if len(rows) < _WORTH:
                self._passing, self._pause = self._pause, min(self._pause * 2, _LONGEST_PAUSE)
                return None
            self._pause = _SHORTEST_PAUSE
        return shape, rows

    def _remember(self, uses: dict[Shape, int]) -> None:
        """Keep the shapes in use, most used first."""
        with self._lock:
            known = {one.shape: one.use for one in self._known}
            for shape, use in uses.items():
                known[shape] = (known[shape] + use) / 2 if shape in known else use
            kept = sorted(known.items(), key=lambda item: item[1], reverse=True)[:_MOST]
            self._known = [_Known(shape, use) for shape, use in kept if use >= _FEW]
