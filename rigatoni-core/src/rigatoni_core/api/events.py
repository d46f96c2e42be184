"""The types of the data path: change events, streams, positions, checkpoints."""

import enum
import functools
import hashlib
import re
from collections.abc import Mapping
from typing import Any, NewType
from urllib.parse import quote, unquote

import attrs

from rigatoni_core.api.identity import UNKNOWN, Identity

ResumeToken = NewType("ResumeToken", str)
"""Opaque text made by the source. It may contain a document's `_id`: log, name and measure only its `token_hash`."""


def token_hash(token: ResumeToken) -> str:
    """Return 16 hexadecimal digits (64 bits) of SHA-256 that represent a token in names, logs and metrics.

    Args:
        token: The resume token.
    """
    return hashlib.sha256(token.encode()).hexdigest()[:16]


@attrs.frozen(order=True)
class Timestamp:
    """A cluster time: `seconds` since the epoch (UTC) and the `increment` within that second. Exact and ordered."""

    seconds: int
    increment: int

    def next(self) -> "Timestamp":
        """Return the smallest cluster time after this one."""
        if self.increment < 0xFFFFFFFF:
            return Timestamp(self.seconds, self.increment + 1)
        return Timestamp(self.seconds + 1, 0)

    def __str__(self) -> str:
        return f"{self.seconds}.{self.increment}"


class Operation(enum.StrEnum):
    """The operation types of MongoDB's change events (MongoDB manual, "Change Events"); `read` is a snapshot's row."""

    READ = "read"
    INSERT = "insert"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    DROP = "drop"
    RENAME = "rename"
    DROP_DATABASE = "dropDatabase"
    INVALIDATE = "invalidate"
    CREATE = "create"
    CREATE_INDEXES = "createIndexes"
    DROP_INDEXES = "dropIndexes"
    MODIFY = "modify"
    SHARD_COLLECTION = "shardCollection"
    RESHARD_COLLECTION = "reshardCollection"
    REFINE_COLLECTION_SHARD_KEY = "refineCollectionShardKey"


@attrs.frozen
class Namespace:
    """A database and, unless the event is about the whole database, a collection (which may contain dots)."""

    database: str
    collection: str | None = None

    def __str__(self) -> str:
        return self.database if self.collection is None else f"{self.database}.{self.collection}"


@attrs.frozen(slots=True)
class UpdateDescription:
    """The changes of an update, as the server reports them (MongoDB manual, "update Event")."""

    updated_fields: Mapping[str, Any] = attrs.field(factory=dict)
    removed_fields: tuple[str, ...] = ()
    truncated_arrays: tuple[Mapping[str, Any], ...] = ()
    disambiguated_paths: Mapping[str, Any] | None = None


@attrs.frozen(slots=True)
class Transaction:
    """The transaction that an event belongs to: logical session id and transaction number."""

    lsid: Mapping[str, Any]
    number: int


@attrs.frozen(slots=True)
class ChangeEvent:
    """One change event. Fields that the server did not send are None; nothing is invented.

    `operation` is an `Operation`, or the server's own text if the server is newer. `wall_time` is the
    server's value (milliseconds of UTC), `unknown` keeps every top-level field that has no attribute here.
    """

    resume_token: ResumeToken
    operation: Operation | str
    namespace: Namespace | None
    document_key: Mapping[str, Any] | None = None
    full_document: Mapping[str, Any] | None = None
    full_document_before_change: Mapping[str, Any] | None = None
    update_description: UpdateDescription | None = None
    cluster_time: Timestamp | None = None
    wall_time: Any = None
    transaction: Transaction | None = None
    unknown: Mapping[str, Any] = attrs.field(factory=dict)


def escaped(name: str, limit: int = 200) -> str:
    """Escape `name` as one path segment of at most `limit` characters, which is unique, never hidden, and never `..`.

    A name whose encoding would be longer keeps its beginning and ends in `~` and 64 bits of its SHA-256.

    Args:
        name: The name.
        limit: The largest length of the result in characters, at least 18.

    Returns:
        The segment, percent-encoded (RFC 3986, 2.1).
    """
    text = quote(name, safe="").replace("~", "%7E")
    if text.startswith("."):
        text = "%2E" + text[1:]
    if len(text) > limit:
        text = f"{text[: limit - 17]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return text or "%00"


SIDE_STREAMS = ("dead-letters", "replay-marks", "replayed", "snapshots")
"""The side streams of a stream: its dead letters, the marks of replayed ones, the replayed events, and its snapshots.

No pipeline's name ends in a dot and one of these, so a side stream is never mistaken for another stream.
"""

_RANGE = re.compile(r"(.+)\.s\d+\.\d{4,}", re.DOTALL)


@attrs.frozen(order=True)
class Stream:
    """An ordered sequence of change events with its own position: `shop.orders`, `shop.*` or `*` of a pipeline."""

    pipeline: str
    name: str

    @functools.cached_property
    def key(self) -> str:
        """`<pipeline>/<stream>`, each escaped: the only definition of state keys and object prefixes."""
        return f"{escaped(self.pipeline)}/{escaped(self.name)}"

    @classmethod
    def from_key(cls, key: str) -> "Stream":
        """Return the stream whose `key` this is.

        Raises:
            ValueError: It is no stream's key, or that of a long name, which a key does not hold in full.
        """
        pipeline, _, name = key.partition("/")
        stream = cls(unquote(pipeline), unquote(name))
        if "~" in key or stream.key != key:
            raise ValueError(f"{key!r} does not tell a stream's whole name")
        return stream

    def beside(self, what: str) -> "Stream":
        """Return a side stream for data about this stream's events, with positions and batches of its own.

        Args:
            what: The kind of data, one of `SIDE_STREAMS`.
        """
        assert what in SIDE_STREAMS
        return Stream(f"{self.pipeline}.{what}", self.name)

    def snapshot_range(self, number: int, index: int) -> "Stream":
        """Return the stream of the rows of one range of a snapshot, with positions and batches of its own.

        Args:
            number: The snapshot's number, from 1.
            index: The place of the range in the snapshot's plan, from 0.
        """
        return Stream(f"{self.pipeline}.snapshots", f"{self.name}.s{number}.{index:04}")

    @functools.cached_property
    def of_snapshot(self) -> "Stream | None":
        """The stream whose snapshot has this range; None if this is no range of a snapshot."""
        match = _RANGE.fullmatch(self.name) if self.pipeline.endswith(".snapshots") else None
        return Stream(self.pipeline.removesuffix(".snapshots"), match[1]) if match else None

    def __str__(self) -> str:
        return f"{self.pipeline}/{self.name}"


@attrs.frozen
class Position:
    """The position at which a stream resumes: after `resume_token`.

    `cluster_time` is a lower bound: no earlier event follows. `ordinal` counts the events of exactly this cluster time
    before the position (all events of a transaction share one cluster time), so that `(cluster_time, ordinal)` orders
    the positions of a stream. `fingerprint` identifies the definition of the stream at the time of the position.
    """

    resume_token: ResumeToken = attrs.field(repr=lambda token: f"#{token_hash(token)}")
    fingerprint: str
    cluster_time: Timestamp | None = None
    ordinal: int = 0

    @property
    def of_event(self) -> "Position | None":
        """This position if it lies right after an event, as an ordinal tells; None if it may lie anywhere."""
        return self if self.ordinal else None

    @property
    def order(self) -> tuple[Timestamp, int]:
        """What to compare positions of one stream by."""
        return (self.cluster_time or Timestamp(0, 0), self.ordinal)

    def moved(self, resume_token: ResumeToken, cluster_time: Timestamp | None, ordinal: int) -> "Position":
        """Return the position at another place of the same stream.

        Args:
            resume_token: The token of the event at that place.
            cluster_time: The cluster time of the event; None if unknown.
            ordinal: The number of earlier events of the same cluster time.
        """
        return Position(resume_token, self.fingerprint, cluster_time, ordinal)


@attrs.frozen
class Gap:
    """Changes that are lost for good, and why.

    Attributes:
        cause: What happened, and what to do about it.
        lost: The last position before the gap; None if it is unknown.
        resumed: The position behind the gap.
        namespace: The one collection whose documents arrived by no event, at `resumed`; None if everything between
            the two positions is missing.
    """

    cause: str
    lost: Position | None
    resumed: Position
    namespace: Namespace | None = None


@attrs.frozen
class SnapshotProgress:
    """How far one snapshot of a stream is, as a checkpoint keeps it.

    Attributes:
        number: The snapshot's number, from 1.
        state: `requested` until its plan is on record; `done` when all its rows are durable.
        request: What is requested, as a record.
        plan: Its ranges, as a record; empty until it is planned.
        ranges: By the place of each range that has begun: the position after its last durable chunk.
    """

    number: int
    state: str = "requested"
    request: str = attrs.field(default="", repr=False)
    plan: str = attrs.field(default="", repr=False)
    ranges: Mapping[int, Position] = attrs.field(factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether rows are still to be read."""
        return self.state in ("requested", "running")


@attrs.frozen
class Checkpoint:
    """The saved record around a position.

    Attributes:
        position: Where the stream resumes: the end of the last delivered batch, or a later place that it reached since
            without any event.
        events: How many events were delivered since the stream began.
        fencing_token: That of the lease under which the record was saved.
        gaps: What was lost for good, oldest first.
        delivered: The end of the last delivered batch, so the place of an event; None if nothing was delivered since
            the stream began or skipped a gap. The event proves `position` if the source refuses its token.
        identity: The deployment that the position belongs to.
        snapshot: The stream's newest snapshot, if this run keeps records of it here.
        committed: The position that a transactional destination held; `position` follows it without any event. None
            for other destinations.
    """

    position: Position
    events: int = 0
    fencing_token: int = 0
    gaps: tuple[Gap, ...] = ()
    delivered: Position | None = None
    identity: Identity = UNKNOWN
    snapshot: SnapshotProgress | None = None
    committed: Position | None = None

    @property
    def open_gap(self) -> Gap | None:
        """The newest gap, if it was noted and the stream did not resume behind it yet."""
        gap = self.gaps[-1] if self.gaps else None
        if gap is None or gap.namespace is not None or self.position == gap.resumed:  # nothing may have happened since
            return None
        return gap if gap.lost == self.position else None


@attrs.frozen
class Coverage:
    """What a stream has delivered, once it has ended: every event of its scope in an interval, with one exception.

    Both ends are included. The exception is the *rest*: the events of exactly the last cluster time that the stream
    had still to deliver when it ended. Events that were lost in a recorded gap count as delivered.

    Attributes:
        scope: The stream's name, which says what it watched.
        start: The cluster time at which the stream began.
        end: The cluster time at which it ended.
        rest: The `token_hash` of each event of the rest.
    """

    scope: str
    start: Timestamp
    end: Timestamp
    rest: frozenset[str] = frozenset()


@attrs.frozen
class Definition:
    """What makes a stream the stream it is: what is watched, filtered and looked up.

    `fingerprint` is short and changes whenever `details` (plain JSON values, for people and for records) do.
    `uncertain` lists, in words, what makes a second reading of the same events differ from the first: with any of
    these, no destination can promise more than at-least-once. Where `layout_counts`, a destination's other layout is
    another definition; not so where each batch is a single event, which is cut and ordered alike in every layout.
    `identity` is for recognizing the deployment later; it is not part of what is defined.
    """

    fingerprint: str
    details: Mapping[str, Any]
    uncertain: tuple[str, ...] = ()
    layout_counts: bool = True
    identity: Identity = UNKNOWN
