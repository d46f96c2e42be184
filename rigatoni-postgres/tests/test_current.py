"""`mode = "current"`: after any changes, in batches of any sizes, the tables equal the collections."""

import random

import pytest
from bson import ObjectId, json_util
from psycopg.sql import SQL, Identifier
from rigatoni_core.api.events import Definition, Stream
from rigatoni_testing.batches import START, batch_of, event_document

STREAM = Stream("p", "shop.*")
DEFINITION = Definition("f", {"watch": "shop.*", "full_document": "updateLookup"})
COLLECTIONS = ["a", "b", "c"]
IDS = [1, "1", 2.5, True, ObjectId(b"\x01" * 12), {"x": 1, "y": "z"}, {"y": "z", "x": 1}, "", "Zoë 'n' \"q\"", -7]


class Collections:
    """Collections that change at random, and the events that tell of it."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.held = {}
        self.events = []

    def change(self):
        name, key = self.chance.choice(COLLECTIONS), self.chance.choice(IDS)
        documents = self.held.setdefault(name, {})
        kind = self.chance.choices(["put", "delete", "late update", "drop", "rename"], [10, 4, 1, 1, 1])[0]
        if kind == "put":
            document = {"_id": key, "n": self.chance.randrange(100), "text": "x" * self.chance.randrange(5)}
            operation = self.chance.choice(["update", "replace"]) if self.place(key) in documents else "insert"
            documents[self.place(key)] = document
            self.tell(name, operation, documentKey={"_id": key}, fullDocument=document)
        elif kind == "delete":
            documents.pop(self.place(key), None)
            self.tell(name, "delete", documentKey={"_id": key}, fullDocument=None)
        elif kind == "late update":  # the look-up came after the delete
            self.tell(name, "update", documentKey={"_id": "gone"}, fullDocument=None)
        elif kind == "drop":
            self.held[name] = {}
            self.tell(name, "drop", documentKey=None, fullDocument=None)
        else:
            target = self.chance.choice([other for other in COLLECTIONS if other != name])
            self.held[target], self.held[name] = documents, {}
            self.tell(name, "rename", documentKey=None, fullDocument=None, to={"db": "shop", "coll": target})

    @staticmethod
    def place(key):
        return json_util.dumps(key)

    def tell(self, name, operation, **fields):
        fields = {key: value for key, value in fields.items() if value is not None or operation == "update"}
        document = event_document(len(self.events), collection=name, operationType=operation, **fields)
        for field in ("documentKey", "fullDocument"):
            if field not in fields:
                del document[field]
        self.events.append(document)


def rows(schema, name):
    found = schema.execute(SQL("SELECT to_regclass(%s)"), [name])
    if found == [(None,)]:
        return {}
    pairs = schema.execute(SQL("SELECT _id, document::text FROM {}").format(Identifier(name)))
    return {Collections.place(json_util.loads(key)): json_util.loads(document) for key, document in pairs}


@pytest.mark.parametrize("seed", range(8))
async def test_the_tables_equal_the_collections(schema, seed):
    collections = Collections(seed)
    for _ in range(80):
        collections.change()
    everything = batch_of(collections.events, stream=STREAM)
    async with schema.make(mode="current") as destination:
        await destination.begin(STREAM, DEFINITION, START)
        first = 0
        while first < len(everything):
            last = first + collections.chance.randint(1, 30)
            assert await destination.write_batch(everything[first:last]) is None
            first = last
    for name in COLLECTIONS:
        expected = {key: json_util.loads(json_util.dumps(it)) for key, it in collections.held.get(name, {}).items()}
        assert rows(schema, f"shop_{name}") == expected


async def test_a_collection_that_is_renamed_out_of_the_stream_leaves_an_empty_table(schema):
    stream = Stream("p", "shop.a")
    events = [
        event_document(0, collection="a"),
        event_document(1, collection="a", operationType="rename", to={"db": "shop", "coll": "b"}),
    ]
    async with schema.make(mode="current") as destination:
        await destination.begin(stream, DEFINITION, START)
        await destination.write_batch(batch_of(events, stream=stream))
    assert rows(schema, "shop_a") == {}
    assert schema.execute("SELECT to_regclass('shop_b')") == [(None,)]


async def test_columns_that_users_add_are_kept_and_generated_ones_are_typed(schema):
    async with schema.make(mode="current") as destination:
        await destination.begin(STREAM, DEFINITION, START)
        everything = batch_of([event_document(number) for number in range(4)], stream=STREAM)
        await destination.write_batch(everything[:2])
        schema.execute(
            "ALTER TABLE shop_orders ADD COLUMN value text GENERATED ALWAYS AS (document->>'value') STORED, "
            "ADD COLUMN note text DEFAULT 'none'"
        )
        await destination.write_batch(everything[2:])
    assert schema.execute("SELECT value, note FROM shop_orders ORDER BY ordinal, cluster_time_increment")[3] == (
        "value 3",
        "none",
    )
