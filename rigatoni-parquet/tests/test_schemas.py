"""Where the types of nested columns come from: the documents of a batch, or a schema file."""

import json
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bson import Decimal128, Int64, ObjectId, Timestamp
from rigatoni_arrow.errors import SchemaFileError
from rigatoni_arrow.inference import MOST_COLUMNS, MOST_NAMES, Findings
from rigatoni_arrow.inference import inferred as inferred_type
from rigatoni_arrow.schemas import DEEPEST, load_schema
from rigatoni_bson.testing.examples import EXAMPLES
from rigatoni_bson.testing.reading import bson_document
from rigatoni_parquet.serializer import ParquetSerializer
from rigatoni_testing.batches import batch_of, event_document

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def file_of(documents, serializer=None, **fields):
    """Without a serializer: by a new one, since the files of one serializer agree on their types."""
    return (serializer or ParquetSerializer(documents="nested")).serialize(
        batch_of([event_document(number, fullDocument=document, **fields) for number, document in enumerate(documents)])
    )


def types_of(content):
    return json.loads(pq.read_metadata(pa.BufferReader(content)).metadata[b"rigatoni.schema"])


def inferred(documents):
    return types_of(file_of(documents)).get("full_document")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, Int64(2)], "long"),
        ([1, 1.5], "double"),
        ([Int64(2**53 + 1), 2, 1.5], "long"),
        ([Int64(2**53 + 1), 2.5, 1.5], "double"),
        ([1, "a", "b"], "string"),
        (["a", 1], "string"),
        ([None, ObjectId()], "objectId"),
        ([Decimal128("1"), 1, Decimal128("2")], "decimal"),
        ([[], [1], ["a", "b"]], ["string"]),
        ([[{"a": 1}], [{"b": True}]], [{"a": "long", "b": "bool"}]),
        ([{"a": 1}, {"b": {"c": "x"}}], {"a": "long", "b": {"c": "string"}}),
    ],
)
def test_a_field_has_the_type_that_most_of_its_values_have(values, kind):
    assert inferred([{"v": value} for value in values]) == {"v": kind}


@pytest.mark.parametrize("value", [None, [], {}, [None], [[]], {"a": None}, {"": 1}])
def test_where_nothing_can_be_said_there_is_no_column(read, value):
    content = file_of([{"v": value}])
    assert "full_document" not in types_of(content)
    (row,) = read(content)
    assert "full_document" not in row
    assert json.loads(row["full_document_rest"]) == {"v": value}


def test_both_images_of_a_document_have_the_same_type():
    types = types_of(file_of([{"a": 1}], fullDocumentBeforeChange={"b": 1, "a": 2}))
    assert types["full_document"] == types["full_document_before_change"] == {"a": "long", "b": "long"}
    assert types["document_key"] == {"_id": "long"}


def test_fields_that_few_documents_have_get_no_column():
    documents = [{"_id": number, f"{number}": 1} for number in range(300)]
    documents[7]["seldom"] = documents[8]["seldom"] = documents[9]["seldom"] = 1
    assert inferred(documents) == {"_id": "long", "seldom": "long"}


def test_no_file_has_more_columns_than_readers_can_bear(read):
    content = file_of([{f"f{number}": number for number in range(MOST_COLUMNS + 50)}])
    (row,) = read(content)
    assert list(row["full_document"]) == [f"f{number}" for number in range(MOST_COLUMNS)]
    assert len(json.loads(row["full_document_rest"])) == 50


@pytest.mark.parametrize("wrap", [lambda inner: {"a": inner}, lambda inner: [inner]])
def test_C6_two_hundred_levels(read, wrap):
    """MongoDB's own limit; DuckDB, Polars and pyarrow have lower ones."""
    value = 1
    for _ in range(198):
        value = wrap(value)
    content = file_of([{"x": 1, "v": value}])
    (row,) = read(content)
    assert row["full_document"] == {"x": 1}
    assert json.loads(row["full_document_rest"]) == {"v": value}


@pytest.mark.parametrize("wrap", [lambda inner: {"a": inner}, lambda inner: [inner]])
def test_the_deepest_columns_are_opened_by_every_reader(read, wrap):
    value = 1
    for _ in range(DEEPEST - 1):
        value = wrap(value)
    content = file_of([{"v": value}])
    (row,) = read(content)
    assert row["full_document"] == {"v": value}
    assert pq.read_table(pa.BufferReader(content)).num_rows == 1


def test_names_that_differ_only_in_case_share_no_struct(read):
    (row,) = read(file_of([{"Name": "a", "name": "b", "NAME": 7, "x.y": 1, "$z": 2}]))
    assert row["full_document"] == {"Name": "a", "x.y": 1, "$z": 2}
    assert json.loads(row["full_document_rest"]) == {"name": "b", "NAME": 7}


def test_of_such_names_the_most_frequent_one_is_taken():
    documents = [{"ID": 1}, {"id": 1}, {"id": 2, "x": 1}, {"Id": 1}]
    assert inferred(documents) == {"id": "long", "x": "long"}
    assert list(inferred([{"A": 1, "b": 1}, {"a": 1}])) == ["A", "b"]


def test_names_that_are_data_cost_no_memory_without_bound():
    found = Findings()
    for start in range(0, 3 * MOST_NAMES, 100):
        found.note([{"_id": start, "by user": {f"{number}": {"n": 1} for number in range(start, start + 100)}}])
    assert places(found) <= MOST_NAMES + 1
    assert inferred_type(found).spelled() == {"_id": "long"}


def places(found):
    return 1 + sum(map(places, found.fields.values())) + (places(found.item) if found.item else 0)


def test_files_whose_types_differ_are_one_table(tmp_path):
    """As the README says: DuckDB joins by name, structs that grow and shrink too."""
    (tmp_path / "1.parquet").write_bytes(file_of([{"_id": 1, "a": 1}]))
    (tmp_path / "2.parquet").write_bytes(file_of([{"_id": 2, "b": {"c": "x"}}, None]))
    (tmp_path / "3.parquet").write_bytes(file_of([None]))
    with duckdb.connect() as connection:
        rows = connection.sql(
            f"SELECT full_document._id, full_document.a, full_document.b.c "
            f"FROM read_parquet('{tmp_path}/*.parquet', union_by_name = true) ORDER BY ALL"
        ).fetchall()
    assert rows == [(1, 1, None), (2, None, "x"), (None, None, None), (None, None, None)]


TOML = """
_id = "objectId"
total = "decimal(12,2)"
tags = ["string"]

[address]
city = "string"

[[items]]
sku = "string"
quantity = "int"
"""
SPELLED = {
    "_id": "objectId",
    "total": "decimal(12, 2)",
    "tags": ["string"],
    "address": {"city": "string"},
    "items": [{"sku": "string", "quantity": "int"}],
}


def test_a_schema_file_looks_like_a_document(tmp_path):
    (tmp_path / "schema.toml").write_text(TOML)
    (tmp_path / "schema.json").write_text(json.dumps(SPELLED))
    assert load_schema(tmp_path / "schema.toml").spelled() == SPELLED
    assert load_schema(tmp_path / "schema.json") == load_schema(tmp_path / "schema.toml")


def test_with_a_schema_every_file_has_the_same_columns_and_fields_it_does_not_name_are_in_the_rest(read, tmp_path):
    (tmp_path / "schema.toml").write_text(TOML)
    serializer = ParquetSerializer(documents="nested", schema=tmp_path / "schema.toml")
    contents = [file_of([document], serializer) for document in ({"_id": 1, "more": {"a": 1}}, None)]
    schemas = [pq.read_schema(pa.BufferReader(content)) for content in contents]
    assert schemas[0].equals(schemas[1])
    assert json.loads(read(contents[0])[0]["full_document_rest"]) == {"_id": 1, "more": {"a": 1}}


def test_what_a_file_says_of_its_types_is_a_schema(tmp_path):
    """The README's way to begin with one."""
    first = file_of([{"_id": ObjectId(), "a": [{"b": 1.5}], "c": {"d": True}}])
    (tmp_path / "schema.json").write_text(json.dumps(types_of(first)["full_document"]))
    assert types_of(file_of([None], ParquetSerializer(documents="nested", schema=tmp_path / "schema.json"))) == {
        "document_key": {"_id": "objectId"},
        "full_document": types_of(first)["full_document"],
        "full_document_before_change": types_of(first)["full_document"],
    }


FAULTS = [
    ('_id = "ObjectId"', "_id: 'ObjectId' is no type; there are string, int, long"),
    ('_id = "decimal(39, 2)"', "a decimal has 1 to 38 digits"),
    ('_id = "decimal(5, 6)"', "no more of them behind the point"),
    ('_id = ["int", "long"]', "_id must say exactly one type"),
    ("_id = 7", "_id must be the name of a type"),
    ('_id = "int"\n[a]', "a must be the name of a type, a list of one type, or a table with fields"),
    ('_id = "int"\n[[a]]\nb = "integer"', "a[].b: 'integer' is no type"),
    ('_id = "int"\n[a]\nb = "int"\nB = "int"', "a: 'B' is empty or differs from another field only in case"),
    ('a = "int"', "_id is missing"),
    ("_id = ", "cannot be read"),
    ("_id = " + "[" * 20 + '"int"' + "]" * 20, f"more than {DEEPEST} levels deep"),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_faults_of_a_schema_name_the_field(tmp_path, text, message):
    (tmp_path / "schema.toml").write_text(text)
    with pytest.raises(SchemaFileError) as caught:
        load_schema(tmp_path / "schema.toml")
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.remedy


def test_all_faults_are_found_at_once(tmp_path):
    (tmp_path / "schema.toml").write_text('a = "x"\nb = 7\n[c]\nd = "y"')
    with pytest.raises(SchemaFileError) as caught:
        load_schema(tmp_path / "schema.toml")
    assert [fault.split()[0].rstrip(":") for fault in caught.value.faults] == ["a", "b", "c.d"]


@pytest.mark.parametrize("name", ["missing.toml", "folder"])
def test_a_schema_that_can_not_be_read(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(SchemaFileError, match=name):
        load_schema(tmp_path / name)


def test_validate_names_the_faults_of_a_schema(tmp_path):
    (tmp_path / "orders.toml").write_text('_id = "oid"')
    (tmp_path / "pipeline.toml").write_text(
        '[pipeline]\nname = "p"\n[pipeline.source]\ntype = "mongodb"\nuri = "mongodb://localhost/"\nwatch = ["a.b"]\n'
        '[pipeline.destination]\ntype = "local"\npath = "lake"\n'
        'serializer = { type = "parquet", documents = "nested", schema = "orders.toml" }\n'
        '[pipeline.state]\ntype = "memory"\n'
    )
    command = [sys.executable, "-m", "rigatoni_core.cli", "validate", "--offline", "pipeline.toml"]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert answer.returncode == 2
    assert "destination.serializer" in answer.stdout + answer.stderr
    assert "_id: 'oid' is no type" in answer.stdout + answer.stderr


@pytest.mark.parametrize("name", EXAMPLES)
def test_C6_the_readmes_table_says_what_becomes_of_each_type(read, batch_of_any, name):
    (line,) = [line for line in README.splitlines() if line.startswith(f"| {name} |")]
    cell = line.strip("| ").split(" | ")[3]
    document = bson_document([(b"v", *EXAMPLES[name]), (b"w", 0x08, b"\1")])
    raw = bson_document([(b"fullDocument", 0x03, document)])
    content = ParquetSerializer(documents="nested").serialize(batch_of_any([raw]))
    types = types_of(content).get("full_document")
    (row,) = read(content)
    if cell == "its whole document in the rest":
        assert types is None
        assert json.loads(row["full_document_rest"]).keys() == {"v", "w"}
    elif cell == "in the rest":
        assert types == {"w": "bool"}
        assert json.loads(row["full_document_rest"]).keys() == {"v"}
    else:
        assert cell == {"dict": "struct", "list": "list"}.get(type(types["v"]).__name__, f"`{types['v']}`")


def test_the_readmes_queries_work(tmp_path, monkeypatch):
    totals, schema = re.findall(r"```sql\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        folder = tmp_path / "lake" / f"{number}"
        folder.mkdir(parents=True)
        documents = [{"status": "new", "total": 7}, {"status": "paid", "total": 1.5, f"field {number}": 1}]
        now = Timestamp(1_790_000_000 + number, 1)
        (folder / "file.parquet").write_bytes(file_of(documents, clusterTime=now))
    with duckdb.connect() as connection:
        assert sorted(connection.sql(totals).fetchall()) == [("new", 14.0), ("paid", 3.0)]
        ((found,),) = connection.sql(schema).fetchall()
    assert json.loads(found)["full_document"] == {"status": "string", "total": "double", "field 0": "long"}


def test_the_readmes_schema_is_one(tmp_path):
    (text,) = re.findall(r"```toml\n(# orders.toml.*?)```", README, re.DOTALL)
    (tmp_path / "orders.toml").write_text(text)
    assert load_schema(tmp_path / "orders.toml").spelled()["items"] == [{"sku": "string", "quantity": "int"}]
