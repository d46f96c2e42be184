"""What the testing kit asks of every destination."""

from functools import partial

import pytest
from rigatoni_core.testing.contracts import DestinationContract, Place, PluginContract
from rigatoni_core.testing.serializers import TokenLines
from rigatoni_local.destination import LocalDestination


class TestLocal(DestinationContract):
    @pytest.fixture
    def place(self, tmp_path):
        async def written(stream):
            paths = [path for path in (tmp_path / stream.key).rglob("*.txt") if "_rigatoni" not in path.parts]
            return TokenLines.tokens_in(b"".join(path.read_bytes() for path in sorted(paths)))

        return Place(partial(LocalDestination, path=tmp_path, serializer=TokenLines()), written)


class TestPlugin(PluginContract):
    distribution = "rigatoni-local"
