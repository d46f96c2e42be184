"""Reads the chunks of a source's snapshots, and decides how: at the stream's own time, or by the window rule."""

from functools import partial
from uuid import UUID

import attrs
from bson import json_util
from bson.timestamp import Timestamp as BsonTimestamp
from pymongo.errors import OperationFailure
from rigatoni_core.api.bus import publish
from rigatoni_core.api.events import Namespace, Position, Stream, Timestamp
from rigatoni_core.api.executor import DaemonExecutor
from rigatoni_core.api.notices import SnapshotWindowed
from rigatoni_core.api.snapshots import Bound, Chunk, SnapshotPlan, SnapshotRange, SnapshotRequest, SnapshotTimeError

from rigatoni_mongodb.catalog import collections_of
from rigatoni_mongodb.scope import Watch
from rigatoni_mongodb.snapshots import bounds
from rigatoni_mongodb.snapshots.chunk_read import ChunkRead, NoReadTimeError, OtherReadTimeError
from rigatoni_mongodb.snapshots.error_codes import EMPTY_RANGE, INTERRUPTED, SNAPSHOT, UNSUPPORTED
from rigatoni_mongodb.snapshots.planning import CollectionDetails
from rigatoni_mongodb.snapshots.query import RangeQuery
from rigatoni_mongodb.snapshots.rows import RowShape
from rigatoni_mongodb.snapshots.server import Server

TIMES = 5
"""Cluster times at which a chunk is tried before it is read at half its size, and later by the window rule."""

_OTHER_TIME = "the server reads at another time than requested"
_CAPPED = "a capped collection cannot be read at a cluster time"
_UNSUPPORTED = "the server cannot read at a cluster time (MongoDB 5.0 and newer can)"
_REFUSED = f"the server refused reads at {2 * TIMES} cluster times"


@attrs.define(kw_only=True)
class ChunkReader:
    """Reads chunks of the snapshots of one source.

    A read at a time is trusted only if each reply reports that time, and if the collection still has its planned UUID
    afterwards: servers before 7.0 may read another collection of that name.

    Attributes:
        server: The server.
    """

    server: Server
    _workers: DaemonExecutor = attrs.field(factory=partial(DaemonExecutor, "rigatoni-snapshot"), init=False)
    _renamed: dict[str, Namespace] = attrs.field(factory=dict, init=False)  # by UUID
    _refused: dict[tuple[str, int], set[Timestamp]] = attrs.field(factory=dict, init=False)  # since the last chunk
    _sizes: dict[Namespace, float] = attrs.field(factory=dict, init=False)  # of rows, in bytes
    _windowed: set[tuple[str, Namespace]] = attrs.field(factory=set, init=False)  # that a notice was published for
    _reads_other_times: bool = attrs.field(default=False, init=False)

    def close(self) -> None:
        """Stop the threads."""
        self._workers.close()

    async def check_filters(self, request: SnapshotRequest) -> None:
        """Let the server parse the filters of a request: it opens the cursor of a chunk, but reads no document.

        Raises:
            PyMongoError: The server refuses a filter, or cannot be asked.
        """
        for name, text in request.filters.items():
            query = RangeQuery(
                shape=RowShape("", Namespace(*name.split(".", 1)), Timestamp(0, 0), request.operation),
                stages=self.server.stages,
                condition=json_util.loads(text),
                concern={},
            )
            cursor = await self.server.open(query.shape.namespace.database, query.between(None, None))
            await cursor.close()

    async def read(
        self,
        stream: Stream,
        request: SnapshotRequest,
        plan: SnapshotPlan,
        index: int,
        *,
        name: str,
        low: Bound | None,
        at: Position,
        limit: int,
        high: Bound | None,
    ) -> Chunk:
        """Read a chunk; see `Snapshotter.read_chunk`.

        Raises:
            SnapshotTimeError: Another time is needed.
            PyMongoError: The server cannot be read.
            ValueError: A document is damaged.
        """
        part, time = plan.ranges[index], at.cluster_time
        if time is None:
            raise SnapshotTimeError(f"{stream}: the stream's position has no cluster time yet")
        refused = self._refused.setdefault((name, index), set())
        read = self._read_of(request, plan, part, name, time, low, high, limit, len(refused))
        ended = Chunk(rows=(), at=time, end=None, after=time)
        try:
            chunk = await self._chunk(stream, read, self._why_by_window(plan, read.details, len(refused)))
        except (SnapshotTimeError, NoReadTimeError, OperationFailure) as error:
            code = error.code if isinstance(error, OperationFailure) else None
            if code == EMPTY_RANGE:
                chunk = ended
            elif code is not None and code not in SNAPSHOT | INTERRUPTED | UNSUPPORTED:
                raise
            elif reason := await self._gone(stream, part):
                return attrs.evolve(ended, ended=reason)
            else:
                refused.add(time)
                text = str(error) or "the server reports no cluster time"
                raise SnapshotTimeError(f"{part.namespace}: a read at {time} failed: {text}") from error
        if reason := await self._gone(stream, part):
            return attrs.evolve(ended, ended=reason)
        del self._refused[name, index]
        stops_early = high is not None and high != part.high
        return attrs.evolve(chunk, end=high) if stops_early else chunk

    async def _chunk(self, stream: Stream, read: ChunkRead, why_by_window: str) -> Chunk:
        if not why_by_window:
            try:
                return await read.at_time()
            except OtherReadTimeError:
                self._reads_other_times, why_by_window = True, _OTHER_TIME
        key = (stream.key, read.query.shape.namespace)
        if key not in self._windowed:
            self._windowed.add(key)
            publish(SnapshotWindowed(stream=stream, collection=key[1], reason=why_by_window))
        return await read.by_window()

    def _why_by_window(self, plan: SnapshotPlan, details: CollectionDetails, refused: int) -> str:
        """Return why a chunk cannot be read at a time; empty if it can."""
        reasons = {
            _OTHER_TIME: self._reads_other_times,
            _CAPPED: details.capped,
            _UNSUPPORTED: plan.at is None,
            _REFUSED: refused >= 2 * TIMES,
        }
        return next((reason for reason, applies in reasons.items() if applies), "")

    def _read_of(
        self,
        request: SnapshotRequest,
        plan: SnapshotPlan,
        part: SnapshotRange,
        name: str,
        time: Timestamp,
        low: Bound | None,
        high: Bound | None,
        limit: int,
        refused: int,
    ) -> ChunkRead:
        details = CollectionDetails.from_text(plan.details.get(str(part.namespace), ""))
        namespace = self._renamed.get(part.collection, part.namespace)
        condition = request.filters.get(str(part.namespace))
        end = high or part.high
        if high is None and refused >= TIMES:
            limit = max(1, limit // 2)
        return ChunkRead(
            server=self.server,
            query=RangeQuery(
                shape=RowShape(name, namespace, time, request.operation, details.shard_key),
                stages=self.server.stages,
                condition=json_util.loads(condition) if condition else {},
                concern={"level": "snapshot", "atClusterTime": BsonTimestamp(time.seconds, time.increment)},
            ),
            details=details,
            low=bounds.from_text(low) if low else None,
            high=bounds.from_text(end) if end else None,
            limit=None if high else limit,
            workers=self._workers,
            sizes=self._sizes,
        )

    async def _gone(self, stream: Stream, part: SnapshotRange) -> str:
        """Return why the planned collection is not in the stream any more; empty if it has the name that was read.

        Raises SnapshotTimeError if it has another name in the stream: it is read under that name from now on.
        """
        if not part.collection:
            return ""
        name, uuid = self._renamed.get(part.collection, part.namespace), UUID(part.collection)
        found = await collections_of(self.server.driver, name.database, name=name.collection)
        if found is None or any(each.uuid == uuid for each in found):
            return ""
        others = await collections_of(self.server.driver, name.database) or ()
        present = next((each.namespace for each in others if each.uuid == uuid), None)
        if present is None:
            return "dropped"
        if not Watch.parse(stream.name).includes(present):
            return "renamed"
        self._renamed[part.collection] = present
        raise SnapshotTimeError(f"{part.namespace}: the collection was renamed to {present} while it was read")
