"""Checksummed JSON records that people can read: checkpoints, positions and gaps.

State stores save and load these bytes; destinations keep positions in the same shape.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from rigatoni_core.api.errors import CorruptCheckpointError, StateStoreError
from rigatoni_core.api.events import (
    Checkpoint,
    Coverage,
    Gap,
    Namespace,
    Position,
    ResumeToken,
    SnapshotProgress,
    Stream,
    Timestamp,
)
from rigatoni_core.api.identity import identity_record, read_identity

FORMAT = 2
"""The record's format version. Newer formats are refused.

Format 1 held neither the end last delivered nor the deployment's identity, only the name of its replica set; and no
record of a cleared stream.
"""


@attrs.frozen
class StateRecord:
    """What a state store keeps of one stream: a checkpoint, or, after a clear, only the fencing token of the clear."""

    fencing_token: int
    checkpoint: Checkpoint | None


def position_record(position: Position) -> dict[str, Any]:
    """Return a position as plain JSON values.

    Args:
        position: The position.
    """
    time = position.cluster_time
    return {
        "resume_token": position.resume_token,
        "cluster_time": [time.seconds, time.increment] if time else None,
        "utc": datetime.fromtimestamp(time.seconds, UTC).isoformat() if time else None,
        "ordinal": position.ordinal,
        "fingerprint": position.fingerprint,
    }


def read_position(record: Mapping[str, Any]) -> Position:
    """Read a position from a record.

    Args:
        record: What `position_record` returned.

    Returns:
        The position.

    Raises:
        KeyError: An entry is missing.
        TypeError: An entry has another type.
        ValueError: An entry has an invalid value; `OverflowError` if it is out of range.
    """
    time = record["cluster_time"]
    token, fingerprint = record["resume_token"], record["fingerprint"]
    if not (isinstance(token, str) and isinstance(fingerprint, str)):
        raise TypeError("a position's token and fingerprint are texts")
    return Position(
        ResumeToken(token),
        fingerprint,
        _timestamp(int(time[0]), int(time[1])) if time is not None else None,
        int(record["ordinal"]),
    )


def _timestamp(seconds: int, increment: int) -> Timestamp:
    """A BSON timestamp: two unsigned numbers of 32 bits (BSON specification 1.1, bsonspec.org)."""
    if not (0 <= seconds < 1 << 32 and 0 <= increment < 1 << 32):
        raise ValueError(f"[{seconds}, {increment}] is not a cluster time")
    return Timestamp(seconds, increment)


def gap_record(gap: Gap) -> dict[str, Any]:
    """Return a gap as plain JSON values.

    Args:
        gap: The gap.
    """
    return {
        "cause": gap.cause,
        "lost": position_record(gap.lost) if gap.lost else None,
        "resumed": position_record(gap.resumed),
        **({"namespace": [gap.namespace.database, gap.namespace.collection]} if gap.namespace else {}),
    }


def read_gap(record: Mapping[str, Any]) -> Gap:
    """Read a gap from a record.

    Args:
        record: What `gap_record` returned.

    Returns:
        The gap.

    Raises:
        KeyError: An entry is missing.
        TypeError: An entry has another type.
        ValueError: An entry has an invalid value; `OverflowError` if it is out of range.
    """
    lost = read_position(record["lost"]) if record["lost"] else None
    namespace = Namespace(*record["namespace"]) if "namespace" in record else None
    return Gap(record["cause"], lost, read_position(record["resumed"]), namespace)


def progress_record(progress: SnapshotProgress) -> dict[str, Any]:
    """Return a snapshot's progress as plain JSON values.

    Args:
        progress: The progress.
    """
    return {
        "number": progress.number,
        "state": progress.state,
        "request": progress.request,
        "plan": progress.plan,
        "ranges": {str(index): position_record(end) for index, end in sorted(progress.ranges.items())},
    }


def read_progress(record: Mapping[str, Any]) -> SnapshotProgress:
    """Read a snapshot's progress from a record.

    Args:
        record: What `progress_record` returned.

    Returns:
        The progress.

    Raises:
        KeyError: An entry is missing.
        TypeError: An entry has another type.
        ValueError: An entry has an invalid value; `OverflowError` if it is out of range.
    """
    return SnapshotProgress(
        int(record["number"]),
        str(record["state"]),
        str(record["request"]),
        str(record["plan"]),
        {int(index): read_position(end) for index, end in dict(record["ranges"]).items()},
    )


def coverage_record(coverage: Coverage) -> dict[str, Any]:
    """Return a coverage as plain JSON values.

    Args:
        coverage: The range that a stream has delivered.
    """
    return {
        "scope": coverage.scope,
        "start": [coverage.start.seconds, coverage.start.increment],
        "end": [coverage.end.seconds, coverage.end.increment],
        "rest": sorted(coverage.rest),
    }


def read_coverage(record: Mapping[str, Any]) -> Coverage:
    """Read a coverage from a record.

    Args:
        record: What `coverage_record` returned.

    Returns:
        The coverage.

    Raises:
        KeyError: An entry is missing; `IndexError` for a part of a time.
        TypeError: An entry has another type.
        ValueError: An entry has an invalid value.
    """
    start, end = (_timestamp(int(record[key][0]), int(record[key][1])) for key in ("start", "end"))
    scope, rest = record["scope"], frozenset(record["rest"])
    if not all(isinstance(text, str) for text in (scope, *rest)):
        raise TypeError("a scope and the hashes of tokens are texts")
    return Coverage(scope, start, end, rest)


def dump_checkpoint(stream: Stream, checkpoint: Checkpoint) -> bytes:
    """Return the record of a checkpoint: indented JSON in UTF-8 that ends in a newline.

    Args:
        stream: The stream, whose names are part of the record.
        checkpoint: The checkpoint.
    """
    return _dump(
        stream,
        {
            "deployment": identity_record(checkpoint.identity),
            "position": position_record(checkpoint.position),
            "delivered": position_record(checkpoint.delivered) if checkpoint.delivered else None,
            **({"committed": position_record(checkpoint.committed)} if checkpoint.committed else {}),
            "events": checkpoint.events,
            "fencing_token": checkpoint.fencing_token,
            "gaps": [gap_record(gap) for gap in checkpoint.gaps],
            **({"snapshot": progress_record(checkpoint.snapshot)} if checkpoint.snapshot else {}),
        },
    )


def dump_cleared(stream: Stream, fencing_token: int) -> bytes:
    """Return the record of a cleared stream: no position, but the fencing token of the clear.

    An older rigatoni-core rejects it by its format, and so does not resume a cleared stream from memory.

    Args:
        stream: The stream.
        fencing_token: The fencing token of the clear; 0 for a store without leases.
    """
    return _dump(stream, {"position": None, "fencing_token": fencing_token})


def load_checkpoint(stream: Stream, content: bytes, where: str) -> Checkpoint | None:
    """Read the checkpoint of a record; None if the stream was cleared. See `load_record`."""
    return load_record(stream, content, where).checkpoint


def load_record(stream: Stream, content: bytes, where: str) -> StateRecord:
    """Read a stored record.

    Args:
        stream: The stream that the record must belong to.
        content: The record.
        where: Its path or key, for messages.

    Returns:
        The checkpoint, or None after a clear, with the fencing token.

    Raises:
        CorruptCheckpointError: It is not an intact record of this stream.
        StateStoreError: A newer rigatoni-core wrote the record.
    """
    try:
        record = json.loads(content)
        intact, version = unseal(record), record["format"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptCheckpointError(f"{where} is not a checkpoint record: {error}") from None
    if isinstance(version, int) and version > FORMAT:
        raise StateStoreError(
            f"{where} has record format {version}; this rigatoni-core reads up to {FORMAT}",
            remedy="Upgrade rigatoni-core: the record was written by a newer one.",
        )
    if not intact:
        raise CorruptCheckpointError(f"{where} was damaged: its checksum does not match its content")
    try:
        if (record["pipeline"], record["stream"]) != (stream.pipeline, stream.name):
            raise ValueError(f"it belongs to the stream {record['pipeline']}/{record['stream']}")
        return StateRecord(int(record["fencing_token"]), _read_checkpoint(record, version))
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise CorruptCheckpointError(f"{where} is not a checkpoint record of {stream}: {error}") from None


def listed_stream(key: str, content: bytes, where: str) -> Stream | None:
    """Return the stream of a stored record, for a listing; None if the stream was cleared.

    The names come from the record, because a key shortens long names.

    Args:
        key: The stream's key, as in `Stream.key`.
        content: The record.
        where: Its path or key, for messages.

    Raises:
        CorruptCheckpointError: The record is damaged, and the key does not contain the names either.
    """
    try:
        record = json.loads(content)
        intact, stream = unseal(record), Stream(record["pipeline"], record["stream"])
        if intact and stream.key == key:
            return stream if record["position"] is not None else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    try:
        return Stream.from_key(key)
    except ValueError:
        raise CorruptCheckpointError(f"{where} was damaged: it does not tell which stream it belongs to") from None


def _dump(stream: Stream, content: Mapping[str, Any]) -> bytes:
    record = {"format": FORMAT, "pipeline": stream.pipeline, "stream": stream.name, **content}
    return json.dumps(sealed(record), indent=2, ensure_ascii=False).encode() + b"\n"


def _read_checkpoint(record: Mapping[str, Any], version: int) -> Checkpoint | None:
    if record["position"] is None:
        return None
    position = read_position(record["position"])
    if version == 1:
        delivered, identity = position.of_event, read_identity(record["position"]["deployment"])
    else:
        delivered = read_position(record["delivered"]) if record["delivered"] else None
        identity = read_identity(record["deployment"])
    return Checkpoint(
        position,
        int(record["events"]),
        int(record["fencing_token"]),
        tuple(map(read_gap, record["gaps"])),
        delivered,
        identity,
        read_progress(record["snapshot"]) if record.get("snapshot") else None,
        read_position(record["committed"]) if "committed" in record else None,
    )


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of plain JSON values with its checksum as the last entry.

    Args:
        record: The record, without a checksum.
    """
    return {**record, "checksum": checksum(canonical(record))}


def unseal(record: dict[str, Any]) -> bool:
    """Remove the checksum from a record.

    Args:
        record: The record, which is changed.

    Returns:
        Whether the checksum matches the other entries.

    Raises:
        KeyError: The record has no checksum.
    """
    return bool(record.pop("checksum") == checksum(canonical(record)))


def canonical(record: Mapping[str, Any]) -> bytes:
    """Return the canonical text that a record's checksum covers: JSON in ASCII, sorted by name, without white space.

    Args:
        record: Plain JSON values.
    """
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode("ascii")


def checksum(text: bytes) -> str:
    """Return the checksum of a canonical text.

    Args:
        text: The canonical text.
    """
    return "sha256:" + hashlib.sha256(text).hexdigest()
