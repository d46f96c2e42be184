"""Transactions on a real broker: fencing, open transactions of others, restarts, refusals."""

import asyncio
import json

import attrs
import pytest
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import Producer
from confluent_kafka.admin import NewPartitions, NewTopic
from rigatoni_core.api.errors import LeaseLostError, RejectedEventsError
from rigatoni_core.api.events import Stream
from rigatoni_kafka.destination import KafkaDestination
from rigatoni_kafka.errors import KafkaError, KafkaTopicError, KafkaUnavailableError
from rigatoni_kafka.testing.server import KafkaServer
from rigatoni_testing.batches import START, STREAM, batch_of
from rigatoni_testing.servers import free_port


def create(place, name, config):
    admin = place.server.admin()
    (created,) = admin.create_topics([NewTopic(name, 1, 1, config=config)]).values()
    created.result()


def tokens_of(batch):
    return [batch.token_and_time(index)[0] for index in range(len(batch))]


async def visible(place, count):
    """Wait until so many events are committed: a single broker that is killed before may forget the commit."""
    async with asyncio.timeout(20):
        while len(await place.tokens()) < count:
            await asyncio.sleep(0.1)


async def test_an_owner_that_was_replaced_is_fenced_and_leaves_nothing(place, destination, definition, event):
    whole = batch_of(event(number) for number in range(4))
    async with destination() as old, destination() as new:
        await old.begin(STREAM, definition, START)
        await old.write_batch(whole[:2])
        assert await new.begin(STREAM, definition, START) == whole[:2].end
        with pytest.raises(LeaseLostError):
            await old.write_batch(whole[2:])
        assert await new.write_batch(whole[2:]) is None
        assert await old.begin(STREAM, definition, START) == whole.end
    assert await place.tokens() == tokens_of(whole)


async def test_the_position_is_read_only_once_the_owner_before_is_fenced(place, destination, definition, event):
    whole = batch_of(event(number) for number in range(4))
    async with destination() as old, destination() as new:
        await old.begin(STREAM, definition, START)
        await old.write_batch(whole[:2])
        positions, refused = new._records, []
        real = positions.read

        def read(stream):
            with pytest.raises(LeaseLostError) as caught:
                old._writers[stream.key].write(whole[2:], lambda: old._messages(whole[2:], old._layout(stream)))
            refused.append(caught.value)
            return real(stream)

        positions.read = read
        assert await new.begin(STREAM, definition, START) == whole[:2].end
        assert refused
    assert await place.tokens() == tokens_of(whole[:2])


async def test_a_position_behind_an_open_transaction_of_another_stream_is_read(place, destination, definition, event):
    """The last stable offset is before the open transaction: reading only up to it would miss the newer position."""
    whole = batch_of([event(0), event(1)])
    batch = whole[:1]
    async with destination(timeout=2.0) as it:
        await it.begin(STREAM, definition, START)
        settings = {"bootstrap.servers": place.server.bootstrap_servers, "transactional.id": f"{place.prefix}-other"}
        other = Producer(settings)
        other.init_transactions(10)
        other.begin_transaction()
        other.produce(f"{place.prefix}-positions", b"{}", b"other", partition=it._records.partition_of(STREAM))
        other.flush(10)
        await it.write_batch(batch)
        with pytest.raises(KafkaUnavailableError, match="a transaction is open"):
            await it.last_committed(STREAM)
        it._writers[STREAM.key]._abort(lost=False)
        for _ in range(2):  # nothing is written until the position is read again
            with pytest.raises(KafkaUnavailableError, match="a transaction is open"):
                await it.write_batch(whole[1:])
        other.abort_transaction(10)
        assert await it.last_committed(STREAM) == batch.end
        assert await it.write_batch(whole[1:]) is None
    assert await place.tokens() == tokens_of(whole)


async def test_positions_are_found_after_the_topic_got_more_partitions(place, destination, definition, event):
    streams = [Stream("p", f"s{number}") for number in range(3)]
    async with destination() as it:
        for stream in streams:
            await it.begin(stream, definition, START)
    positions = it._records
    admin = place.server.admin()
    (grown,) = admin.create_partitions([NewPartitions(positions.name, 11)]).values()
    grown.result()
    async with destination() as it:
        assert [await it.last_committed(stream) for stream in streams] == [START] * 3
        assert await it.last_committed(Stream("p", "fresh")) is None


async def test_keys_are_on_the_partitions_of_java_producers(place, destination, definition, event):
    batch = batch_of(event(number) for number in range(20))
    async with destination(partitions=5) as it:
        await it.begin(STREAM, definition, START)
        await it.write_batch(batch)
    java, partitions = DefaultPartitioner(), list(range(5))
    messages = await place.messages()
    assert {message.partition for message in messages} == {java(each.key, partitions, partitions) for each in messages}
    for message in messages:
        assert message.partition == java(message.key, partitions, partitions)


async def test_a_missing_topic_and_a_refused_size_are_clear_errors(place, destination, definition, event):
    name, small = f"{place.prefix}.shop.orders", {"max.message.bytes": "30000"}
    batch = batch_of([event(0), event(1, fullDocument={"_id": 1, "text": json.dumps([*range(20_000)])}), event(2)])
    async with destination(create_topics=False, compression="none", max_message_bytes=40_000) as it:
        await it.begin(STREAM, definition, START)
        with pytest.raises(RejectedEventsError):  # by its size, before anything is sent
            await it.write_batch(batch)
        rest = batch.without({1})
        with pytest.raises(KafkaTopicError) as caught:
            await it.write_batch(rest)
        assert f"--topic {name}" in caught.value.remedy
        create(place, name, small)
        assert await it.write_batch(rest) is None
    assert await place.tokens() == [tokens_of(batch)[index] for index in (0, 2)]


async def test_a_message_that_the_broker_refuses_rejects_its_event_only(place, destination, definition, event):
    name = f"{place.prefix}.shop.orders"
    create(place, name, {"max.message.bytes": "2000000"})
    text = json.dumps([*range(500_000)])
    batch = batch_of([event(0), event(1, fullDocument={"_id": 1, "text": text}), event(2)])
    async with destination(compression="none", max_message_bytes=8_000_000) as it:
        await it.begin(STREAM, definition, START)
        with pytest.raises(RejectedEventsError) as caught:
            await it.write_batch(batch)
        assert set(caught.value.events) == {1}
        assert await place.tokens() == []
        assert await it.write_batch(batch.without({1})) is None
    assert await place.tokens() == [tokens_of(batch)[index] for index in (0, 2)]


async def test_after_an_aborted_transaction_the_position_is_read_again(place, destination, definition, event):
    """An abort may void the commit before, if the broker had forgotten to carry it out: the position tells."""
    whole = batch_of(event(number) for number in range(4))
    async with destination() as it:
        await it.begin(STREAM, definition, START)
        await it.write_batch(whole[:2])
        it._writers[STREAM.key]._abort(lost=False)
        assert await it.write_batch(whole[2:3]) is None  # the position is as this run left it
        it._writers[STREAM.key]._abort(lost=False)
        producer = Producer({"bootstrap.servers": place.server.bootstrap_servers})
        positions = it._records
        producer.produce(positions.name, None, STREAM.key.encode(), partition=positions.partition_of(STREAM))
        producer.flush(10)
        with pytest.raises(LeaseLostError):
            await it.write_batch(whole[3:])


async def test_a_full_queue_waits_for_deliveries(place, destination, definition, event):
    batch = batch_of(event(number) for number in range(300))
    async with destination() as it:
        few = attrs.evolve(it._cluster, producing={**it._cluster.producing, "queue.buffering.max.messages": 10})
        it._cluster = few
        await it.begin(STREAM, definition, START)
        assert await it.write_batch(batch) is None
        assert it.progress(STREAM) > 10
    assert await place.tokens() == tokens_of(batch)


async def test_cluster_that_cannot_be_reached_is_transient(destination):
    with pytest.raises(KafkaUnavailableError):
        async with destination(bootstrap_servers=f"127.0.0.1:{free_port()}", timeout=1.0):
            pass


async def test_a_wrong_protocol_is_refused(destination):
    with pytest.raises(KafkaError):
        async with destination(security_protocol="SSL", timeout=1.0):
            pass


async def test_a_broker_that_restarts_in_the_middle_loses_and_repeats_nothing(tmp_path, place, definition, event):
    whole = batch_of(event(number) for number in range(30))
    with KafkaServer(tmp_path / "kafka") as server:
        own = attrs.evolve(place, server=server)
        async with KafkaDestination(**own.options(timeout=2.0)) as it:
            await it.begin(STREAM, definition, START)
            assert await it.write_batch(whole[:10]) is None
            await visible(own, 10)
            server.stop()
            with pytest.raises(KafkaUnavailableError):
                await it.write_batch(whole[10:20])
            await asyncio.to_thread(server.restart)
            for start in (10, 20):
                await persistently(it, whole[start : start + 10])
        assert await own.tokens() == tokens_of(whole)


async def persistently(destination, batch):
    """Retry as the worker does."""
    async with asyncio.timeout(30):
        while True:
            try:
                assert await destination.write_batch(batch) is None
                return
            except KafkaUnavailableError:
                await asyncio.sleep(0.2)
