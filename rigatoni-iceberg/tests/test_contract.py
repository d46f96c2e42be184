"""The destination passes the contract suite of transactional destinations."""

import json

import pytest
from pyiceberg.exceptions import NoSuchTableError
from rigatoni_core.api.events import ResumeToken
from rigatoni_testing.contracts import Place, PluginContract, SnapshotContract, TransactionalContract


class TestPlugin(PluginContract):
    distribution = "rigatoni-iceberg"


class TestIceberg(TransactionalContract):
    @pytest.fixture
    def place(self, lake):
        async def written(stream):
            try:
                rows = lake.rows(stream.name.replace(".", "_").replace("*", "all"))
            except NoSuchTableError:
                return []
            return [ResumeToken(json.dumps(json.loads(token))) for token in rows["resume_token"].to_pylist()]

        return Place(lake.make, written)


class TestSnapshots(SnapshotContract):
    place = TestIceberg.place
