"""The chain of batches that a destination of files or objects holds for a stream: its two kinds of records.

A chain is named and linked by what it contains: each batch by its first event, each definition by its number. A record
is created whole or not at all and never changed; as JSON it is for people, too.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.errors import ChainError, DestinationError, ForeignObjectError
from rigatoni_core.api.events import Definition, Gap, Identity, Position, Stream
from rigatoni_core.api.records import (
    canonical,
    checksum,
    gap_record,
    identity_record,
    position_record,
    read_gap,
    read_identity,
    read_position,
    sealed,
    unseal,
)

from rigatoni_objects.file_layout import FileLayout, Part

FORMAT = 2
"""The records' format version. A newer one is refused, never guessed at.

Since 2 the runs of a part count the events that were read, rejected ones included: whoever completes the batch takes
the very events that were written then, whatever its own serializer rejects. In 1 they count the events that were kept.
"""


@attrs.frozen(kw_only=True)
class DefinitionRecord:
    """What the batches of one number have in common, and the position before the first of them."""

    number: int
    identity: Identity
    pipeline: str
    stream: str
    fingerprint: str
    details: Mapping[str, Any]
    layout: Mapping[str, Any]
    anchor: Position
    gap: Gap | None = None

    @classmethod
    def following(
        cls,
        newest: Self | None,
        stream: Stream,
        definition: Definition,
        layout: FileLayout,
        anchor: Position,
        gap: Gap | None,
    ) -> Self:
        """The record that makes this definition the newest one, from the position `anchor` on."""
        return cls(
            number=newest.number + 1 if newest is not None else 0,
            identity=definition.identity,
            pipeline=stream.pipeline,
            stream=stream.name,
            fingerprint=definition.fingerprint,
            details=definition.details,
            layout=layout.described(),
            anchor=anchor,
            gap=gap,
        )

    def dump(self) -> bytes:
        """The record as indented JSON."""
        record = attrs.asdict(self, recurse=False)
        record["deployment"] = identity_record(record.pop("identity"))
        gap = gap_record(self.gap) if self.gap is not None else None
        return _dump(record | {"anchor": position_record(self.anchor), "gap": gap})

    @classmethod
    def parse(cls, content: bytes | str, where: str) -> Self:
        """The record in this content, found at `where`. Raises `ForeignObjectError` where it is none."""
        record = _parse(content, where)
        try:
            return cls(
                number=int(record["number"]),
                identity=read_identity(record["deployment"]),
                pipeline=str(record["pipeline"]),
                stream=str(record["stream"]),
                fingerprint=str(record["fingerprint"]),
                details=dict(record["details"]),
                layout=dict(record["layout"]),
                anchor=read_position(record["anchor"]),
                gap=read_gap(record["gap"]) if record["gap"] else None,
            )
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise ForeignObjectError(f"{where} is not the record of a definition: {error!r}") from None

    def means(self, definition: Definition, layout: FileLayout) -> bool:
        """Whether this definition, with batches laid out so, is the recorded one."""
        return self.fingerprint == definition.fingerprint and (
            layout.matches(self.layout) or not definition.layout_counts
        )


@attrs.frozen
class PartRecord:
    """One object of a batch: its path from the stream's folder, and how many events it holds.

    `runs` says which events those are, unless they are all that the batch read: first and last index of each run. So
    whoever completes the batch divides it alike, even where an event that is read again says something else.
    """

    path: str
    events: int
    runs: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, part: Part, events: EventBatch) -> Self:
        """The record of a part of this batch."""
        indices = [events.indices[index] for index in part.indices]
        return cls(part.path, len(indices), () if len(indices) == events.read else _runs(indices))

    def taken_from(self, events: EventBatch, *, counts_kept: bool = False) -> Part:
        """This part of the batch, as the record divides it.

        Args:
            events: The batch that was read again, without what is rejected now.
            counts_kept: Whether the runs count the events that were kept (record format 1), not those that were read.

        Raises:
            ChainError: The batch lacks events that the part holds.
        """
        numbers = range(len(events)) if counts_kept else events.indices
        wanted = {index for first, last in self.runs for index in range(first, last + 1)}
        everything = self.events > 0 and not self.runs
        indices = [index for index, number in enumerate(numbers) if everything or number in wanted]
        if len(indices) != self.events:
            raise begun_otherwise(events, "other events than are read and accepted now")
        return Part.of(self.path, indices, events)


@attrs.frozen(kw_only=True)
class BatchRecord:
    """Where a batch begins and ends, and what its files are: created before or with them, it fixes both.

    `events` counts those in the files, `read` those consumed; they differ by the rejected ones.
    """

    definition: int
    pipeline: str
    stream: str
    first: Position
    end: Position
    events: int
    read: int
    parts: tuple[PartRecord, ...]
    format: int = FORMAT

    @classmethod
    def of(cls, definition: DefinitionRecord, events: EventBatch, parts: tuple[PartRecord, ...]) -> Self:
        """The record of this batch, written under this definition."""
        return cls(
            definition=definition.number,
            pipeline=definition.pipeline,
            stream=definition.stream,
            first=events.first,
            end=events.end,
            events=len(events),
            read=events.read,
            parts=parts,
        )

    def dump(self, *, compact: bool = False) -> bytes:
        """The record as JSON: indented for people, or `compact` and in ASCII, for a header."""
        parts = [
            {"path": part.path, "events": part.events} | ({"runs": part.runs} if part.runs else {})
            for part in self.parts
        ]
        record = {
            "definition": self.definition,
            "pipeline": self.pipeline,
            "stream": self.stream,
            "first": position_record(self.first),
            "end": position_record(self.end),
            "events": self.events,
            "read": self.read,
            "parts": parts,
        }
        return _dump(record, compact)

    @classmethod
    def parse(cls, content: bytes | str, where: str) -> Self:
        """The record in this content, found at `where`. Raises `ForeignObjectError` where it is none."""
        record = _parse(content, where)
        try:
            return cls(
                definition=int(record["definition"]),
                pipeline=str(record["pipeline"]),
                stream=str(record["stream"]),
                first=read_position(record["first"]),
                end=read_position(record["end"]),
                events=int(record["events"]),
                read=int(record["read"]),
                parts=tuple(
                    PartRecord(
                        _inside(part["path"]),
                        int(part["events"]),
                        tuple((int(first), int(last)) for first, last in part.get("runs", ())),
                    )
                    for part in record["parts"]
                ),
                format=int(record["format"]),
            )
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise ForeignObjectError(f"{where} is not the record of a batch: {error!r}") from None

    def belongs_to(self, definition: DefinitionRecord, first: Position) -> bool:
        """Whether it is the record of the batch that begins with `first` under this definition."""
        ours = (definition.pipeline, definition.stream, definition.number, first.resume_token)
        return ours == (self.pipeline, self.stream, self.definition, self.first.resume_token)


def later(anchor: Position, position: Position) -> Position:
    """The later one; the given position where both are at the same place, since its token may be the fresher one."""
    return anchor if anchor.order > position.order else position


def is_same_place(one: Position, other: Position) -> bool:
    """Whether two ends of a batch with the same first event are the same: by token, or by count from that event."""
    return one.resume_token == other.resume_token or one.order == other.order


def begun_otherwise(events: EventBatch, what: str) -> ChainError:
    """The error of a batch that cannot be completed as it was begun."""
    return ChainError(
        f"{events.stream}: a batch was begun with {what}",
        remedy="Complete it with the versions of the plugins and the configuration that began it.",
    )


def _runs(indices: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """First and last of each run of consecutive numbers."""
    if not indices:
        return ()
    breaks = [after for before, after in pairwise(indices) if after != before + 1]
    starts = [indices[0], *breaks]
    ends = [before for before, after in pairwise(indices) if after != before + 1]
    return tuple(zip(starts, [*ends, indices[-1]], strict=True))


def _inside(path: Any) -> str:
    """A part's path as it stands in a record. Raises ValueError where it leads out of the stream's folder."""
    if not isinstance(path, str) or not path or "\0" in path or {"", ".", ".."} & set(path.split("/")):
        raise ValueError(f"{path!r} is not a path below the stream's folder")
    return path


def _dump(record: Mapping[str, Any], compact: bool = False) -> bytes:
    whole = {"format": FORMAT, **record}
    if not compact:
        return json.dumps(sealed(whole), indent=2, ensure_ascii=False).encode() + b"\n"
    text = canonical(whole)
    return b'%b,"checksum":"%b"}' % (text[:-1], checksum(text).encode())


def _parse(content: bytes | str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(content)
        intact, version = _is_intact(record, content), int(record["format"])
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ForeignObjectError(f"{where} is not a record of Rigatoni: {error!r}") from None
    if version > FORMAT:
        raise DestinationError(
            f"{where} has record format {version}; this rigatoni-core reads up to {FORMAT}",
            remedy="Upgrade Rigatoni: the record was written by a newer one.",
        )
    if not intact:
        raise ForeignObjectError(
            f"{where} was altered or damaged: its checksum does not match its content",
            remedy="Nothing was overwritten. Restore the record as it was, from a backup or the object's versions.",
        )
    assert isinstance(record, dict)
    return record


def _is_intact(record: dict[str, Any], content: bytes | str) -> bool:
    """Whether the record's checksum, which is taken out, is that of the rest. A compact record is checked as it is."""
    raw = content.encode() if isinstance(content, str) else content
    text, seal, _ = raw.rpartition(b',"checksum":"')
    if seal and record["checksum"] == checksum(text + b"}"):
        del record["checksum"]
        return True
    return unseal(record)
