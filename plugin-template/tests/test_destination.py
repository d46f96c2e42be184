"""The destination keeps its contract."""

import errno
import os
from contextlib import contextmanager
from functools import partial

import pytest
from rigatoni_template.destination import TemplateDestination
from rigatoni_testing.contracts import DestinationContract, Place, PluginContract
from rigatoni_testing.serializers import TokenLines


class TestTemplateDestination(DestinationContract):
    @pytest.fixture
    def place(self, tmp_path, monkeypatch):
        async def written(stream):
            return TokenLines.tokens_in(b"".join(p.read_bytes() for p in sorted((tmp_path / stream.key).glob("*.txt"))))

        @contextmanager
        def outage():  # a fake: no disk fails on demand
            def fail(_):
                raise OSError(errno.EIO, os.strerror(errno.EIO))

            with monkeypatch.context() as patched:
                patched.setattr(os, "fsync", fail)
                yield

        return Place(partial(TemplateDestination, path=tmp_path, serializer=TokenLines()), written, outage)


class TestPlugin(PluginContract):
    distribution = "rigatoni-template"
