"""The statements of docs/postgres.md work as it says."""

import re
from pathlib import Path

from psycopg.conninfo import make_conninfo
from rigatoni_core.api.events import Definition
from rigatoni_core.api.options import Secret
from rigatoni_postgres.destination import PostgresDestination
from rigatoni_testing.batches import START, STREAM, batch_of, event_document

PAGE = (Path(__file__).parents[2] / "docs" / "postgres.md").read_text(encoding="utf-8")
ROLE, NEWEST, INDEX, TYPED = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
DEFINITION = Definition("f", {"watch": "shop.orders", "full_document": "updateLookup"})


async def test_the_role_of_the_page_has_all_rights_that_are_needed(schema):
    schema.execute(ROLE)
    try:
        dsn = make_conninfo(schema.dsn, user="rigatoni", password="change-me")
        async with PostgresDestination(dsn=Secret(dsn), schema="shop") as destination:
            await destination.begin(STREAM, DEFINITION, START)
            await destination.write_batch(batch_of([event_document(0)], stream=STREAM))
        assert schema.execute("SELECT count(*) FROM shop.shop_orders") == [(1,)]
    finally:
        schema.execute("DROP SCHEMA IF EXISTS shop CASCADE; DROP OWNED BY rigatoni; DROP ROLE rigatoni")


async def test_the_queries_of_the_page_give_what_it_says(schema):
    documents = [
        event_document(0),
        event_document(1),
        event_document(2, operationType="update", documentKey={"_id": 0}, fullDocument={"_id": 0, "value": "new"}),
        event_document(3, operationType="delete", documentKey={"_id": 1}),
        event_document(4, operationType="update", documentKey={"_id": 0}, fullDocument=None),
        event_document(5, collection="users", fullDocument={"_id": 5, "total": 2.5}),
    ]
    del documents[3]["fullDocument"]
    async with schema.make() as destination:
        await destination.begin(STREAM, DEFINITION, START)
        await destination.write_batch(batch_of(documents, stream=STREAM))
    schema.execute(INDEX)
    assert schema.execute(NEWEST) == [({"_id": 0, "value": "new"},), (None,)]
    schema.execute("DROP TABLE shop_users; DROP TABLE rigatoni_positions")
    async with schema.make(mode="current") as destination:
        await destination.begin(STREAM, DEFINITION, START)
        await destination.write_batch(batch_of(documents[5:], stream=STREAM))
        schema.execute(TYPED)
    assert schema.execute("SELECT total FROM shop_users") == [(2.5,)]
