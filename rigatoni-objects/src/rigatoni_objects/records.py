"""The two kinds of records of a stream's chain: definitions and batches.

A batch is named by its first event, a definition by its number. A record is created atomically and never changed. It is
JSON, so that people can read it.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.errors import ChainError, DestinationError, ForeignObjectError
from rigatoni_core.api.events import Coverage, Definition, Gap, Position, Stream, Timestamp
from rigatoni_core.api.identity import Identity, identity_record, read_identity
from rigatoni_core.api.records import (
    canonical,
    checksum,
    coverage_record,
    gap_record,
    position_record,
    read_coverage,
    read_gap,
    read_position,
    sealed,
    unseal,
)

from rigatoni_objects.file_layout import BatchObject, FileLayout

FORMAT = 2
"""The format version of records. Newer versions are refused.

Since format 2 the runs of a part count the events read, including rejected ones. So an owner that completes the batch
writes exactly the events of the first attempt, even if its own serializer rejects other events. In format 1 they count
the events kept. Definitions of format 1 close no stream and leave no events out.
"""


@attrs.frozen(kw_only=True)
class DefinitionRecord:
    """What the batches of one number have in common, and the position before the first batch.

    A *closing* definition has no batches: the stream ended at its `anchor`. It is created twice: first so that no older
    program writes any more (`rest` is None), then with the rest, once that is known. `left_out` is what other streams,
    or this one before it was closed, delivered from the anchor on.
    """

    number: int
    identity: Identity
    pipeline: str
    stream: str
    fingerprint: str
    details: Mapping[str, Any]
    layout: Mapping[str, Any]
    anchor: Position
    gap: Gap | None = None
    left_out: tuple[Coverage, ...] = ()
    closed: bool = False
    rest: frozenset[str] | None = None

    @classmethod
    def following(
        cls,
        newest: Self | None,
        stream: Stream,
        definition: Definition,
        layout: FileLayout,
        anchor: Position,
        gap: Gap | None = None,
        left_out: Sequence[Coverage] = (),
    ) -> Self:
        """Return the record of this definition as the successor of `newest`, from the position `anchor` on."""
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
            left_out=tuple(left_out),
        )

    def closing(self, number: int, end: Position, rest: Collection[str] | None = None) -> Self:
        """The closing definition of this stream: it ended at `end`, where it had still to deliver the `rest`."""
        rest = None if rest is None else frozenset(rest)
        return attrs.evolve(self, number=number, anchor=end, gap=None, left_out=(), closed=True, rest=rest)

    def coverage_since(self, first: Self) -> Coverage:
        """What the stream delivered from the definition `first` until this one, which closes it."""
        start, end = (each.anchor.cluster_time or Timestamp(0, 0) for each in (first, self))
        return Coverage(self.stream, start, end, self.rest or frozenset())

    def dump(self) -> bytes:
        """Return the record as indented JSON."""
        record = attrs.asdict(self, recurse=False)
        record["deployment"] = identity_record(record.pop("identity"))
        record["anchor"] = position_record(self.anchor)
        record["gap"] = gap_record(self.gap) if self.gap is not None else None
        record["left_out"] = [coverage_record(coverage) for coverage in self.left_out]
        record["rest"] = None if self.rest is None else sorted(self.rest)
        return _dump(record)

    @classmethod
    def parse(cls, content: bytes | str, where: str) -> Self:
        """Parse the record in this content, found at `where`. Raises `ForeignObjectError` if it is not one."""
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
                left_out=tuple(map(read_coverage, record.get("left_out", ()))),
                closed=bool(record.get("closed", False)),
                rest=None if record.get("rest") is None else frozenset(map(str, record["rest"])),
            )
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise ForeignObjectError(f"{where} is not the record of a definition: {error!r}") from None

    def means(self, definition: Definition, layout: FileLayout) -> bool:
        """Return whether this definition, with this layout, is the recorded one; never for a closing definition."""
        if self.closed or self.fingerprint != definition.fingerprint:
            return False
        return layout.matches(self.layout) or not definition.layout_counts


@attrs.frozen
class ObjectRecord:
    """One object of a batch: its path relative to the stream's folder, and how many events it holds.

    `runs` lists the first and last index of each run of its events; it is empty for all events of the batch. An owner
    that completes the batch thus groups events as the first attempt did, even if a reread event differs.

    `staged` is the digest of the content, if that was stored before the record: an owner that completes the batch takes
    it from there, because the rows of a snapshot cannot be read again as they were.
    """

    path: str
    events: int
    runs: tuple[tuple[int, int], ...] = ()
    staged: str = ""

    @classmethod
    def of(cls, part: BatchObject, events: EventBatch) -> Self:
        """Return the record of a part of this batch."""
        indices = [events.indices[index] for index in part.indices]
        return cls(part.path, len(indices), () if len(indices) == events.read else _runs(indices))

    def taken_from(self, events: EventBatch, *, counts_kept: bool = False) -> BatchObject:
        """Return this part of a reread batch.

        Args:
            events: The reread batch, without the events that are rejected now.
            counts_kept: Whether the runs count the events kept (record format 1) rather than the events read.

        Raises:
            ChainError: The batch lacks events of the part.
        """
        numbers = range(len(events)) if counts_kept else events.indices
        wanted = {index for first, last in self.runs for index in range(first, last + 1)}
        everything = self.events > 0 and not self.runs
        indices = [index for index, number in enumerate(numbers) if everything or number in wanted]
        if len(indices) != self.events:
            raise started_differently(events, "other events than are read and accepted now")
        return BatchObject.of(self.path, indices, events)


@attrs.frozen(kw_only=True)
class BatchRecord:
    """The start, end and objects of a batch. It is created before or with the objects, and fixes them.

    `events` counts the events in the objects, `read` those consumed; they differ by the rejected events.
    """

    definition: int
    pipeline: str
    stream: str
    first: Position
    end: Position
    events: int
    read: int
    parts: tuple[ObjectRecord, ...]
    format: int = FORMAT

    @classmethod
    def of(cls, definition: DefinitionRecord, events: EventBatch, parts: tuple[ObjectRecord, ...]) -> Self:
        """Return the record of this batch under this definition."""
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
        """Return the record as JSON: indented, or `compact` and in ASCII for metadata."""
        parts = [
            {"path": part.path, "events": part.events}
            | ({"runs": part.runs} if part.runs else {})
            | ({"staged": part.staged} if part.staged else {})
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
        """Parse the record in this content, found at `where`. Raises `ForeignObjectError` if it is not one."""
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
                    ObjectRecord(
                        _inside(part["path"]),
                        int(part["events"]),
                        tuple((int(first), int(last)) for first, last in part.get("runs", ())),
                        str(part.get("staged", "")),
                    )
                    for part in record["parts"]
                ),
                format=int(record["format"]),
            )
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise ForeignObjectError(f"{where} is not the record of a batch: {error!r}") from None

    def belongs_to(self, definition: DefinitionRecord, first: Position) -> bool:
        """Return whether this is the record of the batch that starts with `first` under this definition."""
        ours = (definition.pipeline, definition.stream, definition.number, first.resume_token)
        return ours == (self.pipeline, self.stream, self.definition, self.first.resume_token)


def later(anchor: Position, position: Position) -> Position:
    """Return the later position; `position` if both are at the same place, since its token may be fresher."""
    return anchor if anchor.order > position.order else position


def is_same_place(one: Position, other: Position) -> bool:
    """Return whether two ends of a batch with the same first event are equal, by token or by order."""
    return one.resume_token == other.resume_token or one.order == other.order


def started_differently(events: EventBatch, what: str) -> ChainError:
    """Return the error of a batch that this owner cannot complete as it was started."""
    return ChainError(
        f"{events.stream}: a batch was started with {what}",
        remedy="Complete it with the plugin versions and the configuration that started it.",
    )


def _runs(indices: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return the first and last of each run of consecutive numbers."""
    if not indices:
        return ()
    breaks = [after for before, after in pairwise(indices) if after != before + 1]
    starts = [indices[0], *breaks]
    ends = [before for before, after in pairwise(indices) if after != before + 1]
    return tuple(zip(starts, [*ends, indices[-1]], strict=True))


def _inside(path: Any) -> str:
    """Validate the path of a part in a record. Raises ValueError if it leaves the stream's folder."""
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
        raise ForeignObjectError(f"{where} is not a Rigatoni record: {error!r}") from None
    if version > FORMAT:
        raise DestinationError(
            f"{where} has record format {version}; this rigatoni-core reads up to {FORMAT}",
            remedy="Upgrade Rigatoni: a newer version wrote the record.",
        )
    if not intact:
        raise ForeignObjectError(
            f"{where} is corrupt: its checksum does not match its content",
            remedy="Restore the record from a backup or an earlier version of the object. Nothing was overwritten.",
        )
    assert isinstance(record, dict)
    return record


def _is_intact(record: dict[str, Any], content: bytes | str) -> bool:
    """Return whether the checksum matches, and remove it. A compact record is checked without parsing."""
    raw = content.encode() if isinstance(content, str) else content
    text, seal, _ = raw.rpartition(b',"checksum":"')
    if seal and record["checksum"] == checksum(text + b"}"):
        del record["checksum"]
        return True
    return unseal(record)
