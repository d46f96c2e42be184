"""The snapshots of the source `mongodb`: what it requests of the server, and the errors that it raises."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bson import json_util
from pymongo.errors import OperationFailure, PyMongoError
from rigatoni_core.api.errors import ConfigurationError, RigatoniError
from rigatoni_core.api.events import Namespace, Position, Stream
from rigatoni_core.api.snapshots import Bound, Chunk, SnapshotPlan, SnapshotRequest, Snapshotter

from rigatoni_mongodb.errors import IllegalPipelineError, ServerFailureError, ServerTooOldError
from rigatoni_mongodb.scope import Watch
from rigatoni_mongodb.snapshots import bounds
from rigatoni_mongodb.snapshots.error_codes import CONVERSION, LOCATIONS
from rigatoni_mongodb.snapshots.planning import Planner, empty_range
from rigatoni_mongodb.snapshots.reader import ChunkReader


class SnapshotSource(Snapshotter):
    """The part of the source that reads snapshots."""

    @property
    @abstractmethod
    def _chunks(self) -> ChunkReader:
        """The reader of this source's chunks, once it is entered."""

    @abstractmethod
    def _translate(self, error: PyMongoError, what: str, resource: dict[str, Any] | None = None) -> RigatoniError:
        """Return the error to raise."""

    def check_snapshot(self, stream: Stream, request: SnapshotRequest) -> None:
        """See `Snapshotter`."""
        watch = Watch.parse(stream.name)
        for name in (*request.collections, *request.filters):
            database, _, collection = name.partition(".")
            if not database or not collection or not watch.includes(Namespace(database, collection)):
                raise ConfigurationError(
                    f"a snapshot of {watch.name} cannot read {name}: the stream does not watch it",
                    remedy='Name a collection that the stream watches, as "database.collection".',
                )
        for name, text in request.filters.items():
            _check_filter(name, text)
        for option, text in (("from", request.lowest), ("to", request.highest)):
            try:
                bounds.parse_id(text) if text else None
            except ValueError as error:
                raise ConfigurationError(
                    f"a snapshot of {watch.name} cannot begin or end at the given _id (--{option}): {error}",
                    remedy='Write the _id as Extended JSON: 5, "a", {"$oid": "65f000000000000000000001"}.',
                ) from None
        if request.lowest and request.highest:
            first, last = map(bounds.parse_id, (request.lowest, request.highest))
            if bounds.is_empty(first, last, collated=True):
                raise empty_range(watch.name)

    async def plan_snapshot(self, stream: Stream, request: SnapshotRequest, *, ranges: int) -> SnapshotPlan:
        """See `Snapshotter`."""
        self.check_snapshot(stream, request)
        server, watch = self._chunks.server, Watch.parse(stream.name)
        with self._translated(f"checking the filters of a snapshot of {stream}", watch, filtered=True):
            await self._chunks.check_filters(request)
        with self._translated(f"planning a snapshot of {stream}", watch):
            planner = Planner(driver=server.driver, watch=watch, open=server.open, sharded=server.sharded)
            return await planner.plan(request, ranges)

    async def read_chunk(
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
        high: Bound | None = None,
    ) -> Chunk:
        """See `Snapshotter`."""
        what, filtered = f"reading the snapshot {name}", bool(request.filters)
        with self._translated(what, Watch.parse(stream.name), filtered=filtered):
            return await self._chunks.read(
                stream, request, plan, index, name=name, low=low, at=at, limit=limit, high=high
            )

    @contextmanager
    def _translated(self, what: str, watch: Watch, *, filtered: bool = False) -> Iterator[None]:
        """Translate errors. What the server refuses of a `filtered` snapshot is an error of its request."""
        try:
            yield
        except PyMongoError as error:
            translated = self._translate(error, what, watch.resource)
            if filtered and _is_refusal(error, translated):
                remedy = "Correct the filter, and request the snapshot again."
                raise ConfigurationError(
                    f"{translated}", remedy=translated.remedy if isinstance(translated, ServerTooOldError) else remedy
                ) from error
            raise translated from error
        except ValueError as error:
            if self._chunks.server.stages:
                raise IllegalPipelineError(f"{what}: {error}", remedy="Keep _id in every stage of pipeline.") from error
            raise ServerFailureError(f"{what}: the server sent a damaged reply: {error}") from error


def _is_refusal(error: PyMongoError, translated: RigatoniError) -> bool:
    """Return whether the server refuses what it is asked: it cannot parse a query, or evaluate an expression in it."""
    if isinstance(translated, IllegalPipelineError):
        return True
    code = error.code or 0 if isinstance(error, OperationFailure) else 0
    return isinstance(translated, ServerFailureError) and (code == CONVERSION or code >= LOCATIONS)


def _check_filter(name: str, text: str) -> None:
    """Raises ConfigurationError if the text is not a query."""
    try:
        query = json_util.loads(text)
    except Exception as error:
        reason = f"it is not Extended JSON ({type(error).__name__})"
    else:
        if isinstance(query, Mapping):
            return
        reason = "it is not an object"
    raise ConfigurationError(
        f"the filter of a snapshot of {name} is no query: {reason}",
        remedy='Write it as MongoDB\'s find takes it, in Extended JSON: {"status": "open"}.',
    )
