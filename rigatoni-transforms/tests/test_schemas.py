"""`rigatoni schemas`: schemas from samples, and those in force."""

import io
import json
import tomllib
from datetime import UTC, datetime

import pytest
from bson import Decimal128, Int64, ObjectId, json_util
from rigatoni_core.api.commands import ExitCode
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.builtin.stdout import StdoutDestination
from rigatoni_json.serializer import JsonSerializer
from rigatoni_testing.batches import batch_of, event_document
from rigatoni_testing.commands import RecordingApplication
from rigatoni_testing.scripted import Log, ScriptedSource
from rigatoni_transforms.errors import SampleError
from rigatoni_transforms.schema import SchemaTransform
from rigatoni_transforms.schemas import schemas

SAMPLE = [
    {"_id": ObjectId(), "total": Decimal128("1"), "a": {"zip": "1"}, "lines": [{"n": 1}, {"n": 2, "x": 1.5}], "n": 1},
    {"_id": ObjectId(), "total": Decimal128("2"), "a": {"zip": None}, "lines": [], "n": 1.5, "é.x": True},
    {"_id": ObjectId(), "total": Decimal128("3"), "a": None, "n": Int64(5), "at": datetime(2026, 1, 1, tzinfo=UTC)},
]
COLUMNS = {
    "_id": "objectId",
    "total": "decimal",
    "a": ["null", "object"],
    "a.zip": ["null", "string"],
    "lines.*.n": "integer",
    "lines.*.x": "double",
    "n": "number",
    '"é.x"': "bool",
    "at": "date",
}
EXPECTED = {"required": ["total", "a", "a.zip", "lines.*.n", "n"], "columns": COLUMNS}


def lines_of(documents):
    return "".join(
        f"{json_util.dumps(document, json_options=json_util.RELAXED_JSON_OPTIONS)}\n" for document in documents
    )


@pytest.fixture
def infer(tmp_path):
    def infer(text, *arguments):
        (tmp_path / "sample.jsonl").write_text(text, encoding="utf-8")
        app = RecordingApplication()
        assert app.call(schemas, "infer", str(tmp_path / "sample.jsonl"), *arguments) == ExitCode.DONE
        return app

    return infer


def test_a_schema_is_inferred_from_documents(infer):
    app = infer(lines_of(SAMPLE), "--collection", "shop.orders", "--json")
    assert app.values == [{"shop.orders": EXPECTED}]


def test_the_inferred_transform_accepts_its_sample_strictly(infer):
    app = infer(lines_of(SAMPLE), "--collection", "shop.orders")
    (table,) = tomllib.loads("\n".join(app.output))["pipeline"]["transforms"]
    assert table.pop("type") == "schema"
    assert table == {"collections": {"shop.orders": EXPECTED}}
    strict = dict.fromkeys(("new_field", "missing_field", "other_type"), "reject")
    events = batch_of([event_document(n, fullDocument=document) for n, document in enumerate(SAMPLE)])
    assert SchemaTransform(**table, **strict).transform(events) is events


def test_events_name_their_collections_and_other_events_are_skipped(infer):
    events = batch_of(
        [
            event_document(0, fullDocument={"_id": 1}),
            event_document(1, collection="users", fullDocument={"_id": "x"}),
            event_document(2, operationType="delete", fullDocument=None),
        ]
    )
    app = infer(JsonSerializer().serialize(events).decode(), "--json")
    (found,) = app.values
    assert {name: schema["columns"] for name, schema in found.items()} == {
        "shop.orders": {"_id": "integer"},
        "shop.users": {"_id": "string"},
    }


def test_documents_with_data_as_names_are_left_open(infer):
    documents = [{"_id": n, "by": {f"user{n}{k}": k for k in range(5)}} for n in range(50)]
    (found,) = infer(lines_of(documents), "--collection", "a.b", "--json").values
    assert found["a.b"] == {"required": ["by"], "columns": {"_id": "integer", "by": "object"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [("{\n", "line 1 is no Extended JSON"), ("\n[]\n", "line 2 is no document"), ('{"_id": 1}', "line 1 is no event")],
)
def test_a_wrong_sample_is_an_error_that_says_where(infer, text, message):
    with pytest.raises(SampleError, match=message) as caught:
        infer(text)
    assert caught.value.remedy


def test_a_sample_may_come_from_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"_id": 1}\n')))
    app = RecordingApplication()
    app.call(schemas, "infer", "-", "--collection", "a.b", "--json")
    assert app.values == [{"a.b": {"required": [], "columns": {"_id": "integer"}}}]


def show(*arguments, transforms):
    app = RecordingApplication(
        PipelineConfiguration(
            name="p",
            source=ScriptedSource(logs={"shop.orders": Log()}, start=0),
            destination=StdoutDestination(serializer=JsonSerializer()),
            state=MemoryStateStore(),
            transforms=transforms,
        )
    )
    assert app.call(schemas, "show", "pipeline.toml", *arguments) == ExitCode.DONE
    return app


def test_the_schemas_of_a_pipeline_are_shown():
    table = {**EXPECTED, "columns": {**COLUMNS, "tags.*": ["string", "int"]}}
    transform = SchemaTransform(collections={"shop.orders": table}, other_type="drop_value")
    app = show(transforms=(transform,))
    assert app.output[0].startswith("new_field: evolve, missing_field: reject, other_type: drop_value")
    assert "shop.orders  total  decimal  required" in app.output
    assert "shop.orders  lines.*.n  integer  required" in app.output
    assert "shop.orders  tags.*  string, int  " in app.output
    assert json.loads(json.dumps(show("--json", transforms=(transform,)).values[0][0]["collections"])) == {
        "shop.orders": table
    }
    assert show(transforms=()).output == ["the pipeline has no transform schema"]
