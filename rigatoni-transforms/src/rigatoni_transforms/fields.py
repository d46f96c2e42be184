"""What transforms of fields share: the parts of an event that hold documents, and the paths of update descriptions."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from struct import Struct

from rigatoni_transforms.documents import ARRAY, DOCUMENT, STRING, elements_of
from rigatoni_transforms.errors import FieldError, PathError, UnreadableEventError
from rigatoni_transforms.paths import ANY, Path, parsed
from rigatoni_transforms.transform import RawTransform

Step = bytes | int
"""A step of the path of a changed field: the name of a field, or the index of an element."""

Steps = tuple[Step, ...]

Change = tuple[Steps, int, bytes]
"""A changed field of an update description: its path, and the type and the raw bytes of its new value."""

Element = tuple[int, bytes, bytes]
"""The type, the name and the raw bytes of a value."""

INT32 = 0x10
_DOCUMENTS = (b"fullDocument", b"fullDocumentBeforeChange", b"documentKey")
_INT32 = Struct("<i")
_SIZE = Struct("<i").pack


class FieldTransform(RawTransform):
    """Changes fields wherever an event holds them: in both images, in the key and in the update description."""

    @abstractmethod
    def document(self, raw: bytes, start: int) -> bytes | None:
        """Return the document at `start` of the event after this transform; None if nothing changes.

        Raises:
            RigatoniError: The event is rejected for this reason.
            ValueError, IndexError, struct.error: The bytes are no BSON.
        """

    @abstractmethod
    def path(self, steps: Steps) -> Steps:
        """Return the path of a changed field after this transform."""

    @abstractmethod
    def changed(self, steps: Steps, kind: int, value: bytes) -> Iterable[Change]:
        """Yield what becomes of a changed field: paths, types and values. Raises what `document` does."""

    def raw(self, event: bytes) -> bytes | None:
        """See `RawTransform`."""
        parts: list[bytes] = []
        copied, is_event = 4, False
        for kind, key, value, after in elements_of(event, 0):
            new = None
            is_event |= key == b"operationType"
            if kind == DOCUMENT and key in _DOCUMENTS:
                new = self.document(event, value)
            elif kind == DOCUMENT and key == b"updateDescription":
                new = self._delta(event, value)
            if new is not None:
                parts += (event[copied:value], new)
                copied = after
        if not is_event:
            raise UnreadableEventError("it is no event; unwrap must be the last transform")
        if not parts:
            return event
        body = b"".join([*parts, event[copied:]])
        return _SIZE(len(body) + 4) + body

    def _delta(self, raw: bytes, start: int) -> bytes:
        readings = readings_of(raw, start)
        parts: list[Element] = []
        for kind, name, value, after in elements_of(raw, start):
            new: bytes | None = None
            if name == b"updatedFields" and kind == DOCUMENT:
                new = document_of(self._updated(raw, value, readings))
            elif name == b"removedFields" and kind == ARRAY:
                new = _array((kind, self._named(given, readings)) for kind, given in _values(raw, value))
            elif name == b"truncatedArrays" and kind == ARRAY:
                new = _array((kind, self._truncated(given, readings)) for kind, given in _values(raw, value))
            elif name == b"disambiguatedPaths" and kind == DOCUMENT:
                new = document_of(self._disambiguated(readings))
            parts.append((kind, name, raw[value:after] if new is None else new))
        return document_of(parts)

    def _updated(self, raw: bytes, start: int, readings: Mapping[bytes, Steps]) -> Iterator[Element]:
        for kind, name, value, after in elements_of(raw, start):
            for steps, new_kind, new in self.changed(steps_of(name, readings), kind, raw[value:after]):
                yield new_kind, joined(steps), new

    def _named(self, text: bytes, readings: Mapping[bytes, Steps]) -> bytes:
        """The value of a text that names a changed field."""
        return string_of(joined(self.path(steps_of(text[4:-1], readings))))

    def _truncated(self, entry: bytes, readings: Mapping[bytes, Steps]) -> bytes:
        return document_of(
            (kind, name, self._named(entry[value:after], readings) if name == b"field" else entry[value:after])
            for kind, name, value, after in elements_of(entry, 0)
        )

    def _disambiguated(self, readings: Mapping[bytes, Steps]) -> Iterator[Element]:
        for steps in readings.values():
            new = self.path(steps)
            values = [
                (INT32, _INT32.pack(step)) if isinstance(step, int) else (STRING, string_of(step)) for step in new
            ]
            yield ARRAY, joined(new), _array(values)


def field_paths(texts: Iterable[str]) -> tuple[Path, ...]:
    """Parse the paths of fields that a transform changes.

    Raises:
        PathError: A path cannot be parsed, can never match, or names `_id`.
    """
    paths = parsed(texts)
    if not paths:
        raise PathError("no field is named", remedy="Name a field by its path, or remove the transform.")
    for path in paths:
        if path.steps[0] in ("_id", ANY):
            raise PathError(
                f'the path "{path.text}" names _id, which identifies the document, and must stay as it is',
                remedy="Name other fields, such as those in an inner document: address.*",
            )
    return paths


def document_of(fields: Iterable[Element]) -> bytes:
    """Return the document of these elements.

    Raises:
        FieldError: Two of them have the same name.
    """
    found = list(fields)
    names = {name for _, name, _ in found}
    if len(names) < len(found):
        raise FieldError("two fields would have the same name")
    body = b"".join(b"%c%b\0%b" % element for element in found)
    return _SIZE(len(body) + 5) + body + b"\0"


def string_of(text: bytes) -> bytes:
    """Return a text in UTF-8 as a value of BSON."""
    return _SIZE(len(text) + 1) + text + b"\0"


def readings_of(raw: bytes, start: int) -> dict[bytes, Steps]:
    """Return what `disambiguatedPaths` says about names that have dots or digits: the steps of each."""
    readings = {}
    for kind, name, value, _ in elements_of(raw, start):
        if name == b"disambiguatedPaths" and kind == DOCUMENT:
            for _, field, steps, _ in elements_of(raw, value):
                readings[field] = tuple(
                    text[4:-1] if kind == STRING else int.from_bytes(text, "little")
                    for kind, text in _values(raw, steps)
                )
    return readings


def _step(kind: int, value: bytes) -> Step:
    return value[4:-1] if kind == STRING else int.from_bytes(value, "little")


def steps_of(name: bytes, readings: Mapping[bytes, Steps]) -> Steps:
    """Return the steps of the name of a changed field. Unless the event says otherwise, digits are an index."""
    return readings.get(name) or tuple(int(step) if step.isdigit() else step for step in name.split(b"."))


def joined(steps: Steps) -> bytes:
    """Return the name of a changed field with these steps."""
    return b".".join(b"%d" % step if isinstance(step, int) else step for step in steps)


def _values(raw: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    for kind, _, value, after in elements_of(raw, start):
        yield kind, raw[value:after]


def _array(values: Iterable[tuple[int, bytes]]) -> bytes:
    return document_of((kind, b"%d" % index, value) for index, (kind, value) in enumerate(values))
