"""Serializes the objects of a batch: all of them, or those that an earlier run did not create."""

from collections.abc import Sequence

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.errors import RejectedEventsError

from rigatoni_objects.file_layout import BatchObject, FileLayout
from rigatoni_objects.records import BatchRecord, ObjectRecord, started_differently

Contents = Sequence[tuple[BatchObject, bytes | memoryview]]
"""The objects of a batch, each with its content."""


def contents_of(layout: FileLayout, events: EventBatch, *, own_lead: bool) -> Contents:
    """Serialize the objects of a batch.

    Args:
        layout: Maps the batch to objects.
        events: The batch.
        own_lead: Whether a batch with one object is its own lead; that object exists even if it holds no events.

    Raises:
        RejectedEventsError: The serializer rejects events.
    """
    only = layout.only_path(events.first, events.stream) if own_lead else None
    parts = [BatchObject(only, range(len(events)), events)] if only else layout.parts(events)
    return list(zip(parts, serialized(layout, parts), strict=True))


def serialized(layout: FileLayout, parts: Sequence[BatchObject]) -> list[bytes | memoryview]:
    """Serialize each object. Raises one `RejectedEventsError` for all of them, by index in the batch."""
    contents, rejected, remedy = [], dict[int, Exception](), ""
    for part in parts:
        try:
            contents.append(layout.serializer.serialize(part.events))
        except RejectedEventsError as error:
            rejected.update((part.indices[index], reason) for index, reason in error.events.items())
            remedy = error.remedy
    if rejected:
        raise RejectedEventsError(dict(sorted(rejected.items())), remedy=remedy)
    return contents


def missing_contents(
    record: BatchRecord, missing: Sequence[ObjectRecord], events: EventBatch, layout: FileLayout
) -> Contents:
    """Serialize the objects of a batch that an earlier run did not create.

    Raises:
        RejectedEventsError: The serializer rejects events of these objects, or the record has format 1 and the batch
            still holds events that the earlier run rejected.
        ChainError: The batch lacks events that the record lists, or the record was written with another serializer.
    """
    if not all(part.path.endswith(layout.serializer.suffix) for part in missing):
        raise started_differently(events, f"files of another serializer than {layout.serializer.suffix}")
    counts_kept = record.format < 2
    if counts_kept and len(events) != record.events:
        serialized(layout, layout.parts(events))  # raises for those rejected then, unless they are accepted now
        raise started_differently(events, "events rejected that are accepted now")
    parts = [part.taken_from(events, counts_kept=counts_kept) for part in missing]
    return list(zip(parts, serialized(layout, parts), strict=True))
