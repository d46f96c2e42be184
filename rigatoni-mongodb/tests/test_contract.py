"""The source passes the contract suite of sources."""

from functools import partial

import pytest
from rigatoni_core.api.options import Secret
from rigatoni_mongodb.source import MongoDBSource
from rigatoni_testing.contracts import Origin, PluginContract, SourceContract


class TestMongoDB(SourceContract):
    @pytest.fixture
    def origin(self, mongodb_uri, database):
        collection = database["orders"]

        async def change(count):
            for number in range(count):
                collection.insert_one({"number": number})

        name = f"{database.name}.orders"
        return Origin(partial(MongoDBSource, uri=Secret(mongodb_uri), watch=(name,)), name, change)


class TestPlugin(PluginContract):
    distribution = "rigatoni-mongodb"
