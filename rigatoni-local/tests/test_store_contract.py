"""A folder keeps the contract of stores of objects."""

import pytest
from rigatoni_local import files
from rigatoni_local.store import FolderStore
from rigatoni_testing.contracts import ObjectStoreContract


class TestFolderStore(ObjectStoreContract):
    @pytest.fixture
    def make(self, tmp_path):
        folds_case = files.probe(tmp_path)

        def make():
            store = FolderStore(tmp_path, "p/shop.orders", folds_case=folds_case)
            store.prepare()
            return store

        return make
