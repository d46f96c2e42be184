"""The records of a snapshot: what is requested, its plan, where its ranges stand, and how it ended.

Checksummed JSON that people can read.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import attrs

from rigatoni_core.api.errors import ChainError, DestinationError
from rigatoni_core.api.events import Namespace, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.records import canonical, position_record, read_position, sealed, unseal
from rigatoni_core.api.snapshots import Bound, Chunk, SnapshotPlan, SnapshotRange, SnapshotRequest

FORMAT = 1
"""The format version of these records. Newer ones are refused."""


def dump_request(request: SnapshotRequest) -> bytes:
    """Return the record of a request.

    Args:
        request: What is requested.
    """
    return _dump("request", {**attrs.asdict(request), "collections": list(request.collections)})


def load_request(content: bytes, where: str) -> SnapshotRequest:
    """Return the request of a record.

    Args:
        content: The record.
        where: Where it was found, for messages.

    Raises:
        ChainError: It is damaged.
        DestinationError: A newer version wrote it.
    """
    record = _load(content, "request", where)
    record["collections"] = tuple(record["collections"])
    return SnapshotRequest(**record)


@attrs.frozen(kw_only=True)
class PlanRecord:
    """A plan as it is kept, with the position before anything of the snapshot was read."""

    plan: SnapshotPlan
    anchor: Position

    @property
    def fingerprint(self) -> str:
        """What tells this plan from another one of the same snapshot."""
        return hashlib.sha256(self.dump()).hexdigest()[:16]

    def dump(self) -> bytes:
        """Return the record."""
        plan = self.plan
        ranges = [
            {
                "namespace": [each.namespace.database, each.namespace.collection],
                "collection": each.collection,
                "low": each.low,
                "high": each.high,
                "nbytes": each.nbytes,
            }
            for each in plan.ranges
        ]
        at = [plan.at.seconds, plan.at.increment] if plan.at else None
        record = {"anchor": position_record(self.anchor), "at": at, "details": dict(plan.details), "ranges": ranges}
        return _dump("plan", record)

    @classmethod
    def load(cls, content: bytes, where: str) -> Self:
        """Return the plan of a record.

        Args:
            content: The record.
            where: Where it was found, for messages.

        Raises:
            ChainError: It is damaged.
            DestinationError: A newer version wrote it.
        """
        record = _load(content, "plan", where)
        ranges = tuple(
            SnapshotRange(
                namespace=Namespace(*each["namespace"]),
                collection=each["collection"],
                low=None if each["low"] is None else Bound(each["low"]),
                high=None if each["high"] is None else Bound(each["high"]),
                nbytes=each["nbytes"],
            )
            for each in record["ranges"]
        )
        at = Timestamp(*record["at"]) if record["at"] else None
        plan = SnapshotPlan(ranges=ranges, at=at, details=record["details"])
        return cls(plan=plan, anchor=read_position(record["anchor"]))


@attrs.frozen(kw_only=True)
class EndRecord:
    """How a snapshot ended. A reader may ignore events before `anchor` of the collections if it is done, not filtered.

    Attributes:
        state: `done` if every row is durable; `failed` if the source refuses what is requested.
        reason: Why it ended, unless it is done.
        anchor: The cluster time of the stream before anything was read.
        latest: The latest cluster time of a row: from then on, rows and later events give the collections.
        rows: The rows of all ranges.
        ranges: The number of ranges.
        filtered: Whether documents may have been left out.
        collections: The collections that were read.
    """

    state: Literal["done", "ended", "failed", "cancelled"]
    reason: str = ""
    anchor: Timestamp | None = None
    latest: Timestamp | None = None
    rows: int = 0
    ranges: int = 0
    filtered: bool = False
    collections: tuple[str, ...] = ()

    def dump(self) -> bytes:
        """Return the record."""
        record = attrs.asdict(self, recurse=False) | {"collections": list(self.collections)}
        for name in ("anchor", "latest"):
            time = record[name]
            record[name] = [time.seconds, time.increment] if time else None
        return _dump("end", record)

    @classmethod
    def load(cls, content: bytes, where: str) -> Self:
        """Return the end of a record.

        Args:
            content: The record.
            where: Where it was found, for messages.

        Raises:
            ChainError: It is damaged.
            DestinationError: A newer version wrote it.
        """
        record = _load(content, "end", where)
        for name in ("anchor", "latest"):
            record[name] = Timestamp(*record[name]) if record[name] else None
        record["collections"] = tuple(record["collections"])
        return cls(**record)


@attrs.frozen(kw_only=True)
class Place:
    """Where a range stands, and what was read of it so far: the content of a resume token.

    Attributes:
        number: The snapshot's number.
        index: The range's place in the plan.
        chunks: How many chunks are durable.
        low: Where the next chunk begins.
        complete: Whether no chunk is left.
        rows: The rows of all chunks so far.
        nbytes: Their size in bytes.
        latest: The latest cluster time of a chunk.
        filtered: Whether documents may have been left out.
        ended: Why the rest of the range does not exist any more.
    """

    number: int
    index: int
    chunks: int = 0
    low: Bound | None = attrs.field(default=None, repr=False)
    complete: bool = False
    rows: int = 0
    nbytes: int = 0
    latest: Timestamp | None = None
    filtered: bool = False
    ended: str = ""

    def after(self, chunk: Chunk, *, filtered: bool) -> Self:
        """Return the place after a chunk.

        Args:
            chunk: The chunk that begins here.
            filtered: Whether rows of it may be dropped on the way to the destination.
        """
        return attrs.evolve(
            self,
            chunks=self.chunks + 1,
            low=chunk.end,
            complete=chunk.end is None,
            rows=self.rows + chunk.count,
            nbytes=self.nbytes + chunk.nbytes,
            latest=max(chunk.at, self.latest or chunk.at),
            filtered=self.filtered or chunk.filtered or filtered,
            ended=chunk.ended,
        )

    def position(self, fingerprint: str, anchor: Timestamp | None) -> Position:
        """Return the position of this place: the end of a chunk, in the order of chunks.

        Args:
            fingerprint: That of the plan.
            anchor: The cluster time of the plan's anchor.
        """
        record = attrs.asdict(self, recurse=False)
        record["latest"] = _numbers(self.latest)
        token = canonical({"snapshot": record})
        return Position(ResumeToken(token.decode("ascii")), fingerprint, anchor, self.chunks)

    def first(self, fingerprint: str, anchor: Timestamp | None) -> Position:
        """Return the position that names the next chunk: by snapshot, range and number alone.

        Args:
            fingerprint: That of the plan.
            anchor: The cluster time of the plan's anchor.
        """
        token = canonical({"chunk": [self.number, self.index, self.chunks]})
        return Position(ResumeToken(token.decode("ascii")), fingerprint, anchor, self.chunks)

    @classmethod
    def read(cls, stream: Stream, position: Position, fingerprint: str) -> Self:
        """Return the place of a position that the destination or the checkpoint holds.

        Args:
            stream: The stream, for messages.
            position: The position.
            fingerprint: That of the plan in force.

        Raises:
            ChainError: It belongs to another plan, or to no snapshot.
        """
        if position.fingerprint != fingerprint:
            raise ChainError(
                f"{stream}: the destination holds chunks of another plan of this snapshot",
                remedy="Restore the state store, or write elsewhere. Nothing was overwritten.",
            )
        try:
            record: dict[str, Any] = dict(json.loads(position.resume_token)["snapshot"])
            record["latest"] = Timestamp(*record["latest"]) if record["latest"] else None
            return cls(**record)
        except (KeyError, TypeError, ValueError) as error:
            raise ChainError(f"{stream}: the end of a chunk cannot be read: {type(error).__name__}") from None


def _dump(kind: str, content: Mapping[str, Any]) -> bytes:
    return json.dumps(sealed({"format": FORMAT, "kind": kind, **content}), indent=2).encode() + b"\n"


def _load(content: bytes, kind: str, where: str) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(content)
        intact, version, found = unseal(record), int(record.pop("format")), record.pop("kind")
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ChainError(f"{where} is not a record of a snapshot: {type(error).__name__}", remedy=_RESTORE) from None
    if version > FORMAT:
        raise DestinationError(
            f"{where} has format {version}; this rigatoni-core reads up to {FORMAT}",
            remedy="Upgrade rigatoni-core: a newer one wrote the record.",
        )
    if not intact or found != kind:
        raise ChainError(f"{where} is damaged: its checksum does not match its content", remedy=_RESTORE)
    return record


_RESTORE = "Restore the record from a backup or an earlier version. Nothing was overwritten."


def _numbers(time: Timestamp | None) -> Sequence[int] | None:
    return [time.seconds, time.increment] if time is not None else None
