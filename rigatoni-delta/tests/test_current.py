"""`mode = "current"`: after any changes, in batches of any sizes, the table equals the collection."""

import random

import pytest
from bson import ObjectId, json_util
from rigatoni_core.api.errors import LeaseLostError
from rigatoni_core.api.events import Definition, Stream
from rigatoni_core.api.settings import Settings
from rigatoni_delta.errors import DeltaTableError
from rigatoni_delta.removals import Removals
from rigatoni_tables.errors import TableSchemaError
from rigatoni_tables.rows import Rows
from rigatoni_testing.batches import START, STREAM, batch_of, event_document

DEFINITION = Definition("f", {"watch": "shop.orders", "full_document": "updateLookup"})
IDS = [1, "1", 2.5, True, ObjectId(b"\x01" * 12), {"x": 1, "y": "z"}, {"y": "z", "x": 1}, "", "Zoë 'n' \"q\"", -7]


def place(key):
    return json_util.dumps(key, json_options=json_util.RELAXED_JSON_OPTIONS)


class Collection:
    """A collection that changes at random, and the events that tell of it."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.held = {}
        self.events = []

    def change(self):
        key = self.chance.choice(IDS)
        kind = self.chance.choices(["put", "delete", "late update", "drop", "rename"], [12, 4, 1, 1, 1])[0]
        if kind == "put":
            document = {"_id": key, "n": self.chance.randrange(100), "text": "x" * self.chance.randrange(5)}
            operation = self.chance.choice(["update", "replace"]) if place(key) in self.held else "insert"
            self.held[place(key)] = document
            self.tell(operation, documentKey={"_id": key, "shard": 1}, fullDocument=document)
        elif kind == "delete":
            self.held.pop(place(key), None)
            self.tell("delete", documentKey={"_id": key, "shard": 1})
        elif kind == "late update":
            self.tell("update", documentKey={"_id": "gone", "shard": 1}, fullDocument=None)
        else:
            self.held = {}
            self.tell(kind)

    def tell(self, operation, **fields):
        document = event_document(len(self.events), operationType=operation, **fields)
        for field in {"documentKey", "fullDocument"} - set(fields):
            del document[field]
        self.events.append(document)


def rows(lake):
    found = lake.table().to_pyarrow_table().to_pylist()
    keys = [place(json_util.loads(row["_id"])) for row in found]
    assert len(set(keys)) == len(found)
    return dict(zip(keys, (json_util.loads(row["document"]) for row in found), strict=True))


@pytest.mark.parametrize("seed", range(6))
async def test_the_table_equals_the_collection(lake, seed):
    collection = Collection(seed)
    for _ in range(60):
        collection.change()
    everything = batch_of(collection.events, stream=STREAM)
    async with lake.make(mode="current") as destination:
        await destination.begin(STREAM, DEFINITION, START)
        first = 0
        while first < len(everything):
            last = first + collection.chance.randint(1, 20)
            assert await destination.write_batch(everything[first:last]) is None
            first = last
        committed = await destination.last_committed(STREAM)
        assert committed.order == everything.end.order
    assert rows(lake) == {key: json_util.loads(json_util.dumps(it)) for key, it in collection.held.items()}


async def test_two_owners_merge_each_change_once(lake):
    everything = batch_of([event_document(number) for number in range(9)], stream=STREAM)
    async with lake.make(mode="current") as one, lake.make(mode="current") as other:
        await one.begin(STREAM, DEFINITION, START)
        await other.begin(STREAM, DEFINITION, START)
        await one.write_batch(everything[:4])
        assert (await other.write_batch(everything)).order == everything[:4].end.order
        await other.write_batch(everything[4:])
        assert await one.write_batch(everything[4:7]) is None
    assert len(rows(lake)) == 9


async def test_what_it_cannot_keep_is_refused_with_the_remedy(lake):
    async with lake.make(mode="current") as destination:
        with pytest.raises(DeltaTableError, match="has several") as several:
            await destination.begin(Stream("p", "shop.*"), DEFINITION, START)
        assert 'mode = "log"' in several.value.remedy
        with pytest.raises(DeltaTableError, match="needs whole documents") as without:
            await destination.begin(STREAM, Definition("f", {"full_document": "default"}), START)
        assert "updateLookup" in without.value.remedy


async def test_a_log_in_the_way_is_left_alone(lake):
    batch = batch_of([event_document(0)], stream=STREAM)
    async with lake.make() as log:
        await log.begin(STREAM, DEFINITION, START)
    async with lake.make(mode="current") as destination:
        await destination.begin(STREAM, DEFINITION, START)
        with pytest.raises(TableSchemaError, match="has no column _id"):
            await destination.write_batch(batch)


def test_frequent_merges_are_advised_against(lake):
    (advice,) = lake.make(mode="current").advice(Settings(batch_timeout=60.0))
    assert "1,440 times a day" in advice
    assert lake.make(mode="current").advice(Settings(batch_timeout=300.0)) == ()


def removals_after(*events):
    made = Removals()
    made.note(Rows("relaxed").of(batch_of(events, stream=STREAM)))
    return made


def row(number):
    return Rows("relaxed").of(batch_of([event_document(number, operationType="read", documentKey={"_id": 7})]))


def delete(number, key=7):
    return event_document(number, operationType="delete", documentKey={"_id": key})


def test_rows_that_were_read_before_a_delete_or_a_drop_are_left_out():
    assert len(removals_after(delete(5)).admit(row(4))) == 0
    assert len(removals_after(delete(5)).admit(row(5))) == 1
    assert len(removals_after(delete(5, key=8)).admit(row(4))) == 1
    assert len(removals_after(event_document(5, operationType="drop", documentKey=None)).admit(row(4))) == 0
    assert len(removals_after(event_document(5, operationType="drop", documentKey=None)).admit(row(6))) == 1


def test_rows_that_were_read_before_a_forgotten_delete_are_read_again(monkeypatch):
    monkeypatch.setattr(Removals, "LIMIT", 1)
    removals = removals_after(delete(5, key=8), delete(6, key=9))
    with pytest.raises(LeaseLostError, match="more documents were deleted"):
        removals.admit(row(4))
    assert len(removals.admit(row(5))) == 1
