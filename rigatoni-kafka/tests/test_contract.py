"""The destination passes the contract suite of transactional destinations, on a real broker."""

import pytest
from rigatoni_testing.contracts import Place, PluginContract, TransactionalContract
from rigatoni_testing.serializers import TokenLines


class TestKafka(TransactionalContract):
    @pytest.fixture
    def place(self, place, destination):
        async def written(stream):
            """The streams of the suite hold the same events, in one topic: a header tells them apart."""
            own = ("rigatoni.stream", stream.key.encode())
            values = (message.value for message in await place.messages() if own in message.headers)
            return TokenLines.tokens_in(b"".join(values))

        return Place(lambda: destination(serializer=TokenLines()), written)


class TestPlugin(PluginContract):
    distribution = "rigatoni-kafka"
