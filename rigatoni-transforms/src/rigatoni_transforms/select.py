"""The transform `select`: keeps or removes fields."""

import struct
from typing import Annotated, Any

import attrs
from rigatoni_bson.elements import elements
from rigatoni_core.api.options import texts

from rigatoni_transforms.errors import PathError
from rigatoni_transforms.paths import Path, parsed
from rigatoni_transforms.transform import RawTransform


def _check_paths(instance: object, attribute: "attrs.Attribute[Any]", value: tuple[str, ...]) -> None:
    for path in parsed(value):
        if len(path.steps) > 1 or not isinstance(path.steps[0], str):
            raise PathError(f'the path "{path.text}" is not supported yet: name fields at the top of documents')


@attrs.define(kw_only=True, eq=False)
class SelectTransform(RawTransform):
    """Keeps the fields of `include`, or removes those of `exclude`; `_id` stays."""

    include: Annotated[tuple[str, ...], "Paths of the fields that are kept; all others are removed"] = attrs.field(
        default=(), converter=texts, validator=_check_paths
    )
    exclude: Annotated[tuple[str, ...], "Paths of the fields that are removed; all others are kept"] = attrs.field(
        default=(), converter=texts, validator=_check_paths
    )

    def __attrs_post_init__(self) -> None:
        if bool(self.include) == bool(self.exclude):
            raise PathError("select needs either include or exclude", remedy="Give one of the two options.")

    def raw(self, event: bytes) -> bytes | None:
        """See `RawTransform`."""
        names = {_name(path) for path in parsed(self.include or self.exclude)}
        parts, changed, copied = [], False, 4
        for kind, key, value, after in elements(event):
            if key in (b"fullDocument", b"fullDocumentBeforeChange") and kind == 0x03:
                document = self._document(event, value, names)
                if document is not None:
                    parts += [event[copied:value], document]
                    changed, copied = True, after
        if not changed:
            return event
        body = b"".join([*parts, event[copied:]])
        return struct.pack("<i", len(body) + 4) + body

    def _document(self, event: bytes, start: int, names: set[bytes]) -> bytes | None:
        kept, dropped, before = [], False, start + 4
        for _, key, _, after in elements(event, start):
            if key == b"_id" or (key in names) == bool(self.include):
                kept.append(event[before:after])
            else:
                dropped = True
            before = after
        body = b"".join(kept)
        return struct.pack("<i", len(body) + 5) + body + b"\0" if dropped else None


def _name(path: Path) -> bytes:
    return str(path.steps[0]).encode()
