"""The destination passes the contract suite of transactional destinations, on a real broker."""

import json

import pytest
from rigatoni_testing.batches import token_of
from rigatoni_testing.contracts import Place, PluginContract, TransactionalContract


class TestKafka(TransactionalContract):
    @pytest.fixture
    def place(self, place, destination):
        async def written(stream):
            """The streams of the suite hold the same events, in one topic: a header tells them apart."""
            messages = [
                each for each in await place.messages() if ("rigatoni.stream", stream.key.encode()) in each.headers
            ]
            return [token_of(json.loads(message.value)["_id"]) for message in messages]

        return Place(destination, written)


class TestPlugin(PluginContract):
    distribution = "rigatoni-kafka"
