"""The destination passes the contract suite of transactional destinations."""

from contextlib import contextmanager

import pytest
from psycopg.errors import UndefinedTable
from psycopg.sql import SQL, Identifier
from rigatoni_core.api.events import ResumeToken
from rigatoni_testing.contracts import Place, PluginContract, TransactionalContract


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
