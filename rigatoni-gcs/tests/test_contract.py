"""The destination passes the contract suite of destinations."""

import pytest
from rigatoni_testing.contracts import DestinationContract, Place, PluginContract
from rigatoni_testing.serializers import TokenLines


class TestGcs(DestinationContract):
    @pytest.fixture
    def place(self, place, destination):
        async def written(stream):
            keys = [key for key in sorted(place) if key.startswith(f"{stream.key}/") and key.endswith(".txt")]
            return TokenLines.tokens_in(b"".join(map(place.get, keys)))

        return Place(destination, written)


class TestPlugin(PluginContract):
    distribution = "rigatoni-gcs"
