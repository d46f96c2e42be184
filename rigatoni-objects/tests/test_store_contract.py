"""The in-memory store of the other tests passes the contract suite of stores."""

import pytest
from rigatoni_testing.contracts import ObjectStoreContract
from rigatoni_testing.objects import MemoryObjects, MemoryStore


class TestMemoryStore(ObjectStoreContract):
    @pytest.fixture
    def make(self):
        objects = MemoryObjects()
        return lambda: MemoryStore(objects)


class TestMemoryStoreWithoutOrder(ObjectStoreContract):
    @pytest.fixture
    def make(self):
        objects = MemoryObjects()
        return lambda: MemoryStore(objects, ordered=False)


class TestMemoryStoreWithoutRecords(ObjectStoreContract):
    @pytest.fixture
    def make(self):
        objects = MemoryObjects()
        return lambda: MemoryStore(objects, metadata_limit=0)
