"""Bad input and servers that go away: clear errors, retried or stopped, and nothing lost."""

import re

import attrs
import pytest
from psycopg.conninfo import make_conninfo
from rigatoni_core.api.errors import AccessDenied, DestinationError, RejectedEventsError, Transient
from rigatoni_core.api.events import Definition, Stream
from rigatoni_core.api.options import Secret
from rigatoni_postgres.errors import (
    PostgresCredentialsError,
    PostgresError,
    PostgresRightsError,
    PostgresSchemaError,
    PostgresUnavailableError,
)
from rigatoni_postgres.tables import Tables
from rigatoni_testing.batches import START, STREAM, batch_of, event_document
from rigatoni_testing.servers import free_port

DEFINITION = Definition("f", {"watch": "shop.orders", "full_document": "updateLookup"})


def events(first, last, **fields):
    everything = batch_of([event_document(number, **fields) for number in range(last)], stream=STREAM)
    return everything[first:last]


def count(schema):
    return schema.execute("SELECT count(*), count(DISTINCT resume_token::text) FROM shop_orders")[0]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"password": "wrong"}, PostgresCredentialsError),
        ({"user": "nobody"}, PostgresCredentialsError),
        ({"dbname": "nowhere"}, PostgresCredentialsError),
        ({"port": str(free_port())}, PostgresUnavailableError),
        ({"host": "no.such.host.invalid"}, PostgresUnavailableError),
    ],
)
async def test_a_connection_that_cannot_be_made_is_an_error_without_the_password(schema, change, kind):
    dsn = make_conninfo(schema.dsn, **change)
    with pytest.raises(DestinationError) as raised:
        async with schema.make(dsn=Secret(dsn)):
            pass
    assert type(raised.value) is kind
    assert raised.value.remedy
    assert isinstance(raised.value, AccessDenied) == (kind is PostgresCredentialsError)
    assert isinstance(raised.value, Transient) == (kind is PostgresUnavailableError)
    for secret in ("only-for-tests", "wrong"):
        assert secret not in f"{raised.value}{raised.value.remedy}"


def test_a_string_that_is_no_connection_string_is_refused_without_being_quoted():
    from rigatoni_postgres.destination import PostgresDestination

    for text in ("postgresql://a:secret@[host", "host=x pass word=secret"):
        with pytest.raises(ValueError, match="dsn cannot be read") as raised:
            PostgresDestination(dsn=Secret(text))
        assert "cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("template", "current", "message"),
    [
        ("{databse}", False, r"table names {databse}; it may name"),
        ("{database}", True, r"name {collection} in table"),
    ],
)
def test_a_template_that_cannot_name_tables_is_refused(template, current, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Tables("public", template, current, "jsonb")


def test_long_names_are_shortened_without_collisions():
    tables = Tables("public", "{database}_{collection}", False, "jsonb")
    names = {tables.name(STREAM, "shop", "é" * 40 + str(number)) for number in range(3)}
    assert len(names) == 3
    assert all(len(name.encode()) <= 63 for name in names)


async def test_a_missing_schema_is_an_error_with_a_remedy(schema):
    with pytest.raises(PostgresSchemaError, match="create the table of positions") as raised:
        async with schema.make(schema="missing"):
            pass
    assert "Create what is missing" in raised.value.remedy


async def test_a_role_without_rights_is_told_which_to_grant(schema):
    role = f"role_{schema.name}"
    schema.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    limited = Secret(make_conninfo(schema.dsn, user=role, password="x"))
    try:
        with pytest.raises(PostgresRightsError, match="permission denied for schema") as raised:
            async with schema.make(dsn=limited):
                pass
        assert "GRANT USAGE, CREATE ON SCHEMA" in raised.value.remedy
        schema.execute(f"GRANT USAGE, CREATE ON SCHEMA {schema.name} TO {role}")
        async with schema.make(dsn=limited) as destination:
            await destination.begin(STREAM, DEFINITION, START)
            await destination.write_batch(events(0, 3))
            schema.execute(f"REVOKE ALL ON SCHEMA {schema.name} FROM {role}")
            with pytest.raises(PostgresRightsError) as revoked:
                await destination.write_batch(events(3, 6))
            assert isinstance(revoked.value, AccessDenied)
            schema.execute(f"GRANT USAGE ON SCHEMA {schema.name} TO {role}")
            await destination.write_batch(events(3, 6))  # tables that exist need no right to create some
        assert count(schema) == (6, 6)
    finally:
        schema.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


async def test_a_column_that_is_gone_stops_with_the_remedy_and_writing_continues_when_it_is_back(schema):
    async with schema.make() as destination:
        await destination.begin(STREAM, DEFINITION, START)
        await destination.write_batch(events(0, 3))
        schema.execute("ALTER TABLE shop_orders RENAME COLUMN full_document TO document")
        with pytest.raises(PostgresSchemaError, match=r'column "full_document" of relation') as raised:
            await destination.write_batch(events(3, 6))
        assert "restore the table's columns" in raised.value.remedy
        schema.execute("ALTER TABLE shop_orders RENAME COLUMN document TO full_document")
        await destination.write_batch(events(3, 6))
    assert count(schema) == (6, 6)


async def test_a_table_that_is_dropped_meanwhile_is_created_again(schema):
    async with schema.make() as destination:
        await destination.begin(STREAM, DEFINITION, START)
        await destination.write_batch(events(0, 3))
        schema.execute("DROP TABLE shop_orders")
        await destination.write_batch(events(3, 6))
    assert count(schema) == (3, 3)


async def test_a_foreign_table_in_the_way_is_left_alone(schema):
    schema.execute("CREATE TABLE shop_orders (id int)")
    async with schema.make(mode="current") as destination:
        await destination.begin(STREAM, DEFINITION, START)
        with pytest.raises(PostgresSchemaError, match="does not exist"):
            await destination.write_batch(events(0, 3))
    assert schema.execute("SELECT * FROM shop_orders") == []


async def test_a_server_that_restarts_in_between_is_transient_and_nothing_is_lost(schema, server):
    async with schema.make() as destination:
        await destination.begin(STREAM, DEFINITION, START)
        await destination.write_batch(events(0, 3))
        server.stop()
        with pytest.raises(PostgresUnavailableError):
            await destination.write_batch(events(3, 6))
        server.start()
        await destination.write_batch(events(3, 6))
    assert count(schema) == (6, 6)


async def test_rows_that_the_server_refuses_are_named_at_once_and_the_rest_is_written(schema):
    documents = [event_document(number) for number in range(9)]
    for number in (2, 7):
        documents[number]["fullDocument"] = {"_id": number, "value": "a\0b"}
    batch = batch_of(documents, stream=STREAM)
    async with schema.make() as destination:
        await destination.begin(STREAM, DEFINITION, START)
        with pytest.raises(RejectedEventsError) as raised:
            await destination.write_batch(batch)
        assert set(raised.value.events) == {2, 7}
        assert 'document_type = "json"' in raised.value.remedy
        assert schema.execute("SELECT to_regclass('shop_orders')") == [(None,)]
        await destination.write_batch(batch.without({2, 7}))
    assert count(schema) == (7, 7)
    other = Stream("p", "other")
    async with schema.make(document_type="json", table="verbatim") as destination:
        await destination.begin(other, DEFINITION, START)
        await destination.write_batch(batch_of(documents, stream=other))
    assert schema.execute("SELECT count(*) FROM verbatim WHERE full_document::text LIKE '%\\\\u0000%'") == [(2,)]


async def test_a_constraint_of_the_user_rejects_single_events(schema):
    async with schema.make() as destination:
        await destination.begin(STREAM, DEFINITION, START)
        await destination.write_batch(events(0, 1))
        schema.execute("ALTER TABLE shop_orders ADD CHECK (full_document->>'_id' <> '3')")
        with pytest.raises(RejectedEventsError) as raised:
            await destination.write_batch(events(1, 6))
        assert set(raised.value.events) == {2}
        assert "value 3" not in str(raised.value)


async def test_current_refuses_updates_without_documents(schema):
    definition = attrs.evolve(DEFINITION, details={"full_document": "default"})
    async with schema.make(mode="current") as destination:
        with pytest.raises(PostgresError, match="needs whole documents") as raised:
            await destination.begin(STREAM, definition, START)
    assert "updateLookup" in raised.value.remedy


async def test_a_damaged_position_stops_the_stream(schema):
    async with schema.make() as destination:
        await destination.begin(STREAM, DEFINITION, START)
        schema.execute("UPDATE rigatoni_positions SET record = '{}'")
        with pytest.raises(DestinationError, match="is not the position record of"):
            await destination.write_batch(events(0, 3))


async def test_more_streams_than_connections_take_turns(schema):
    import asyncio

    streams = [Stream("p", f"s{number}") for number in range(6)]
    async with schema.make(max_connections=2, table="{stream}") as destination:

        async def deliver(stream):
            await destination.begin(stream, DEFINITION, START)
            await destination.write_batch(batch_of([event_document(0)], stream=stream))

        await asyncio.gather(*map(deliver, streams))
        assert len(destination._idle) <= 2
    assert all(schema.execute(f"SELECT count(*) FROM {stream.name}") == [(1,)] for stream in streams)
