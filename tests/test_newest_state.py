"""The documented query for the newest state of each document, against a model, over any history in any files."""

import json
import random
import re
from pathlib import Path

import duckdb
import pytest
from bson.timestamp import Timestamp
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rigatoni_compression.zstd import ZstdSerializer
from rigatoni_csv.serializer import CsvSerializer
from rigatoni_ops.current_view import current_view
from rigatoni_parquet.serializer import ParquetSerializer
from rigatoni_testing.batches import batch_of, event_document

PAGE = Path(__file__).parent.parent / "docs" / "formats.md"
(QUERY,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
PARQUET = re.search(r"`(read_parquet\(.*?\))`", PAGE.read_text(encoding="utf-8"))[1]
FORMATS = {
    "csv": (ZstdSerializer(inner=CsvSerializer()), QUERY),
    "parquet": (ParquetSerializer(), re.sub(r"read_csv\(.*?\)", PARQUET, QUERY)),
}

CHANGES = st.one_of(
    st.tuples(st.sampled_from(["insert", "replace", "update", "unseen", "gone", "delete"]), st.integers(0, 2)),
    st.tuples(st.sampled_from(["drop", "dropDatabase", "to", "from", "elsewhere"]), st.just(0)),
)
TRANSACTIONS = st.lists(st.lists(CHANGES, min_size=1, max_size=6), min_size=1, max_size=6)
"""Changes that share one cluster time, and such groups one after another."""


def history(transactions):
    """The events, and what the collection holds at the end: key -> (value, whether it is current)."""
    events, state = [], {}
    for time, changes in enumerate(transactions, 1):
        for kind, key in changes:
            number = len(events)
            event = event_document(number, documentKey={"_id": key}, operationType=kind)
            event |= {"clusterTime": Timestamp(1_700_000_000, time), "fullDocument": {"v": number}}
            if kind in ("insert", "replace", "update"):
                state[key] = (number, True)
            elif kind in ("unseen", "gone"):  # an update without its document, or whose look-up found none
                event |= {"operationType": "update", "fullDocument": None}
                if kind == "unseen":
                    del event["fullDocument"]
                state[key] = (state[key][0] if key in state else None, False)
            elif kind == "delete":
                del event["fullDocument"]
                state.pop(key, None)
            elif kind == "elsewhere":
                event |= {"ns": {"db": "shop", "coll": "users"}, "operationType": "insert"}
            else:
                del event["fullDocument"], event["documentKey"]
                state.clear()
                if kind == "dropDatabase":
                    event["ns"] = {"db": "shop"}
                elif kind in ("to", "from"):
                    event |= {"operationType": "rename", "to": {"db": "shop", "coll": "old"}}
                    if kind == "from":
                        event |= {"ns": {"db": "staging", "coll": "orders"}, "to": {"db": "shop", "coll": "orders"}}
            events.append(event)
    return events, state


def files(folder, serializer, events, chance):
    """The events in files of one stream, cut anywhere; the names say nothing of the order."""
    whole, start = batch_of(events), 0
    while start < len(whole):
        stop = min(start + chance.randint(1, 4), len(whole))
        parts = [whole[start:stop]]
        if stop - start > 1:  # two folders: each part has other events of the same transaction
            odd = set(range(0, stop - start, 2))
            parts = [parts[0].without(odd), parts[0].without(set(range(stop - start)) - odd)]
        for part in parts:
            (folder / f"{chance.getrandbits(64):x}{serializer.suffix}").write_bytes(serializer.serialize(part))
        start = stop


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=40, deadline=None)
@given(transactions=TRANSACTIONS, seed=st.integers(0, 2**32))
@example(transactions=[[("insert", 0), ("insert", 1), ("replace", 0), ("replace", 1)] * 3], seed=0)
@example(transactions=[[("insert", 0), ("delete", 0)], [("insert", 1), ("unseen", 1)], [("gone", 2)]], seed=0)
@example(transactions=[[("insert", 0)], [("drop", 0)], [("insert", 1), ("from", 0), ("insert", 2)]], seed=0)
def test_the_query_gives_what_the_collection_holds(tmp_path_factory, form, transactions, seed):
    serializer, query = FORMATS[form]
    folder = tmp_path_factory.mktemp("history")
    (folder / "lake" / "shop").mkdir(parents=True)
    events, state = history(transactions)
    files(folder / "lake" / "shop", serializer, events, random.Random(seed))
    relation = re.search(r"read_\w+\(.*?\)", query)[0]
    view = current_view("shop", "orders", name="newest", relation=relation)
    with duckdb.connect(config={"threads": 1, "file_search_path": str(folder)}) as connection:
        connection.execute(view)
        for statement in (query, "FROM newest"):
            rows = connection.execute(statement).fetchall()
            found = {json.loads(key)["_id"]: (doc and json.loads(doc)["v"], current) for key, doc, current in rows}
            assert (found, len(rows)) == (state, len(state))


@pytest.mark.parametrize("form", FORMATS)
def test_files_of_the_first_version_are_read_beside_newer_ones(form, tmp_path, monkeypatch):
    serializer, query = FORMATS[form]
    (tmp_path / "lake").mkdir()
    events, _ = history([[("insert", 0)], [("insert", 1)], [("replace", 0), ("delete", 1)]])
    old, new = tmp_path / "lake" / f"1{serializer.suffix}", tmp_path / "lake" / f"2{serializer.suffix}"
    old.write_bytes(serializer.serialize(batch_of(events[:2])))
    new.write_bytes(serializer.serialize(batch_of(events[2:])))
    monkeypatch.chdir(tmp_path)
    with duckdb.connect() as connection:
        if form == "csv":
            connection.execute(f"COPY (SELECT * EXCLUDE ordinal FROM read_csv('{old}')) TO '{old}'")
        else:
            connection.execute(f"COPY (SELECT * EXCLUDE ordinal FROM read_parquet('{old}')) TO '{old}'")
        assert [row[:1] for row in connection.execute(query).fetchall()] == [('{"_id":0}',)]
