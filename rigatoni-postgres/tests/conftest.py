"""What the tests of this folder share: one real server, and a schema for each test."""

import itertools

import psycopg
import pytest
from rigatoni_core.api.options import Secret
from rigatoni_postgres.destination import PostgresDestination
from rigatoni_postgres.testing.server import PostgresServer

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server():
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def dsn(server):
    return server.dsn


class Schema:
    """A schema of one test: makes destinations that write into it, and queries it."""

    def __init__(self, dsn):
        self.dsn = dsn
        self.name = f"test_{next(_numbers)}"
        self.execute(f"CREATE SCHEMA {self.name}")

    def make(self, **options):
        return PostgresDestination(**{"dsn": Secret(self.dsn), "schema": self.name, **options})

    def execute(self, statement, values=None):
        """Run a statement in the schema, and return its rows if it has any."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(f"SET search_path = {self.name}, public")
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else None


@pytest.fixture
def schema(dsn):
    made = Schema(dsn)
    yield made
    made.execute(f"DROP SCHEMA {made.name} CASCADE")
