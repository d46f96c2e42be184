"""Plans a snapshot: its collections with their UUIDs, and the ranges of their ids.

The ranges come from a random sample of ids, which the server sorts in its own order. They need not be equal: ranges
only let several chunks be read at a time. A missing privilege costs only what it is for: without `collStats` the size,
and without `find` on `config.collections` the shard key in `documentKey`.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import attrs
from bson import json_util
from bson.timestamp import Timestamp as BsonTimestamp
from pymongo.errors import OperationFailure
from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.api.events import Namespace, Timestamp
from rigatoni_core.api.snapshots import SnapshotPlan, SnapshotRange, SnapshotRequest

from rigatoni_mongodb.catalog import Catalog, Collection, catalog_of, readable
from rigatoni_mongodb.cursor import ReplyCursor
from rigatoni_mongodb.driver import Driver
from rigatoni_mongodb.errors import PrivilegeError
from rigatoni_mongodb.scope import Watch
from rigatoni_mongodb.snapshots import bounds
from rigatoni_mongodb.snapshots.error_codes import EMPTY_RANGE, SNAPSHOT, UNSUPPORTED

MOST_RANGES = 256
"""The most ranges of a plan."""

SMALL = 64 * 2**20
"""Bytes below which a collection is one range."""

LARGEST_RANGE = 64 * 2**30
"""Bytes above which a range is divided, however few are read at a time."""

_ONE = {"projection": {"_id": 1}, "limit": 1, "singleBatch": True}
"""Options of `find` that read nothing but one `_id`."""

_SAMPLES = 50
"""Sampled ids per range."""


@attrs.frozen(kw_only=True)
class CollectionDetails:
    """What the plan keeps of a collection besides its ranges.

    Attributes:
        shard_key: The fields of `documentKey`.
        repeats_ids: Whether two shards may have documents with equal ids.
        capped: Whether it is capped: such a collection cannot be read at a time (MongoDB manual, "Capped Collections").
        collation: Its collation, as the server describes it.
    """

    shard_key: tuple[str, ...] = ("_id",)
    repeats_ids: bool = False
    capped: bool = False
    collation: Mapping[str, Any] = attrs.field(factory=dict)

    def to_text(self) -> str:
        """Return the text that a plan keeps."""
        return json_util.dumps(attrs.asdict(self))

    @classmethod
    def from_text(cls, text: str) -> "CollectionDetails":
        """Return what `to_text` has written; the text of an unknown collection is empty."""
        values = json.loads(text) if text else {}
        return cls(**values | {"shard_key": tuple(values.get("shard_key", ("_id",)))})


@attrs.frozen(kw_only=True)
class Planner:
    """Plans snapshots of one stream.

    Attributes:
        driver: The connection.
        watch: What the stream watches.
        open: Opens a cursor in a database.
        sharded: Whether the deployment is sharded.
    """

    driver: Driver
    watch: Watch
    open: Callable[[str, dict[str, Any]], Awaitable[ReplyCursor]]
    sharded: bool

    async def plan(self, request: SnapshotRequest, ranges: int) -> SnapshotPlan:
        """Plan the snapshot; `ranges` are read at a time.

        Raises:
            ConfigurationError: A requested collection does not exist, or the requested ids are no range.
            PrivilegeError: The user may not list the collections.
            PyMongoError: The server is temporarily unavailable.
        """
        catalog = await catalog_of(self.driver, self.watch)
        chosen = self._chosen(catalog, request)
        if len(chosen) > MOST_RANGES:
            raise ConfigurationError(
                f"{self.watch.name}: a snapshot reads at most {MOST_RANGES} collections, not {len(chosen)}",
                remedy="Name the collections of each snapshot: rigatoni snapshot start --collection NAME.",
            )
        details = {str(each.namespace): await self._details(each) for each in chosen}
        sizes = [await self._size(each.namespace) for each in chosen]
        wanted = [_wanted(size, ranges) for size in sizes]
        room = MOST_RANGES - len(chosen)
        more = max(room, sum(wanted) - len(wanted))
        planned: list[SnapshotRange] = []
        for collection, size, count in zip(chosen, sizes, wanted, strict=True):
            planned += await self._ranges(collection, request, size or 0, 1 + (count - 1) * room // max(1, more))
        at = catalog.end if catalog and await self._reads_at_time(chosen, details, catalog.end) else None
        texts = {name: each.to_text() for name, each in details.items()}
        return SnapshotPlan(ranges=tuple(planned), at=at, details=texts)

    def _chosen(self, catalog: Catalog | None, request: SnapshotRequest) -> Sequence[Collection]:
        if catalog is None:
            if self.watch.collection is None or self.watch.database is None:
                raise PrivilegeError(
                    f"{self.watch.name}: the user may not list the collections that a snapshot reads",
                    remedy='Grant the role "read" on the database, or the action listCollections.',
                )
            return [Collection(Namespace(self.watch.database, self.watch.collection), None, {})]
        found = {str(each.namespace): each for each in catalog.collections}
        if missing := [name for name in request.collections if name not in found]:
            raise ConfigurationError(
                f"{self.watch.name}: a snapshot cannot read {', '.join(missing)}: no collection of that name exists",
                remedy="Correct the name. A view or a time series has no change stream, and therefore no snapshot.",
            )
        return [found[name] for name in dict.fromkeys(request.collections)] or list(found.values())

    async def _details(self, collection: Collection) -> CollectionDetails:
        key = await self._shard_key(collection.namespace) if self.sharded else ("_id",)
        options = collection.options
        return CollectionDetails(
            shard_key=(*(field for field in key or () if field != "_id"), "_id") if key != ("_id",) else ("_id",),
            repeats_ids=self.sharded and key != ("_id",),
            capped=bool(options.get("capped")),
            collation=options.get("collation", {}),
        )

    async def _shard_key(self, namespace: Namespace) -> tuple[str, ...] | None:
        """Return the fields of the shard key, `_id` for a collection on one shard; None if the user may not read it."""
        collections = self.driver.client["config"]["collections"]
        try:
            found = await self.driver.calls(collections.find_one, {"_id": str(namespace)})
        except OperationFailure:
            return None
        return tuple(found["key"]) if found and not found.get("dropped") else ("_id",)

    async def _size(self, namespace: Namespace) -> int | None:
        """Return the size of the collection's documents in bytes; None if the user may not know it."""
        database = self.driver.client[namespace.database]
        stats = await readable(self.driver.calls(database.command, {"collStats": namespace.collection}))
        return None if stats is None else int(stats.get("size", 0))

    async def _ranges(
        self, collection: Collection, request: SnapshotRequest, size: int, count: int
    ) -> list[SnapshotRange]:
        lowest, highest = (bounds.parse_id(text) if text else None for text in (request.lowest, request.highest))
        if lowest and highest:
            await self._check_order(collection, lowest, highest)
        cuts = await self._cuts(collection.namespace, lowest, highest, count) if count > 1 else []
        edges = [lowest, *(cut for cut in cuts if cut != lowest), highest]
        texts = [None if edge is None else bounds.to_text(edge) for edge in edges]
        return [
            SnapshotRange(
                namespace=collection.namespace,
                collection=str(collection.uuid or ""),
                low=low,
                high=high,
                nbytes=size // (len(edges) - 1),
            )
            for low, high in pairwise(texts)
        ]

    async def _cuts(
        self, namespace: Namespace, lowest: bytes | None, highest: bytes | None, count: int
    ) -> Sequence[bytes]:
        """Return at most `count - 1` ids that divide the range, in the order of the server."""
        compared = [{"$gt": ["$_id", bounds.literal(lowest)]}] if lowest else []
        compared += [{"$lt": ["$_id", bounds.literal(highest)]}] if highest else []
        command = {
            "aggregate": namespace.collection,
            "pipeline": [
                {"$sample": {"size": _SAMPLES * count}},
                {"$project": {"_id": 1}},
                *([{"$match": {"$expr": {"$and": compared}}}] if compared else []),
                {"$sort": {"_id": 1}},
            ],
            "allowDiskUse": True,
            "cursor": {"batchSize": 0},
        }
        ids: list[bytes] = []
        cursor = await self.open(namespace.database, command)
        reply = cursor.opening
        try:
            while reply.alive:
                reply = await cursor.next_reply(0)
                ids += map(bounds.id_of, reply.documents.copies())
        finally:
            await cursor.close()
        return list(dict.fromkeys(ids[number * len(ids) // count] for number in range(1, count) if ids))

    async def _check_order(self, collection: Collection, lowest: bytes, highest: bytes) -> None:
        namespace = collection.namespace
        collated = collection.uuid is None or "collation" in collection.options  # without a UUID, it was not listed
        if bounds.is_empty(lowest, highest, collated=collated):
            raise empty_range(str(namespace))  # not all compatible servers compare min with max
        limits = {"min": bounds.document(lowest), "max": bounds.document(highest)}
        command = {"find": namespace.collection, "hint": {"_id": 1}, **limits, **_ONE}
        try:
            await self.driver.calls(self.driver.client[namespace.database].command, command)
        except OperationFailure as error:
            if error.code != EMPTY_RANGE:
                raise
            raise empty_range(str(namespace)) from None

    async def _reads_at_time(
        self, chosen: Sequence[Collection], details: Mapping[str, CollectionDetails], at: Timestamp
    ) -> bool:
        """Return whether the server reads at a cluster time; True if there is no collection to try it with."""
        usable = [each.namespace for each in chosen if not details[str(each.namespace)].capped]
        before = Timestamp(at.seconds - 1, at.increment)  # a server that ignores it would report the present time
        return not usable or await reads_at(self.driver, usable[0], before)


def empty_range(where: str) -> ConfigurationError:
    """Return the error of a request whose first id is not below its last one. It does not quote the ids."""
    return ConfigurationError(
        f"{where}: the ids from which and up to which a snapshot is requested are no range",
        remedy="Request a lower first id (--from), or a higher last id (--to): the last one is not included.",
    )


def _wanted(size: int | None, ranges: int) -> int:
    """Return how many ranges a collection of this size is worth."""
    return 1 if size is not None and size < SMALL else max(ranges * 4, (size or 0) // LARGEST_RANGE)


async def reads_at(driver: Driver, namespace: Namespace, at: Timestamp) -> bool:
    """Return whether the server reads at a cluster time. A server that ignores the time reports another one."""
    time = BsonTimestamp(at.seconds, at.increment)
    concern = {"level": "snapshot", "atClusterTime": time}
    command = {"find": namespace.collection, **_ONE, "readConcern": concern}
    try:
        reply = await driver.calls(driver.client[namespace.database].command, command)
    except OperationFailure as error:
        if error.code in SNAPSHOT:
            return True
        if error.code in UNSUPPORTED:
            return False
        raise
    return bool(reply["cursor"].get("atClusterTime") == time)
