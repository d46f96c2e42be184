"""Events of one shape rewritten at once: the same names and types in the same order, as most events of a stream have.

A shape is learned from one event. It is a regular expression over the raw bytes: types, names and closing zeros stand
in it literally, values are wildcards of their size, a text is what comes before the next zero. An event is of the shape
if the expression matches all of it *and* each text and document has the length that it says. Together this is what
walking the event would find. Any other event is walked. So shapes change the speed, and nothing else.
"""

import re
import struct
import threading
from collections.abc import Callable
from itertools import accumulate
from operator import itemgetter
from typing import Final

import attrs

from rigatoni_transforms.documents import ARRAY, DOCUMENT, NULL, SIZES, STRING, Rewriter
from rigatoni_transforms.matching import REMOVE, Element, Rule, State

_BINARY = 0x05
_LARGEST: Final = 65_536
"""Bytes; larger events are not learned from."""
_LONGEST: Final = 8_192
"""Bytes; longer expressions are not worth their memory."""
_MOST: Final = 8
"""Shapes known at a time: each costs every event that is of none a look."""
_WORTH: Final = 16
"""Events that a shape must explain before the next one is learned; learning takes about 1 ms."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 32, 65_536
"""Events without a shape that pass before the next attempt; doubles after each that was not worth it."""

_LENGTH = struct.Struct("<I").unpack_from
"""Without a sign, as where documents are walked: no damaged length leads backwards, and so every event has an end."""
_PACK = struct.Struct("<i").pack


class NoShapeError(Exception):
    """The event holds something that shapes do not know."""


class Learner:
    """Reads one event, and notes its expression and what becomes of its parts.

    Args:
        rewriter: What walks documents that have no shape; the result is the same.
    """

    def __init__(self, rewriter: Rewriter) -> None:
        self._keeps_others = rewriter.keeps_others
        self._pattern: list[bytes] = []
        self._groups = 0
        self._in_kept = False
        self.lengths: list[int] = []
        self.measured: list[int] = []
        self.parts: list[int] = []
        self.changes: list[Change] = []
        self.replaced: list[tuple[int, bytes]] = []
        self.resized: list[tuple[int, int]] = []
        self.namespaces: list[int] = []

    def shape(self, concerns: "Callable[[bytes | None], bool] | None") -> "Shape":
        """Return what was learned. `concerns`: whether events of a namespace are changed; all are unless given."""
        pattern = b"".join(self._pattern)
        if len(pattern) > _LONGEST or len(self.lengths) == 1:  # without texts and documents, as no server sends it
            raise NoShapeError
        return Shape(pattern, self, concerns)

    def document(self, raw: bytes, start: int, elements: "Elements") -> int:
        """Note a document that is walked: `elements` notes each element, and returns where it ends."""
        self._end_kept()
        self.measured.append(self._open())
        first, changes = len(self.parts), len(self.changes) + len(self.replaced)
        self._length()
        self.parts.append(self.lengths[-1])
        end = int(start + _LENGTH(raw, start)[0] - 1)
        position = start + 4
        while position < end:
            value = raw.index(0, position + 1) + 1
            position = elements(raw, raw[position:value], value)
        if position != end:
            raise NoShapeError
        self.kept(b"\0")
        self._end_kept()
        self._pattern.append(b")")
        if len(self.changes) + len(self.replaced) > changes:
            self.resized.append((first, len(self.parts)))
        return end + 1

    def ruled(self, state: State | None, *, array: bool = False) -> "Elements":
        """Return what notes the elements of a document at this place. Without a place they stay."""

        def element(raw: bytes, head: bytes, value: int) -> int:
            below = None
            if state is not None:
                fields, other = (state.elements, state.any_element) if array else (state.fields, state.other)
                below = fields.get(head[1:-1], other)
            if below is not None and below.rule is not None:
                if below.rule is REMOVE:
                    return self.removed(raw, head, value, array=array)
                return self.changed(raw, head, value, below.rule)
            if below is not None and head[0] in (DOCUMENT, ARRAY):
                self.kept(head)
                return self.document(raw, value, self.ruled(below, array=head[0] == ARRAY))
            if self._keeps_others or state is None:
                return self.whole(raw, head, value)
            return self.removed(raw, head, value, array=array)

        return element

    def whole(self, raw: bytes, head: bytes, value: int) -> int:
        """Note an element that stays. Return where it ends."""
        self.kept(head)
        return self._value(raw, head[0], value)

    def namespace(self, raw: bytes, head: bytes, value: int) -> int:
        """Note the document that decides whether the event is changed at all. Return where it ends."""
        self.kept(head)
        self.namespaces.append(self._groups)
        return self._value(raw, head[0], value)

    def changed(self, raw: bytes, head: bytes, value: int, rule: Rule) -> int:
        """Note an element whose value is changed. Return where it ends."""
        if rule.constant is not None:
            return self._replaced(raw, head, value, b"%c%b%b" % (rule.constant[0], head[1:], rule.constant[1]))
        self.changes.append(Change(len(self.parts), head[0], head[1:], rule.apply))
        return self._part(raw, head, value)

    def removed(self, raw: bytes, head: bytes, value: int, *, array: bool = False) -> int:
        """Note an element that is removed; in an array it becomes null. Return where it ends."""
        return self._replaced(raw, head, value, b"%c%b" % (NULL, head[1:]) if array else b"")

    def _replaced(self, raw: bytes, head: bytes, value: int, element: bytes) -> int:
        self.replaced.append((len(self.parts), element))
        return self._part(raw, head, value)

    def _part(self, raw: bytes, head: bytes, value: int) -> int:
        """Note an element whose value is a part."""
        self._end_kept()
        self._pattern.append(re.escape(head))
        self.parts.append(self._open())
        after = self._value(raw, head[0], value)
        self._pattern.append(b")")
        return after

    def kept(self, raw: bytes) -> None:
        """Note bytes that are the same in every event of the shape."""
        if not self._in_kept:
            self.parts.append(self._open())
            self._in_kept = True
        self._pattern.append(re.escape(raw))

    def _end_kept(self) -> None:
        if self._in_kept:
            self._pattern.append(b")")
            self._in_kept = False

    def _open(self) -> int:
        self._pattern.append(b"(")
        self._groups += 1
        return self._groups - 1

    def _length(self) -> None:
        self.lengths.append(self._open())
        self._pattern.append(b".{4})")

    def _value(self, raw: bytes, kind: int, start: int, *, measured: bool = True) -> int:
        """Note a value; walking goes by its length, so that is `measured`, but none inside it."""
        size = SIZES[kind]
        if size >= 0:
            self._pattern.append(b".{%d}" % size)
            return start + size
        said = int(_LENGTH(raw, start)[0])
        if kind == STRING:
            if measured:
                self._length()
                self.measured.append(self._open())
            self._pattern.append(b"[^\\0]*+\\0)" if measured else b".{4}[^\\0]*+\\0")
            return start + 4 + said
        if kind == _BINARY:
            self._pattern.append(b"%b.{%d}" % (re.escape(raw[start : start + 4]), said + 1))
            return start + 5 + said
        if kind not in (DOCUMENT, ARRAY):
            raise NoShapeError
        if measured:
            self.measured.append(self._open())
            self._length()
        else:
            self._pattern.append(b".{4}")
        position, end = start + 4, start + said - 1
        while position < end:
            value = raw.index(0, position + 1) + 1
            self._pattern.append(re.escape(raw[position:value]))
            position = self._value(raw, raw[position], value, measured=False)
        if position != end:
            raise NoShapeError
        self._pattern.append(b"\\0)" if measured else b"\\0")
        return end + 1


Elements = Callable[[bytes, bytes, int], int]
"""Notes an element of a document, given the document, the head of the element and where its value begins."""


@attrs.frozen
class Change:
    """A value that is changed: its place among the parts of the event, its type, its name, and how."""

    part: int
    kind: int
    name: bytes
    apply: Callable[[int, bytes], Element | None]


class Shape:
    """The shape of an event: what it is made of, and what becomes of that. Only `uses` changes.

    Args:
        pattern: The expression. Its groups are the lengths, what has these lengths, and the parts of the event.
        learner: The numbers of these groups, the changes of parts, and the parts of each document with changes.
        concerns: Whether events of a namespace are changed; all are unless given.
    """

    def __init__(
        self, pattern: bytes, learner: Learner, concerns: "Callable[[bytes | None], bool] | None" = None
    ) -> None:
        self._match = re.compile(pattern, re.DOTALL).fullmatch
        self._lengths = itemgetter(*learner.lengths)
        self._measured = itemgetter(*learner.measured)
        self._parts = itemgetter(*learner.parts)
        self._unpack = struct.Struct(f"<{len(learner.lengths)}i").unpack
        self._changes = tuple((change.part, change.kind, change.name, change.apply) for change in learner.changes)
        self._replaced = tuple(learner.replaced)
        self._resized = tuple(learner.resized)
        self._namespace = learner.namespaces[0] if len(learner.namespaces) == 1 else None
        self._concerns = concerns
        self.uses = 0

    def rewritten(self, raw: bytes) -> bytes | None:
        """Return the event with the changes, the same object if nothing changes; None if it is not of the shape."""
        found = self._match(raw)
        if found is None:
            return None
        groups = found.groups()
        if self._unpack(b"".join(self._lengths(groups))) != tuple(map(len, self._measured(groups))):
            return None
        if self._concerns is not None:
            namespace = groups[self._namespace] if self._namespace is not None else None
            if not self._concerns(namespace):
                return raw
        if not self._resized:
            return raw
        parts = list(self._parts(groups))
        for part, element in self._replaced:
            parts[part] = element
        for part, kind, name, apply in self._changes:
            new = apply(kind, parts[part])
            parts[part] = b"" if new is None else b"%c%b%b" % (new[0], name, new[1])
        ends = list(accumulate(map(len, parts), initial=0))
        for first, last in self._resized:
            parts[first] = _PACK(ends[last] - ends[first])
        new_event = b"".join(parts)
        return raw if new_event == raw else new_event


class Shapes:
    """The shapes that events have at present: learned while they pass, forgotten when others are used more.

    Thread-safe.

    Args:
        learn: Returns the shape of an event. Raises `NoShapeError`, or anything else on damaged bytes.
    """

    def __init__(self, learn: Callable[[bytes], Shape]) -> None:
        self._learn_shape = learn
        self._known: tuple[Shape, ...] = ()
        self._passing, self._pause = 0, _SHORTEST_PAUSE
        self._lock = threading.Lock()

    def rewritten(self, raw: bytes) -> bytes | None:
        """Return the event with the changes; None if it has no known shape."""
        for shape in self._known:
            new = shape.rewritten(raw)
            if new is not None:
                shape.uses += 1
                return new
        with self._lock:
            self._learn(raw)
        return None

    def _learn(self, raw: bytes) -> None:
        self._passing -= 1
        if self._passing >= 0 or len(raw) > _LARGEST:
            return
        vain = bool(self._known) and self._known[-1].uses < _WORTH
        kept = sorted(self._known[: -1 if vain else None], key=lambda shape: shape.uses, reverse=True)[: _MOST - 1]
        for shape in kept:
            shape.uses = max(shape.uses // 2, _WORTH)
        try:
            kept.append(self._learn_shape(raw))
        except Exception:  # damaged bytes: walking them reports what is wrong
            vain = True
        self._known = tuple(kept)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE) if vain else _SHORTEST_PAUSE
        self._passing = self._pause
