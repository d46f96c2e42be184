"""The destination passes the contract suite of transactional destinations."""

import json
from contextlib import contextmanager

import pytest
from psycopg.errors import UndefinedTable
from psycopg.sql import SQL, Identifier
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
    distribution = "rigatoni-postgres"


class TestPostgres(TransactionalContract):
    @pytest.fixture
    def place(self, schema, server):
        async def written(stream):
            select = SQL("SELECT resume_token::jsonb::text FROM {} ORDER BY ctid").format(Identifier(stream.name))
            try:
                return [ResumeToken(token) for (token,) in schema.execute(select)]
            except UndefinedTable:
                return []

        @contextmanager
        def outage():
            server.stop()
            try:
                yield
            finally:
                server.start()

        return Place(lambda: schema.make(table="{stream}"), written, outage)


class TestSnapshots(SnapshotContract):
    place = TestPostgres.place


class TestCurrentSnapshots(CurrentSnapshotContract):
    @pytest.fixture
    def current(self, schema):
        async def documents():
            rows = schema.execute("SELECT document::text FROM shop_orders")
            return {document["_id"]: document for document in (json.loads(text) for (text,) in rows)}

        return CurrentPlace(lambda: schema.make(mode="current"), documents)
