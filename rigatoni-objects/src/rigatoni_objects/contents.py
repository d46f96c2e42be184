"""What the objects of a batch contain: made from the batch, or what is missing of a batch that was begun before."""

from collections.abc import Sequence

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.errors import RejectedEventsError

from rigatoni_objects.file_layout import FileLayout, Part
from rigatoni_objects.records import BatchRecord, PartRecord, begun_otherwise

Contents = Sequence[tuple[Part, bytes | memoryview]]
"""The objects of a batch, and what each contains."""


def contents_of(layout: FileLayout, events: EventBatch, *, own_lead: bool) -> Contents:
    """The objects of a batch. Raises `RejectedEventsError`.

    With `own_lead`, a batch that can have one object only has that object even if it holds no event: it is the lead.
    """
    only = layout.only_path(events.first, events.stream) if own_lead else None
    parts = [Part(only, range(len(events)), events)] if only else layout.parts(events)
    return list(zip(parts, serialized(layout, parts), strict=True))


def serialized(layout: FileLayout, parts: Sequence[Part]) -> list[bytes | memoryview]:
    """The content of each object. Raises one `RejectedEventsError` for all, by index in the batch."""
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
    record: BatchRecord, missing: Sequence[PartRecord], events: EventBatch, layout: FileLayout
) -> Contents:
    """The objects of a batch that an earlier run did not create.

    Raises:
        RejectedEventsError: Events of these objects are rejected now; or, with a record of format 1, the batch still
            holds the events that were rejected then.
        ChainError: The batch lacks events that were written then, or its objects were to be written by another
            serializer.
    """
    if not all(part.path.endswith(layout.serializer.suffix) for part in missing):
        raise begun_otherwise(events, f"files of another serializer than {layout.serializer.suffix}")
    counts_kept = record.format < 2
    if counts_kept and len(events) != record.events:
        serialized(layout, layout.parts(events))  # names those that were rejected then, unless they are accepted now
        raise begun_otherwise(events, "events rejected that are accepted now")
    parts = [part.taken_from(events, counts_kept=counts_kept) for part in missing]
    return list(zip(parts, serialized(layout, parts), strict=True))
