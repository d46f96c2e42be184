"""The two kinds of records that stand beside a stream's files: definitions and batches, as JSON for people.

A record is created whole or not at all and never changed, so it needs no checksum against half a write.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import attrs
from rigatoni_core.errors import ForeignObjectError
from rigatoni_core.events import Gap, Position
from rigatoni_core.records import gap_record, position_record, read_position

from rigatoni_local.errors import LocalError

FORMAT = 1
"""The records' format version. A newer one is refused, never guessed at."""


@attrs.frozen(kw_only=True)
class DefinitionRecord:
    """What the batches of one number have in common, and the position before the first of them."""

    number: int
    deployment: str
    pipeline: str
    stream: str
    fingerprint: str
    details: Mapping[str, Any]
    layout: Mapping[str, Any]
    anchor: Position
    gap: Gap | None = None

    def dump(self) -> bytes:
        """The record as indented JSON."""
        record = attrs.asdict(self, recurse=False)
        return _dump(
            record
            | {"anchor": position_record(self.anchor), "gap": gap_record(self.gap) if self.gap is not None else None}
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """The record in this file. Raises `ForeignObjectError` where it is none."""
        record = _load(path)
        try:
            gap = record["gap"]
            return cls(
                number=int(record["number"]),
                deployment=str(record["deployment"]),
                pipeline=str(record["pipeline"]),
                stream=str(record["stream"]),
                fingerprint=str(record["fingerprint"]),
                details=dict(record["details"]),
                layout=dict(record["layout"]),
                anchor=read_position(record["anchor"]),
                gap=Gap(
                    gap["cause"], read_position(gap["lost"]) if gap["lost"] else None, read_position(gap["resumed"])
                )
                if gap
                else None,
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ForeignObjectError(f"{path} is not the record of a definition: {error!r}") from None


@attrs.frozen
class PartRecord:
    """One file of a batch: its path from the stream's folder, and how many events it holds."""

    path: str
    events: int


@attrs.frozen(kw_only=True)
class BatchRecord:
    """The sidecar of a batch: created before its files, it fixes where the batch ends and what its files are.

    `events` counts those in the files, `read` those consumed; they differ by the rejected ones.
    """

    definition: int
    deployment: str
    pipeline: str
    stream: str
    first: Position
    end: Position
    events: int
    read: int
    parts: tuple[PartRecord, ...]

    def dump(self) -> bytes:
        """The record as indented JSON."""
        record = attrs.asdict(self)
        return _dump(record | {"first": position_record(self.first), "end": position_record(self.end)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """The record in this file. Raises `ForeignObjectError` where it is none."""
        record = _load(path)
        try:
            return cls(
                definition=int(record["definition"]),
                deployment=str(record["deployment"]),
                pipeline=str(record["pipeline"]),
                stream=str(record["stream"]),
                first=read_position(record["first"]),
                end=read_position(record["end"]),
                events=int(record["events"]),
                read=int(record["read"]),
                parts=tuple(PartRecord(str(part["path"]), int(part["events"])) for part in record["parts"]),
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ForeignObjectError(f"{path} is not the record of a batch: {error!r}") from None


def _dump(record: Mapping[str, Any]) -> bytes:
    return json.dumps({"format": FORMAT, **record}, indent=2, ensure_ascii=False).encode() + b"\n"


def _load(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
        version = int(record["format"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ForeignObjectError(f"{path} is not a record of Rigatoni: {error!r}") from None
    if version > FORMAT:
        raise LocalError(
            f"{path} has record format {version}; this rigatoni-local reads up to {FORMAT}",
            remedy="Upgrade rigatoni-local: the record was written by a newer one.",
        )
    assert isinstance(record, dict)
    return record
