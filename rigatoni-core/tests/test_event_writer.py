"""Single events for commands: retried and limited in time as those of a pipeline."""

import pytest
from rigatoni_core.api.errors import DestinationError, PipelineTimeoutError, RejectedEventsError, Transient
from rigatoni_core.api.events import Stream
from rigatoni_core.api.settings import RetrySettings, Settings
from rigatoni_core.cli.event_writer import RetryingEventWriter
from rigatoni_testing.batches import TestDecoder, batch_of, event_document
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import HANG, Bucket, BucketDestination, Table, TableDestination

STREAM = Stream("p", "shop.orders")
DECODER = TestDecoder()
BATCH = batch_of((event_document(number) for number in range(2)), stream=STREAM)
SIDE = STREAM.beside("replayed")


class DownError(DestinationError, Transient):
    pass


def write(destination, settings=None):
    async def main():
        writer = RetryingEventWriter(SIDE, destination, DECODER, settings or Settings())
        for index in range(2):
            await writer.write(BATCH.position_at(index), bytes(BATCH.raw(index)))

    run_virtual(main())


def test_transient_errors_before_and_after_the_effect_are_retried():
    bucket = Bucket()
    write(BucketDestination(bucket=bucket, before=[DownError("down")], after=[None, DownError("the answer is lost")]))
    assert bucket.tokens(SIDE) == [BATCH.position_at(index).resume_token for index in range(2)]


def test_the_last_transient_error_is_raised():
    destination = BucketDestination(bucket=Bucket(), before=[DownError(str(number)) for number in range(3)])
    with pytest.raises(DownError, match="2"):
        write(destination, Settings(retry=RetrySettings(max_retries=2)))


def test_a_write_without_progress_times_out():
    destination = BucketDestination(bucket=Bucket(), before=[HANG] * 2)
    with pytest.raises(PipelineTimeoutError):
        write(destination, Settings(write_timeout=1.0, retry=RetrySettings(max_retries=1)))


def test_a_rejected_event_is_not_tried_again():
    tries = []

    class Picky(BucketDestination):
        async def write_batch(self, events):
            tries.append(len(events))
            raise RejectedEventsError({0: ValueError()})

    with pytest.raises(RejectedEventsError):
        write(Picky(bucket=Bucket()))
    assert tries == [1]


def test_a_transactional_destination_loses_no_event_that_comes_out_of_order():
    table = Table()
    batch = batch_of((event_document(number) for number in range(4)), stream=STREAM)

    async def main():
        for index in (1, 3, 3, 0, 2):  # two selections of dead letters, and a retry
            writer = RetryingEventWriter(SIDE, TableDestination(table=table), DECODER, Settings())
            await writer.write(batch.position_at(index), bytes(batch.raw(index)))

    run_virtual(main())
    assert table.tokens(SIDE) == [batch.position_at(index).resume_token for index in (1, 3, 0, 2)]
