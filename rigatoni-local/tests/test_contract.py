"""The destination passes the contract suite of destinations."""

import errno
import os
from contextlib import contextmanager
from functools import partial

import pytest
from rigatoni_local.destination import LocalDestination
from rigatoni_testing.contracts import DestinationContract, Place, PluginContract
from rigatoni_testing.serializers import TokenLines


class TestLocal(DestinationContract):
    @pytest.fixture
    def place(self, tmp_path, monkeypatch):
        async def written(stream):
            paths = [path for path in (tmp_path / stream.key).rglob("*.txt") if "_rigatoni" not in path.parts]
            return TokenLines.tokens_in(b"".join(path.read_bytes() for path in sorted(paths)))

        @contextmanager
        def outage():  # a fake: no disk is full on demand
            def full(*_):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            with monkeypatch.context() as patched:
                patched.setattr(os, "fsync", full)
                yield

        return Place(partial(LocalDestination, path=tmp_path, serializer=TokenLines()), written, outage)


class TestPlugin(PluginContract):
    distribution = "rigatoni-local"
