"""What the tests of this folder share: a catalog in SQLite, with its tables in a folder."""

import pytest
from pyiceberg.catalog import load_catalog
from rigatoni_core.api.options import Secret
from rigatoni_iceberg.destination import IcebergDestination


class Lake:
    """A catalog of one test: makes destinations that write into it, and reads its tables with the library itself."""

    def __init__(self, path):
        path.mkdir()
        self.path = path
        self.properties = {"type": "sql", "uri": f"sqlite:///{path}/catalog.db", "warehouse": f"file://{path}/lake"}

    def make(self, **options):
        catalog = {name: Secret(value) for name, value in self.properties.items()}
        return IcebergDestination(**{"namespace": "shop", "catalog": catalog, **options})

    @property
    def catalog(self):
        return load_catalog("default", **self.properties)

    def table(self, name="shop_orders"):
        return self.catalog.load_table(("shop", name))

    def rows(self, name="shop_orders"):
        """The rows of a table in the order of the stream."""
        rows = self.table(name).scan().to_arrow()
        return rows.sort_by([(column, "ascending") for column in ("cluster_time", "cluster_time_increment", "ordinal")])


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "iceberg")
