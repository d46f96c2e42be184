"""What a transform promises."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from hypothesis import HealthCheck, given, settings
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Transform
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.segments import Segment

from rigatoni_testing import strategies
from rigatoni_testing.batches import batch_of, event_document, in_chunks
from rigatoni_testing.contracts.obligations import (
    ObligationsOfReaders,
    broken,
    check_component,
    check_constructor,
    check_error,
    promised,
)

Make = Callable[[], Transform]
Outcome = Mapping[int, bytes | None]
"""What becomes of each event of a batch as it was read: its document, or None if it is rejected; absent if dropped."""

_ALLOWED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors, HealthCheck.too_slow]
_MANY = settings(max_examples=60, deadline=None, suppress_health_check=_ALLOWED)


def outcome(transform: Transform, batch: EventBatch) -> Outcome:
    """Transform the batch as a pipeline does.

    Fails unless the result consists of events of the batch, in the same order.

    Args:
        transform: The transform.
        batch: The batch.

    Returns:
        The events that remain, those that were dropped, and those that were rejected.
    """
    rejected: dict[int, None] = {}
    before = [bytes(batch.raw(index)) for index in range(len(batch))]
    try:
        after = transform.transform(batch)
    except RejectedEventsError as error:
        check_error(error)
        indices = sorted(error.events)
        promised(set(indices) <= set(range(len(batch))), f"rejected events are named by index: {indices}")
        rejected = {batch.indices[index]: None for index in indices}
        rest = batch.without(indices)
        try:
            after = transform.transform(rest)
        except RejectedEventsError:
            broken("RejectedEventsError names every event that cannot be transformed, all at once")
    except Exception as error:
        broken(f"transform rejects what it cannot transform by RejectedEventsError; it raised {error!r}")
    unchanged = [bytes(batch.raw(index)) for index in range(len(batch))] == before
    promised(unchanged, "the batch that is given stays as it is")
    promised(
        (after.stream, after.first, after.end, after.decoder) == (batch.stream, batch.first, batch.end, batch.decoder),
        "stream, first, end and decoder of the batch stay",
    )
    promised(after.as_read is batch.as_read, "the batch is made of the given one: by without, or by replaced")
    numbers = list(after.indices)
    promised(numbers == sorted(set(numbers)), "no event is multiplied, and their order stays")
    promised(set(numbers) <= set(batch.indices) - set(rejected), "no event is added")
    return {**rejected, **{number: bytes(after.raw(index)) for index, number in enumerate(numbers)}}


class TransformContract(ObligationsOfReaders):
    """The fixture `make` is a function without arguments: a new transform. `format` is the format of its events."""

    def test_it_says_which_formats_it_reads(self, make: Make) -> None:
        self.check_reader(make())

    def test_it_has_a_version(self, make: Make) -> None:
        version = make().version
        promised(type(version) is int and version > 0, "version is a whole number from 1")

    @_MANY
    @given(batch=strategies.batches())
    def test_the_same_events_are_kept_changed_dropped_and_rejected_each_time(
        self, make: Make, batch: EventBatch
    ) -> None:
        transform = make()
        first = outcome(transform, batch)
        promised(outcome(transform, batch) == first, "it is deterministic: the same batch gives the same events")
        promised(outcome(make(), batch) == first, "another object with the same options gives the same events")

    @_MANY
    @given(batch=strategies.batches())
    def test_what_becomes_of_an_event_does_not_depend_on_its_batch(self, make: Make, batch: EventBatch) -> None:
        transform = make()
        together = outcome(transform, batch)
        alone = {
            index: made for index in range(len(batch)) for made in outcome(transform, batch[index : index + 1]).values()
        }
        promised(alone == together, "an event becomes the same alone as among others: batches may be cut elsewhere")
        chunks = outcome(transform, in_chunks(batch, range(len(batch))))
        promised(chunks == together, "the same events in several replies become the same")

    def test_a_batch_without_events_stays_one(self, make: Make) -> None:
        promised(outcome(make(), batch_of([])) == {}, "a batch whose events were all rejected stays without events")

    def test_a_damaged_event_changes_nothing_for_its_neighbours(self, make: Make) -> None:
        good = batch_of([event_document(number) for number in range(3)])
        buffer, offsets = bytearray(good.whole.buffer), good.whole.offsets
        start, stop = offsets[1], offsets[2]
        buffer[start + 4 : stop] = b"\x7e" * (stop - start - 4)  # no type of BSON, and no JSON
        damaged = EventBatch(
            good.stream,
            first=good.first,
            end=good.end,
            segments=[Segment(memoryview(bytes(buffer)), offsets)],
            decoder=good.decoder,
        )
        found, expected = (dict(outcome(make(), batch)) for batch in (damaged, good))
        for outcomes in (found, expected):
            outcomes.pop(1, None)
        promised(found == expected, "next to an event that cannot be read the others become the same")

    def test_several_threads_may_use_it_at_once(self, make: Make) -> None:
        transform = make()
        batches = [batch_of([event_document(100 * part + n) for n in range(50)]) for part in range(4)]
        alone = [outcome(make(), batch) for batch in batches]
        with ThreadPoolExecutor(8) as threads:
            together = list(threads.map(lambda n: outcome(transform, batches[n % 4]), range(64)))
        promised(
            all(found == alone[n % 4] for n, found in enumerate(together)),
            "transform is thread-safe: batches that are in work at once give the same events as one after another",
        )

    def test_its_constructor_does_no_io(self, make: Make) -> None:
        check_constructor(make)

    def test_its_text_shows_no_secret(self, make: Make) -> None:
        check_component(make())
