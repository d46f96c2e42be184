"""How long the oplog keeps the position of each stream, at the present write rate.

The server removes the oldest entries once the oplog has its maximum size (MongoDB manual, "Replica Set Oplog"). A
stream whose position is older than the oldest entry cannot resume (error 286, ChangeStreamHistoryLost).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
from bson.timestamp import Timestamp as BsonTimestamp
from pymongo.errors import OperationFailure
from rigatoni_core.api.contracts import Finding
from rigatoni_core.api.events import Position, Stream
from rigatoni_core.api.words import duration

from rigatoni_mongodb.diagnosis.examined import MAX_TIME_MS, Examined, refused

ENOUGH = 24 * 3600.0
"""Seconds that an outage may last without losing changes: below, doctor warns. A night and a morning."""

RECENT = 1000
"""Entries over which the present write rate is measured."""

GRANT = 'Grant a role: db.getSiblingDB("admin").grantRolesToUser("USER", [{role: "read", db: "local"}]).'
RESIZE = "db.adminCommand({replSetResizeOplog: 1, size: <megabytes>, minRetentionHours: 48})"


@attrs.frozen
class Oplog:
    """The oplog of one member.

    Attributes:
        first: Seconds of the oldest entry.
        last: Seconds of the newest entry.
        is_whole: Whether nothing has left it since the replica set was initiated.
        size: Its bytes; 0 if unknown.
        maximum: Its maximum size in bytes; 0 if unknown.
        recent_rate: Bytes per second over the last entries; 0 if unknown.
    """

    first: int
    last: int
    is_whole: bool = False
    size: float = 0
    maximum: float = 0
    recent_rate: float = 0

    @property
    def window(self) -> float:
        """The seconds between the oldest and the newest entry."""
        return max(self.last - self.first, 0)

    def lifetime(self, seconds: float) -> float | None:
        """Return the seconds until the entries of this time leave the oplog; None if that cannot be said yet.

        Entries are taken as evenly spread. The rate is that of the whole oplog, or of its last entries if that is
        higher. Without the sizes the oplog counts as full: it loses a second of history in each second.

        Args:
            seconds: A cluster time.
        """
        kept = min(max(seconds - self.first, 0), self.window)
        if not self.size or self.maximum <= 0:
            return None if self.is_whole else kept
        rate = max(self.size / max(self.window, 1), self.recent_rate)
        newer = self.size * kept / max(self.window, 1)
        return (max(self.maximum - self.size, 0) + newer) / rate


async def headroom(examined: Examined, positions: Mapping[Stream, Position | None]) -> Sequence[Finding]:
    """Report the window of the oplog, and when the position of each stream leaves it."""
    if examined.is_sharded:
        return [
            Finding(
                "not checked",
                "each shard has an oplog of its own, which a mongos does not show",
                "Run db.getReplicationInfo() on each shard: the smallest timeDiffHours applies.",
            )
        ]
    oplog = await _read(examined)
    if isinstance(oplog, OperationFailure):
        return [refused("the oplog", oplog, GRANT)]
    if oplog is None:
        return [Finding("not checked", "the oplog has no entries to read", GRANT)]
    return [_of_window(oplog), *_of_positions(oplog, positions)]


def _of_window(oplog: Oplog) -> Finding:
    lasts = oplog.lifetime(oplog.last)
    figures = {"window_seconds": oplog.window, **({} if lasts is None else {"lifetime_seconds": lasts})}
    reaches = f"the oplog reaches back {duration(oplog.window)}"
    if lasts is None:
        seen = f"{reaches}, to the start of the replica set: how long it keeps changes is not known yet"
        return Finding("ok", seen, figures=figures)
    seen = f"{reaches}; at this write rate a change stays {duration(lasts)}: a longer outage loses changes"
    if lasts >= ENOUGH:
        return Finding("ok", seen, figures=figures)
    return Finding("warning", seen, f"Enlarge the oplog on each member: {RESIZE}.", figures)


def _of_positions(oplog: Oplog, positions: Mapping[Stream, Position | None]) -> Iterator[Finding]:
    for stream, position in positions.items():
        time = position.cluster_time if position else None
        if time is None or not time.seconds:
            continue
        left = oplog.lifetime(time.seconds)
        age = f"{stream.name}: its position is {duration(oplog.last - time.seconds)} behind the newest entry"
        if time.seconds < oplog.first:
            seen = f"{age}, and the oplog reaches back only {duration(oplog.window)}: the position is lost"
            remedy = (
                "Decide how to recover (docs/moving.md, lost positions): run once with "
                "--set on_lost_position=snapshot, or with restart_from_now, which records a gap."
            )
            yield Finding("error", seen, remedy, {"headroom_seconds": 0.0})
        elif left is None:
            yield Finding("ok", f"{age}; nothing has left the oplog yet")
        else:
            seen, figures = f"{age}; at this write rate it dies in {duration(left)}", {"headroom_seconds": left}
            remedy = f"Run the pipeline before that, or enlarge the oplog: {RESIZE}."
            yield Finding("ok", seen, "", figures) if left >= ENOUGH else Finding("warning", seen, remedy, figures)


async def _read(examined: Examined) -> Oplog | OperationFailure | None:
    """Read the oplog, or what `serverStatus` tells of it: each needs another privilege."""
    collection = examined.driver.client["local"]["oplog.rs"]

    async def entry(direction: int, skip: int = 0) -> Any:
        return await examined.tried(
            collection.find_one,
            projection={"ts": 1, "o.msg": 1},
            sort=[("$natural", direction)],
            skip=skip,
            max_time_ms=MAX_TIME_MS,
        )

    first, last = await entry(1), await entry(-1)
    if isinstance(first, OperationFailure):
        return await _of_status(examined) or first
    if not first or not last or isinstance(last, OperationFailure):
        return None
    oplog = Oplog(first["ts"].time, last["ts"].time, is_whole=(first.get("o") or {}).get("msg") == "initiating set")
    sizes = await examined.tried(examined.driver.client["local"].command, "collStats", "oplog.rs")
    if isinstance(sizes, OperationFailure):
        return oplog
    earlier, rate = await entry(-1, RECENT), 0.0
    if earlier and not isinstance(earlier, OperationFailure):
        rate = RECENT * float(sizes.get("avgObjSize", 0)) / max(oplog.last - earlier["ts"].time, 1)
    return attrs.evolve(
        oplog, size=float(sizes.get("size", 0)), maximum=float(sizes.get("maxSize", 0)), recent_rate=rate
    )


async def _of_status(examined: Examined) -> Oplog | None:
    status = await examined.command("serverStatus", oplog=1)
    section = {} if isinstance(status, OperationFailure) else status.get("oplog", {})
    times = [section.get(name) for name in ("earliestOptime", "latestOptime")]
    seconds = [time.time for time in times if isinstance(time, BsonTimestamp)]
    return Oplog(seconds[0], seconds[1]) if len(seconds) == len(times) else None
