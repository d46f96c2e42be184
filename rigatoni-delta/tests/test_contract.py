"""The destination passes the contract suite of transactional destinations."""

import json
from contextlib import contextmanager

import pytest
from deltalake.exceptions import TableNotFoundError
from rigatoni_core.api.events import ResumeToken
from rigatoni_testing.contracts import (
    CurrentPlace,
    CurrentSnapshotContract,
    Place,
    PluginContract,
    SnapshotContract,
    TransactionalContract,
)


class TestPlugin(PluginContract):
    distribution = "rigatoni-delta"


class TestDelta(TransactionalContract):
    @pytest.fixture
    def place(self, lake):
        async def written(stream):
            try:
                rows = lake.rows(stream.name.replace("*", "all"))
            except TableNotFoundError:
                return []
            return [ResumeToken(json.dumps(json.loads(token))) for token in rows["resume_token"].to_pylist()]

        @contextmanager
        def outage():
            kept = lake.path.rename(lake.path.with_name("away"))
            lake.path.write_text("a file in the place of the folder")
            try:
                yield
            finally:
                lake.path.unlink()
                kept.rename(lake.path)

        return Place(lake.make, written, outage)


class TestSnapshots(SnapshotContract):
    place = TestDelta.place


class TestCurrentSnapshots(CurrentSnapshotContract):
    @pytest.fixture
    def current(self, lake):
        async def documents():
            texts = lake.table().to_pyarrow_table()["document"].to_pylist()
            return {document["_id"]: document for document in map(json.loads, texts)}

        return CurrentPlace(lambda: lake.make(mode="current"), documents)
