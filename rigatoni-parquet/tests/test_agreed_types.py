"""Without a schema, the files of one run agree on the types of fields: they are one table for every reader."""

import json
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rigatoni_core.api.settings import Settings
from rigatoni_parquet.serializer import ParquetSerializer
from rigatoni_testing.batches import batch_of, event_document


def batch(*documents):
    return batch_of([event_document(n, fullDocument={"_id": n, **document}) for n, document in enumerate(documents)])


def rows(content):
    return pq.read_table(pa.BufferReader(content)).to_pylist()


def test_a_field_keeps_its_first_type_and_what_does_not_fit_is_in_the_rest():
    serializer = ParquetSerializer(documents="nested")
    serializer.serialize(batch({"total": 7}))
    (row,) = rows(serializer.serialize(batch({"total": "seven", "new": True})))
    assert row["full_document"] == {"_id": 0, "total": None, "new": True}
    assert json.loads(row["full_document_rest"]) == {"total": "seven"}
    (row,) = rows(ParquetSerializer(documents="nested").serialize(batch({"total": "seven"})))
    assert row["full_document"]["total"] == "seven"  # another run has its own types


def test_a_name_that_differs_from_a_known_one_by_case_only_is_in_the_rest():
    serializer = ParquetSerializer(documents="nested")
    serializer.serialize(batch({"total": 7, "in": {"a": 1}}))
    (row,) = rows(serializer.serialize(batch({"Total": 8, "in": {"A": 2}})))
    assert row["full_document"] == {"_id": 0}
    assert json.loads(row["full_document_rest"]) == {"Total": 8, "in": {"A": 2}}


VALUES = st.recursive(
    st.sampled_from([1, 1.5, "x", True, None]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", "B"]), inner, max_size=2),
    max_leaves=5,
)
DOCUMENTS = st.dictionaries(st.sampled_from(["a", "b", "A"]), VALUES, max_size=3)


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(st.lists(DOCUMENTS, min_size=1, max_size=3), min_size=2, max_size=4))
@example(batches=[[{"a": [{"b": 1}]}], [{"a": [{"B": 1}]}], [{"a": ["x"]}]])
def test_the_files_of_a_run_are_one_table_and_lose_nothing(batches, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    serializer = ParquetSerializer(documents="nested", mode="canonical")
    for number, documents in enumerate(batches):
        (folder / f"{number}.parquet").write_bytes(serializer.serialize(batch(*documents)))
    with duckdb.connect(config={"threads": 1}) as connection:
        query = f"SELECT count(*) FROM read_parquet('{folder}/*.parquet', union_by_name = true)"
        assert connection.sql(query).fetchall() == [(sum(map(len, batches)),)]
    types = [leaf for file in folder.iterdir() for leaf in leaves(pq.read_schema(file))]
    assert len(set(types)) == len({path.casefold() for path, _ in types})
    for number, documents in enumerate(batches):
        for row, document in zip(rows((folder / f"{number}.parquet").read_bytes()), documents, strict=True):
            assert set(document) <= {*row["full_document"], *json.loads(row["full_document_rest"] or "{}")}


def leaves(fields, above=""):
    """The path and the type of each column, and of each one within."""
    for field in fields:
        kind, path = field.type, f"{above}{field.name}"
        while pa.types.is_list(kind):
            kind, path = kind.value_type, f"{path}[]"
        if pa.types.is_struct(kind):
            yield path, "struct"
            yield from leaves(kind, f"{path}.")
        else:
            yield path, str(kind)


def test_threads_agree_too():
    serializer = ParquetSerializer(documents="nested")
    batches = [batch({"total": 7 if number % 2 else "seven"}) for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        contents = list(threads.map(serializer.serialize, batches))
    documents = [pq.read_schema(pa.BufferReader(content)).field("full_document").type for content in contents]
    assert len({document.field("total").type for document in documents}) == 1


def test_it_is_said_at_the_start_that_earlier_files_may_differ(tmp_path):
    (advice,) = ParquetSerializer(documents="nested").advice(Settings())
    assert "Set schema" in advice
    (tmp_path / "s.toml").write_text('_id = "long"')
    for quiet in (ParquetSerializer(), ParquetSerializer(documents="nested", schema=tmp_path / "s.toml")):
        assert not quiet.advice(Settings())


@pytest.mark.parametrize("number", [1.5, 2**60])
def test_a_number_that_does_not_fit_is_in_the_rest_too(number):
    serializer = ParquetSerializer(documents="nested")
    serializer.serialize(batch({"n": 1.5 if number == 2**60 else 7}))
    (row,) = rows(serializer.serialize(batch({"n": number + 1 if number == 2**60 else number})))
    assert row["full_document"]["n"] is None
    assert row["full_document_rest"] is not None


def test_fields_that_come_later_within_a_document_keep_their_first_type_too():
    serializer = ParquetSerializer(documents="nested")
    for value in ({"a": 1}, {"b": 1, "c": [{"d": 1}]}):
        serializer.serialize(batch({"in": value}))
    (row,) = rows(serializer.serialize(batch({"in": {"b": "x", "c": [{"d": "x"}]}})))
    assert json.loads(row["full_document_rest"]) == {"in": {"b": "x", "c": {"0": {"d": "x"}}}}
