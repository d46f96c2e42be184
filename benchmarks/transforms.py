"""What each transform costs per event, on one thread, beside decoding and encoding the event with PyMongo.

    python -m benchmarks --only transforms

With the accelerator, `select` and `mask` are also measured without it.

Events are inserts of about 876 bytes, as in the other benchmarks.
"""

import time
from collections.abc import Callable, Iterator
from unittest import mock

import bson
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Transform
from rigatoni_core.api.options import Secret
from rigatoni_mongodb.testing.feeder import document
from rigatoni_testing.batches import batch_of, event_document
from rigatoni_transforms import compiled
from rigatoni_transforms.cast import CastTransform
from rigatoni_transforms.filter import FilterTransform
from rigatoni_transforms.flatten import FlattenTransform
from rigatoni_transforms.inference import inferred
from rigatoni_transforms.mask import MaskTransform
from rigatoni_transforms.methods import Method
from rigatoni_transforms.python import PythonTransform
from rigatoni_transforms.rename import RenameTransform
from rigatoni_transforms.route import RouteTransform
from rigatoni_transforms.schema import SchemaTransform
from rigatoni_transforms.select import SelectTransform
from rigatoni_transforms.unwrap import UnwrapTransform

EVENTS = 5000
PATHS = ("customer.mail", "customer.name", "total", "items.sku", "status")

MASKED: dict[str, Method] = dict.fromkeys(PATHS, "hash")

Measurement = Callable[[], float]


def same(event: dict[str, object]) -> dict[str, object]:
    """Return the event unchanged: what is left is the cost of the transform itself."""
    return event


def protecting() -> Iterator[tuple[str, Transform]]:
    """Yield the transforms that the accelerator speeds up."""
    yield "select, 5 paths", SelectTransform(exclude=PATHS)
    mask = MaskTransform(fields=MASKED, key=Secret("k" * 32), key_id="1")  # type: ignore[arg-type]  # its converter
    yield "mask, hash of 5 paths", mask


def transforms() -> Iterator[tuple[str, Transform]]:
    """Yield one of each, as users configure it."""
    documents = [document(number, 630) for number in range(100)]
    if compiled._ACCELERATOR is not None:
        yield from ((f"{name}, with the accelerator", transform) for name, transform in protecting())
    with mock.patch.object(compiled, "_ACCELERATOR", None):
        yield from protecting()
    yield "filter by operation", FilterTransform(expression='operation != "delete"')
    yield "filter by 2 fields", FilterTransform(expression='document.status == "paid" || document.total > 5.0')
    yield "filter by the whole document", FilterTransform(expression='"status" in document')
    yield "route by a field", RouteTransform(collection='collection + "_" + document.status')
    yield "rename, 2 fields", RenameTransform(fields={"customer.mail": "email", "items.sku": "id"})
    yield "cast, 2 fields", CastTransform(fields={"total": "decimal", "items.count": "long"})
    yield "flatten", FlattenTransform()
    yield "schema, all fields", SchemaTransform(collections=inferred(("shop.orders", each) for each in documents))
    yield "unwrap", UnwrapTransform()
    yield "python, nothing changed", PythonTransform(call=f"{__name__}:same")


def by_hand(batch: EventBatch) -> None:
    """Decode and encode each event with PyMongo: what a script does at least."""
    for segment in batch.segments:
        for raw in segment.copies():
            bson.encode(bson.decode(raw))


def measurements() -> dict[str, Measurement]:
    """Return what measures each, in microseconds of CPU time per event."""
    batch = batch_of([event_document(number, fullDocument=document(number, 630)) for number in range(EVENTS)])

    def timed(work: Callable[[], object]) -> Measurement:
        def measure() -> float:
            began = time.process_time()
            work()
            return (time.process_time() - began) / EVENTS * 1e6

        return measure

    measured = {"PyMongo: decode and encode": timed(lambda: by_hand(batch))}
    for name, transform in transforms():
        measured[name] = timed(lambda transform=transform: transform.transform(batch))  # type: ignore[misc]
    return measured
