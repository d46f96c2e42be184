"""Shared fixtures: a broker, topics for each test, a reader of another library."""

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import aiokafka
import attrs
import pytest
from rigatoni_core.api.events import Definition, ResumeToken
from rigatoni_kafka.destination import KafkaDestination
from rigatoni_kafka.testing.server import KafkaServer
from rigatoni_testing.batches import event_document, token_of

_NUMBERS = itertools.count()


@pytest.fixture
def definition() -> Definition:
    return Definition("fingerprint", {"watch": "shop.orders"})


@pytest.fixture
def event() -> Callable[..., dict[str, Any]]:
    return event_document


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as started:
        yield started


@attrs.frozen
class Place:
    """A test's own topics: they begin with `prefix`."""

    server: KafkaServer
    prefix: str

    def options(self, **options: Any) -> dict[str, Any]:
        """Return the options of a destination that writes here."""
        return {
            "bootstrap_servers": self.server.bootstrap_servers,
            "topic": self.prefix + ".{database}.{collection}",
            "positions_topic": f"{self.prefix}-positions",
            "create_topics": True,
            "partitions": 1,
            "timeout": 15.0,
            **options,
        }

    async def messages(self, *, isolation: str = "read_committed") -> list[Any]:
        """Return all committed messages of the test's topics, read by aiokafka; by topic, partition and offset."""
        topics = self.server.admin().list_topics(timeout=10).topics
        places = [
            aiokafka.TopicPartition(name, number)
            for name, topic in topics.items()
            for number in topic.partitions
            if name.startswith(f"{self.prefix}.")
        ]
        if not places:
            return []
        consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self.server.bootstrap_servers, isolation_level=isolation, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            consumer.assign(places)
            await consumer.seek_to_beginning()
            ends, found = await consumer.end_offsets(places), []
            async with asyncio.timeout(20):
                while any([await consumer.position(place) < ends[place] for place in places]):
                    for records in (await consumer.getmany(timeout_ms=100)).values():
                        found += records
        finally:
            await consumer.stop()
        return sorted(found, key=lambda message: (message.topic, message.partition, message.offset))

    async def tokens(self) -> list[ResumeToken]:
        """Return the resume tokens of all committed events."""
        return [token_of(json.loads(message.value)["_id"]) for message in await self.messages()]


@pytest.fixture
def place(server: KafkaServer) -> Place:
    return Place(server, f"t{next(_NUMBERS)}")


@pytest.fixture
def destination(place: Place) -> Callable[..., KafkaDestination]:
    return lambda **options: KafkaDestination(**place.options(**options))
