"""The shapes that the documents of a stream have at present: learned while they pass, forgotten when they stop."""

import threading
from collections.abc import Sequence

import attrs

from rigatoni_bson.errors import MalformedEventError
from rigatoni_bson.json_encoder import Walker
from rigatoni_bson.json_template import NoShapeError, Row, Shape
from rigatoni_bson.modes import Relaxed

_MOST = 8
"""Shapes known at a time: each costs every document that is of none a look."""
_FEW = 4
"""Fewer documents of a shape are not worth setting up its columns."""
_WORTH = 16
"""Documents that a new shape must explain at once to be kept; learning one costs about 2 ms."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 512, 65_536
"""Documents without a shape that pass before the next attempt after a vain one; it doubles each time."""


@attrs.define(eq=False)
class _Known:
    shape: Shape
    use: float


class Shapes:
    """Writes the documents whose shape is known. Thread-safe; what it knows changes its speed, never its answers."""

    def __init__(self, mode: Relaxed, walker: Walker) -> None:
        self._mode = mode
        self._walker = walker
        self._known: list[_Known] = []
        self._passing = 0
        self._pause = _SHORTEST_PAUSE
        self._lock = threading.Lock()

    def lines(self, raws: Sequence[bytes]) -> list[bytes | None]:
        """For each document its JSON, or None where no shape explains it."""
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
        """A shape that explains enough of the strangers, and these."""
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
        """Keep the shapes in use, the most used first."""
        with self._lock:
            known = {one.shape: one.use for one in self._known}
            for shape, use in uses.items():
                known[shape] = (known[shape] + use) / 2 if shape in known else use
            kept = sorted(known.items(), key=lambda item: item[1], reverse=True)[:_MOST]
            self._known = [_Known(shape, use) for shape, use in kept if use >= _FEW]
