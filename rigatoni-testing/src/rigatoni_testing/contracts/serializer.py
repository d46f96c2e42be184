"""Contract tests for serializers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from hypothesis import HealthCheck, given, settings
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Deserializer, EventSerializer, Piecewise, Serializer
from rigatoni_core.api.errors import RejectedEventsError, UnreadableError
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

Make = Callable[[], Serializer]
_ALLOWED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors, HealthCheck.too_slow]
_MANY = settings(max_examples=60, deadline=None, suppress_health_check=_ALLOWED)


def _serialized(serializer: Serializer, batch: EventBatch) -> tuple[bytes, EventBatch]:
    """Returns the content and indices of all serializable events; fails unless one error names all others."""
    try:
        return bytes(serializer.serialize(batch)), batch
    except RejectedEventsError as error:
        rejected = error.events
        check_error(error)
    except Exception as error:
        broken(f"serialize raises RejectedEventsError for events that it cannot write; it raised {error!r}")
    promised(set(rejected) <= set(range(len(batch))), f"rejected events are named by index: {sorted(rejected)}")
    rest = batch.without(rejected)
    try:
        return bytes(serializer.serialize(rest)), rest
    except RejectedEventsError:
        broken("RejectedEventsError names every event that cannot be written")


class SerializerContract(ObligationsOfReaders):
    """Contract tests for serializers; the fixture `make` returns a function that creates a serializer.

    `format` is the format of its events.
    """

    def test_it_declares_the_formats_it_reads(self, make: Make) -> None:
        self.check_reader(make())

    def test_it_declares_media_type_and_suffix(self, make: Make) -> None:
        serializer = make()
        promised("/" in serializer.media_type, "media_type is a content type, such as application/x-ndjson")
        promised(serializer.suffix.startswith("."), "suffix is the file name's end, such as .ndjson")

    @_MANY
    @given(batch=strategies.batches())
    def test_values_of_every_type_are_written_or_rejected_by_name(self, make: Make, batch: EventBatch) -> None:
        serializer = make()
        content, written = _serialized(serializer, batch)
        again, _ = _serialized(make(), batch)
        promised(content == again, "the same batch gives the same bytes in every serializer with the same options")
        if isinstance(serializer, Piecewise):
            together = b"".join(serializer.pieces(written))
            promised(together == content, "the pieces of a batch add up to the result of serialize")
        if isinstance(serializer, EventSerializer):
            each = [bytes(content) for content in serializer.each(written)]
            promised(len(each) == len(written), f"each returns {len(written)} contents, not {len(each)}")
            alone = [bytes(*serializer.each(written[index : index + 1])) for index in range(len(written))]
            promised(each == alone, "the bytes of an event do not depend on its neighbours")
        if isinstance(serializer, Deserializer) and len(written):
            read = list(serializer.deserialize(content))
            promised(len(read) == len(written), f"deserialize gives {len(written)} documents, not {len(read)}")

    def test_the_bytes_do_not_depend_on_reply_boundaries(self, make: Make) -> None:
        whole = batch_of([event_document(number, fullDocument={"text": "a b" * number}) for number in range(1200)])
        expected = bytes(make().serialize(whole))
        for places in ([1], [600], range(0, 1200, 7), [1199]):
            found = bytes(make().serialize(in_chunks(whole, places)))
            promised(found == expected, "the same events in several chunks give the same bytes")

    def test_a_damaged_event_is_rejected_and_its_neighbours_are_not(self, make: Make) -> None:
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
        serializer = make()
        try:
            serializer.serialize(damaged)
        except RejectedEventsError as error:
            check_error(error)
            promised(set(error.events) == {1}, f"only the damaged event (1) is rejected, not {sorted(error.events)}")
        except Exception as error:
            broken(f"an event that cannot be decoded raises RejectedEventsError; it raised {error!r}")
        else:
            broken("an event that cannot be decoded is rejected")
        left, expected = serializer.serialize(damaged.without({1})), serializer.serialize(good.without({1}))
        promised(bytes(left) == bytes(expected), "the other events are written without the rejected one")

    def test_parts_of_a_batch_are_written_like_whole_ones(self, make: Make) -> None:
        documents = [event_document(number) for number in range(6)]
        serializer, batch = make(), batch_of(documents)
        part = bytes(serializer.serialize(batch[2:5]))
        alone = bytes(serializer.serialize(batch_of(documents[2:5])))
        promised(
            part == alone, "a slice of a batch (offsets do not begin at 0) gives the same bytes as its events alone"
        )

    def test_several_threads_may_use_it_at_once(self, make: Make) -> None:
        serializer = make()
        batches = [batch_of([event_document(100 * part + n) for n in range(50)]) for part in range(4)]
        alone = [bytes(make().serialize(batch)) for batch in batches]
        with ThreadPoolExecutor(8) as threads:
            together = list(threads.map(lambda n: bytes(serializer.serialize(batches[n % 4])), range(64)))
        promised(
            all(content == alone[n % 4] for n, content in enumerate(together)),
            "serialize is thread-safe: concurrent batches give the same bytes as sequential ones",
        )

    def test_foreign_content_raises_unreadable_error(self, make: Make) -> None:
        serializer = make()
        if not isinstance(serializer, Deserializer):
            return  # reading is optional
        try:
            list(serializer.deserialize(b"\xff\x00 this is no file of this format"))
        except UnreadableError as error:
            promised(str(error), "UnreadableError has a message")
        except Exception as error:
            broken(f"unreadable content raises UnreadableError, not {error!r}")
        else:
            broken("unreadable content raises UnreadableError")

    def test_its_constructor_does_no_io(self, make: Make) -> None:
        check_constructor(make)

    def test_its_text_shows_no_secret(self, make: Make) -> None:
        check_component(make())
