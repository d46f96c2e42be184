"""What the tests of this folder share: a folder of tables."""

import pytest
from deltalake import DeltaTable
from rigatoni_delta.destination import DeltaDestination


class Lake:
    """A folder of tables: makes destinations that write into it, and reads them with the library itself."""

    def __init__(self, path):
        self.path = path

    def make(self, **options):
        return DeltaDestination(**{"path": str(self.path), **options})

    def table(self, name="shop.orders"):
        return DeltaTable(self.path / name)

    def rows(self, name="shop.orders"):
        """The rows of a table in the order of the stream."""
        rows = self.table(name).to_pyarrow_table()
        return rows.sort_by([(column, "ascending") for column in ("cluster_time", "cluster_time_increment", "ordinal")])


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")
