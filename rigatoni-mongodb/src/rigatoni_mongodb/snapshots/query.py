"""The commands that read a range: a `find`, or an aggregate if the source has a pipeline.

`min` and `max` are bounds of the index on `_id`, in the index's own order: across types, NaN, MinKey and collations.
`$gt` would compare within one type only. An aggregate has no `min`; comparisons in `$expr` are not bracketed by type
either, and use the index (MongoDB manual, "cursor.min()", "$expr"; tried on 5.0.7).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
from bson.max_key import MaxKey
from rigatoni_bson.elements import chunk_of
from rigatoni_core.api.events import Timestamp
from rigatoni_core.api.segments import Segment

from rigatoni_mongodb.snapshots import bounds, rows
from rigatoni_mongodb.split_events import STAGE

_BY_ID = {"_id": 1}

_DROPPING = ("$match", "$redact")
"""Stages of a change stream's pipeline that may drop events."""

LONGEST_READ = 120_000
"""Milliseconds of work after which the server stops a read, so that no chunk holds its history for long."""

SCAN = 100_000
"""Documents that a chunk covers at most if they may be left out: so each chunk takes a bounded time."""


@attrs.frozen(kw_only=True)
class RangeQuery:
    """Reads documents of one collection as rows.

    Attributes:
        shape: What the rows share.
        stages: The source's pipeline.
        condition: A query: only matching documents are read.
        concern: The read concern.
    """

    shape: rows.RowShape
    stages: Sequence[Mapping[str, Any]] = ()
    condition: Mapping[str, Any] = attrs.field(factory=dict)
    concern: Mapping[str, Any]

    @property
    def leaves_out(self) -> bool:
        """Whether documents may have no row."""
        return bool(self.condition) or self.drops_events

    @property
    def drops_events(self) -> bool:
        """Whether the source's pipeline may drop events."""
        return any(name in stage for stage in self.stages for name in _DROPPING)

    def between(self, low: bytes | None, high: bytes | None, ids: Iterable[bytes] | None = None) -> dict[str, Any]:
        """Return the command that reads the documents from `low` up to `high`, in order.

        Args:
            low: The first `_id`; None for no lower bound.
            high: The `_id` before which to end; None for no upper bound.
            ids: Only the documents with these.
        """
        chosen = [] if ids is None else [{"_id": bounds.among(ids)}]
        if self.stages:
            compared = [{"$gte": ["$_id", bounds.literal(low)]}] if low else []
            compared += [{"$lt": ["$_id", bounds.literal(high)]}] if high else []
            return self._aggregate([*chosen, *({"$expr": each} for each in compared)])
        return self._find(low, high, self._matching(chosen))

    def max_key(self) -> dict[str, Any] | None:
        """Return the command for the document whose `_id` is MaxKey, which a `find` without `max` leaves out."""
        return None if self.stages else self._find(None, None, self._matching([{"_id": MaxKey()}]))

    def ids(self, low: bytes | None, high: bytes | None, **options: Any) -> dict[str, Any]:
        """Return the command that reads only the ids between two bounds; `options` are those of `find`."""
        return self._find(low, high, {}, projection=_BY_ID, **options)

    def equal(self, bound: bytes) -> dict[str, Any]:
        """Return the command that reads all ids that equal this one."""
        return self._find(None, None, {"_id": bounds.equal(bound)}, projection=_BY_ID)

    def rows(self, documents: Segment) -> Segment:
        """Return what the server sent as rows.

        Raises ValueError for a damaged document, and for rows whose `_id` a stage of the pipeline has changed.
        """
        if not self.stages:
            return rows.rows_of(documents, self.shape)
        if len(documents):
            rows.id_of_row(bytes(documents.raw(0)))
        return documents

    def rows_at(self, documents: Sequence[bytes], at: Timestamp) -> Segment:
        """Return documents, or rows of an aggregate, as rows of another cluster time than the shape's."""
        if self.stages:
            return chunk_of(b"".join(rows.with_time(each, at) for each in documents))
        return rows.rows_of(chunk_of(b"".join(documents)), attrs.evolve(self.shape, at=at))

    def id_of(self, document: bytes) -> bytes:
        """Return the `_id` of a document that the server sent. Raises ValueError if it has none."""
        return rows.id_of_row(document) if self.stages else bounds.id_of(document)

    def _matching(self, conditions: list[dict[str, Any]]) -> dict[str, Any]:
        all_ = [*conditions, *([dict(self.condition)] if self.condition else [])]
        return {"$and": all_} if len(all_) > 1 else all_[0] if all_ else {}

    def _find(self, low: bytes | None, high: bytes | None, condition: dict[str, Any], **options: Any) -> dict[str, Any]:
        command: dict[str, Any] = {"find": self.shape.namespace.collection, "filter": condition}
        command |= {"hint": _BY_ID, "sort": _BY_ID}
        if low:
            command["min"] = bounds.document(low)
        if high:
            command["max"] = bounds.document(high)
        return command | options | {"batchSize": 0, "readConcern": self.concern, "maxTimeMS": LONGEST_READ}

    def _aggregate(self, conditions: list[dict[str, Any]]) -> dict[str, Any]:
        matching = self._matching(conditions)
        return {
            "aggregate": self.shape.namespace.collection,
            "pipeline": [
                *([{"$match": matching}] if matching else []),
                {"$sort": _BY_ID},
                {"$replaceWith": rows.event_expression(self.shape)},
                *(stage for stage in self.stages if STAGE not in stage),
                {"$set": {"operationType": self.shape.operation}},
            ],
            "hint": _BY_ID,
            "cursor": {"batchSize": 0},
            "readConcern": self.concern,
            "maxTimeMS": LONGEST_READ,
        }
