"""The transform `python`: a function of the user, and everything that it may do wrong."""

import sys
import textwrap
from functools import partial

import bson
import pytest
from bson.codec_options import CodecOptions
from bson.son import SON
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_testing.batches import batch_of, event_document
from rigatoni_testing.contracts import TransformContract
from rigatoni_transforms.errors import PythonCallError, PythonFailedError
from rigatoni_transforms.python import PythonTransform

RULES = """
    import asyncio, uuid

    CONSTANT = 5

    class Rules:
        @staticmethod
        def clean(event):
            return event

    def same(event):
        return event

    def drop_deletes(event):
        return None if event["operationType"] == "delete" else event

    def mark(event):
        if event.get("fullDocument") and event["documentKey"]["_id"] != 1:
            event["fullDocument"]["seen"] = True
        return event

    def raises(event):
        raise KeyError(event["fullDocument"]["value"])

    def leaves(event):
        raise SystemExit(1)

    def a_list(event):
        return [event]

    def no_bson(event):
        return {**event, "x": object()}

    def numbers(event):
        return {**event, 5: 1}

    def token(event):
        return {**event, "_id": {"_data": "00"}}

    def no_token(event):
        del event["_id"]
        return event

    def time(event):
        del event["clusterTime"]
        return event

    def key(event):
        event["documentKey"]["_id"] = 7
        return event

    def no_key(event):
        del event["documentKey"]
        return event

    def document_id(event):
        event["fullDocument"]["_id"] = str(event["fullDocument"]["_id"])
        return event

    def transaction(event):
        return {**event, "txnNumber": 5}

    def no_operation(event):
        del event["operationType"]
        return event

    def without_document(event):
        del event["fullDocument"]
        return event

    def with_uuid(event):
        event["fullDocument"]["u"] = uuid.UUID(int=5)
        return event

    async def coroutine(event):
        return event

    def generator(event):
        yield event

    def two(event, other):
        return event
"""


@pytest.fixture(scope="module", autouse=True)
def rules(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modules")
    (folder / "acme_rules.py").write_text(textwrap.dedent(RULES), encoding="utf-8")
    (folder / "acme_broken.py").write_text("import nowhere_to_be_found\n", encoding="utf-8")
    (folder / "acme_syntax.py").write_text("def f(:\n", encoding="utf-8")
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("acme_rules", None)


class TestPython(TransformContract):
    @pytest.fixture(params=["same", "drop_deletes", "mark"])
    def make(self, request):
        return partial(PythonTransform, call=f"acme_rules:{request.param}")


def called(name, *events):
    return PythonTransform(call=f"acme_rules:{name}").transform(batch_of(events))


def test_the_function_changes_and_drops_events():
    delete = event_document(0, operationType="delete")
    after = called("drop_deletes", delete, event_document(1))
    assert list(after.indices) == [1]
    after = called("mark", event_document(0))
    assert bson.decode(bytes(after.raw(0)))["fullDocument"] == {"_id": 0, "value": "value 0", "seen": True}


def test_an_event_that_it_returns_as_it_was_keeps_its_bytes():
    events = batch_of([event_document(0, fullDocument={"_id": 0, "value": SON([("$ref", "c"), ("$id", 1)])})])
    assert PythonTransform(call="acme_rules:same").transform(events) is events


def test_a_method_of_a_class_may_be_the_function_and_a_uuid_a_value():
    assert len(called("Rules.clean", event_document(0))) == 1
    after = called("with_uuid", event_document(0))
    assert bson.decode(bytes(after.raw(0)), CodecOptions(uuid_representation=4))["fullDocument"]["u"].int == 5


def test_the_whole_document_may_be_left_out():
    assert "fullDocument" not in bson.decode(bytes(called("without_document", event_document(0)).raw(0)))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raises", "raised KeyError in line 23"),
        ("leaves", "raised SystemExit in line 26"),
        ("a_list", "returned list, not a dictionary or None"),
        ("no_bson", "returned a dictionary that is no BSON: InvalidDocument"),
        ("numbers", "returned a dictionary that is no BSON"),
        ("token", "changed _id"),
        ("no_token", "changed _id"),
        ("time", "changed clusterTime"),
        ("key", "changed documentKey._id"),
        ("no_key", "changed documentKey._id"),
        ("document_id", "changed fullDocument._id"),
        ("transaction", "changed txnNumber"),
        ("no_operation", "without operationType"),
    ],
)
def test_what_is_no_event_rejects_the_event_and_quotes_no_value(name, reason):
    with pytest.raises(RejectedEventsError) as caught:
        called(name, event_document(0, fullDocument={"_id": 0, "value": "secret"}))
    error = caught.value.events[0]
    assert isinstance(error, PythonFailedError)
    assert reason in str(error)
    assert f"acme_rules:{name}" in str(error)
    assert "secret" not in str(error)


def test_an_event_that_python_would_alter_is_rejected():
    raw = bson.encode(event_document(0))
    symbol = raw.replace(b"\x02value\0", b"\x0evalue\0")
    assert symbol != raw
    with pytest.raises(RejectedEventsError, match="without a loss"):
        PythonTransform(call="acme_rules:same").transform(batch_of([symbol]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("acme_rules", 'call is "acme_rules"'),
        ("acme rules:x", "call is"),
        ("acme_nowhere:clean", "ModuleNotFoundError: No module named 'acme_nowhere'"),
        ("acme_broken:clean", "No module named 'nowhere_to_be_found'"),
        ("acme_syntax:f", '"acme_syntax" cannot be imported: SyntaxError'),
        ("acme_rules:claen", 'the module "acme_rules" has no "claen"'),
        ("acme_rules:Rules.claen", 'has no "Rules.claen"'),
        ("acme_rules:CONSTANT", "is no function"),
        ("acme_rules:coroutine", "coroutine or a generator"),
        ("acme_rules:generator", "coroutine or a generator"),
        ("acme_rules:two", "does not take one argument"),
    ],
)
def test_a_function_that_cannot_be_called_is_an_error_of_the_configuration(call, message):
    with pytest.raises(PythonCallError, match=message) as caught:
        PythonTransform(call=call)
    assert caught.value.remedy


def test_the_version_is_part_of_the_definition():
    assert PythonTransform(call="acme_rules:same", version=3).version == 3
    with pytest.raises(ValueError, match="from 1"):
        PythonTransform(call="acme_rules:same", version=0)
