"""What `select` and `mask` share: rules for the documents of an event, wherever the event holds one."""

import difflib
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from struct import Struct
from typing import Annotated, ClassVar, Final

import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.components import AttrsField
from rigatoni_core.api.contracts import StreamChecker
from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.api.options import texts

from rigatoni_transforms.compiled import CompiledRules
from rigatoni_transforms.deltas import DeltaRewriter, Reading
from rigatoni_transforms.documents import DOCUMENT, NULL, SAME, STRING, Rewriter, elements_of, end_of
from rigatoni_transforms.errors import MaskedKeyError, MaskError, PathError
from rigatoni_transforms.matching import KEEP, State
from rigatoni_transforms.paths import ANY, Path, parsed
from rigatoni_transforms.shapes import Learner, NoShapeError, Shape, Shapes
from rigatoni_transforms.transform import RawTransform

_PACK = Struct("<i").pack
_KEPT: Final = frozenset(
    [
        *(b"_id", b"operationType", b"clusterTime", b"wallTime", b"ns", b"nsType", b"to", b"collectionUUID"),
        *(b"lsid", b"txnNumber", b"splitEvent", b"operationDescription", b"stateBeforeChange"),
    ]
)
"""The fields of an event without parts of documents (MongoDB manual, "Change Events")."""
_NS: Final = (DOCUMENT, b"ns")
_REMEMBERED = 1024
_DOCUMENTS: Final = frozenset([b"fullDocument", b"fullDocumentBeforeChange", b"documentKey", b"updateDescription"])


class Closure:
    """Applies rules to every part of an event that holds a document or part of one.

    Args:
        top: The state at the top of documents.
        keeps_others: Whether values that no path leads to stay.

    Attributes:
        concerns: Whether events of a namespace, as it stands in the event, are changed; all are if it is None.
    """

    concerns: "Callable[[bytes | None], bool] | None" = None

    def __init__(self, top: State, *, keeps_others: bool) -> None:
        self._top = top
        self._rewriter = Rewriter(keeps_others)
        self._deltas = DeltaRewriter(self._rewriter, top)
        self._shapes = Shapes(self._shape_of)

    def compiled(self, collections: Sequence[str]) -> CompiledRules | None:
        """Return the rules for the accelerator, for these collections or, without any, for all; None without it."""
        return CompiledRules.of(self._top, keeps_others=self._rewriter.keeps_others, collections=collections)

    def event(self, raw: bytes) -> bytes:
        """Return the event after the rules, the same object if nothing changes. Fields that are not known are removed.

        Raises:
            MaskError: A rule cannot be applied.
            MaskedKeyError: A path leads to a field of the document key.
            ValueError, IndexError, struct.error: The bytes are no BSON.
        """
        return self._shapes.rewritten(raw) or self.walked(raw)

    def walked(self, raw: bytes) -> bytes:
        """Return and raise what `event` does, without knowledge of other events."""
        if self.concerns is not None and not self.concerns(_namespace(raw)):
            return raw
        end = len(raw) - 1
        if int.from_bytes(raw[:4], "little") != end + 1:
            raise ValueError("the event does not have the length that it says")
        position = copied = 4
        parts: list[bytes] = []
        while position < end:
            name = raw.index(0, position + 1)
            kind, field, value = raw[position], raw[position + 1 : name], name + 1
            after = end_of(raw, kind, value)
            if field not in _KEPT:
                new = self._part(raw, field, kind, value) if field in _DOCUMENTS else None
                if new is not _SAME:
                    parts.append(raw[copied:position] if new is None else raw[copied:value] + new)
                    copied = after
            position = after
        if position != end or raw[end]:
            raise ValueError("the event does not end where it says")
        if copied == 4:
            return raw
        body = b"".join([*parts, raw[copied:]])
        return _PACK(len(body) + 4) + body

    def _shape_of(self, raw: bytes) -> Shape:
        """Return the shape of an event. See `Shapes`."""
        learner = Learner(self._rewriter)
        documents, key = learner.ruled(self._top), learner.ruled(None)

        def element(raw: bytes, head: bytes, value: int) -> int:
            field = head[1:-1]
            if (head[0], field) == _NS:
                return learner.namespace(raw, head, value)
            if field in _KEPT or (field in _DOCUMENTS and head[0] == NULL):
                return learner.whole(raw, head, value)
            if field not in _DOCUMENTS:
                return learner.removed(raw, head, value)
            if head[0] != DOCUMENT or field == b"updateDescription":
                raise NoShapeError
            if field == b"documentKey" and [name for _, name, *_ in elements_of(raw, value)] != [b"_id"]:
                raise NoShapeError
            learner.kept(head)
            return learner.document(raw, value, key if field == b"documentKey" else documents)

        if learner.document(raw, 0, element) != len(raw):
            raise NoShapeError
        return learner.shape(self.concerns)

    def _part(self, raw: bytes, field: bytes, kind: int, value: int) -> bytes | None:
        """Return the new value of a field of the event, `_SAME` if it stays."""
        if kind == NULL:
            return _SAME
        if kind != DOCUMENT:
            raise MaskError(f"{field.decode()} of the event is no document")
        if field == b"updateDescription":
            return self._deltas.description(raw, value)
        if field == b"documentKey":
            self._check_key(raw, value)
            return _SAME
        new = self._rewriter.document(raw, value, self._top)
        return _SAME if new is None else new

    def _check_key(self, raw: bytes, start: int) -> None:
        """Raise if a rule changes or removes a field of the document key: resume tokens contain the key."""
        for kind, name, value, after in elements_of(raw, start):
            if name == b"_id":  # options refuse it
                continue
            state = self._deltas.place(name, Reading()).state
            if state is None:
                hit = not self._rewriter.keeps_others
            else:
                hit = state.rule is not KEEP and (
                    state.rule is not None or self._rewriter.value(raw, kind, value, after, state) is not SAME
                )
            if hit:
                raise MaskedKeyError(
                    "the transform changes or removes a field of the shard key; MongoDB's resume tokens contain the "
                    "shard key of the document"
                )


_SAME: Final = b"same"
"""In the place of a value that stays as it is."""


def paths_of_documents(texts: Iterable[str]) -> tuple[Path, ...]:
    """Parse the paths of an option.

    Raises:
        PathError: A path cannot be parsed, can never match, or names `_id`.
    """
    paths = parsed(texts)
    for path in paths:
        if path.steps[0] == "_id":
            raise PathError(
                f'the path "{path.text}" names _id, which MongoDB\'s resume tokens contain: records at the destination '
                "hold them, so they would hold the value",
                remedy="Remove the path. If an _id is personal data, give documents another _id, or do not replicate "
                "the collection.",
            )
        if path.steps[0] is ANY:
            raise PathError(
                f'the path "{path.text}" begins with a star, which would include _id',
                remedy='Name the fields at the top of documents, or use "select" with include.',
            )
    return paths


def check_paths(instance: object, attribute: AttrsField, value: Iterable[str]) -> None:
    """Validate an option that holds paths; see `paths_of_documents`."""
    paths_of_documents(value)


@attrs.define(kw_only=True, eq=False)
class PrivacyTransform(RawTransform, StreamChecker):
    """Base of the transforms that keep data from leaving: they run first, and dead letters hold what they return."""

    protects: ClassVar[bool] = True

    collections: Annotated[
        tuple[str, ...],
        "The collections whose documents it changes, such as `shop.users` or `shop.*`; all unless given",
    ] = attrs.field(default=(), converter=texts)
    _closure: Closure = attrs.field(init=False, repr=False)
    _compiled: CompiledRules | None = attrs.field(init=False, repr=False)
    _pattern: "re.Pattern[bytes]" = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._closure = self.closure()
        globs = (".*".join(map(re.escape, name.split("*"))) for name in self.collections)
        self._pattern = re.compile("|".join(globs).encode(), re.DOTALL)
        if self.collections:
            self._closure.concerns = lru_cache(_REMEMBERED)(self._matches)
        self._compiled = self._closure.compiled(self.collections)

    @abstractmethod
    def closure(self) -> Closure:
        """Return the rules of the options."""

    def transform(self, events: EventBatch) -> EventBatch:
        """See `Transform`."""
        if self._compiled is None:
            return super().transform(events)
        rewritten, left = self._compiled.rewritten(events)
        return self.one_by_one(rewritten, ((index, bytes(rewritten.raw(index))) for index in left))

    def raw(self, event: bytes) -> bytes:
        """See `RawTransform`."""
        return self._closure.event(event)

    def check_streams(self, names: Sequence[str]) -> None:
        """See `StreamChecker`. A mask that masks nothing must not start."""
        for collection in self.collections:
            if not any(overlap(collection, name) for name in names):
                near = difflib.get_close_matches(collection, names, n=1)
                meant = f'; did you mean "{near[0]}"?' if near else ""
                raise ConfigurationError(
                    f'collections: no stream of the pipeline has "{collection}", only {", ".join(names)}{meant}',
                    remedy="Name collections that the source watches; * stands for any text.",
                )

    def _matches(self, namespace: bytes | None) -> bool:
        """Return whether this is one of the collections. An event without a namespace may be of any."""
        if namespace is None:
            return True
        names = {
            name: namespace[value + 4 : after - 1]
            for kind, name, value, after in elements_of(namespace, 0)
            if kind == STRING
        }
        if not names.keys() >= {b"db", b"coll"}:
            return True
        return self._pattern.fullmatch(b"%b.%b" % (names[b"db"], names[b"coll"])) is not None


@lru_cache(_REMEMBERED)
def overlap(one: str, other: str) -> bool:
    """Return whether a name can match both patterns, in which `*` stands for any text."""
    if not one or not other:
        return not (one + other).strip("*")
    if one[0] == "*":
        return overlap(one[1:], other) or overlap(one, other[1:])
    if other[0] == "*":
        return overlap(other, one)
    return one[0] == other[0] and overlap(one[1:], other[1:])


def _namespace(event: bytes) -> bytes | None:
    """The namespace as it stands in the event; None if there is none, or several."""
    found = [event[value:after] for kind, name, value, after in elements_of(event, 0) if (kind, name) == _NS]
    return found[0] if len(found) == 1 else None
