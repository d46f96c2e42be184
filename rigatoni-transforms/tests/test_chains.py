"""Chains of transforms as the engine applies them: order and identity of events, repeats, other cuts."""

from itertools import pairwise

import bson
from hypothesis import given, settings
from hypothesis import strategies as st
from rigatoni_core.engine.transforming import transformed
from rigatoni_testing.batches import batch_of, event_document
from rigatoni_transforms.cast import CastTransform
from rigatoni_transforms.filter import FilterTransform
from rigatoni_transforms.flatten import FlattenTransform
from rigatoni_transforms.python import PythonTransform
from rigatoni_transforms.rename import RenameTransform
from rigatoni_transforms.route import RouteTransform
from rigatoni_transforms.schema import SchemaTransform
from rigatoni_transforms.select import SelectTransform

TRANSFORMS = [
    SelectTransform(exclude=["secret"]),
    FilterTransform(expression="document.n != 2"),
    FilterTransform(expression='operation != "delete" || key._id > 2'),
    RenameTransform(fields={"a.b": "c", "n": "m"}),
    CastTransform(fields={"n": "int", "a.b": "string"}),
    FlattenTransform(),
    RouteTransform(collection='operation == "delete" ? "gone" : string(document.?n.orValue("none"))'),
    SchemaTransform(
        collections={"shop.orders": {"columns": {"n": "int", "a.b": "string", "a_b": "string"}}},
        new_field="drop_value",
        other_type="drop_event",
    ),
    PythonTransform(call="copy:copy"),
]
VALUES = st.sampled_from([1, 2, "3", "x", None, {"b": 1}, {"b": "1", "d": [1]}, [{"b": 1}]])
DOCUMENTS = st.dictionaries(st.sampled_from(["n", "a", "a_b", "secret", "m"]), VALUES, max_size=4)
PATHS = st.sampled_from(["n", "a.b", "a", "a.0.b", "secret", "a_b", "x.y"])


@st.composite
def events(draw):
    """Events of each operation, several of them in one transaction."""
    made = []
    for number in range(draw(st.integers(1, 6))):
        operation = draw(st.sampled_from(["insert", "update", "delete", "drop"]))
        event = event_document(number, operationType=operation, seconds=1_700_000_000, increment=1 + number // 3)
        event["fullDocument"] = {"_id": number, **draw(DOCUMENTS)}
        if operation == "update":
            description = {"updatedFields": draw(st.dictionaries(PATHS, VALUES, max_size=3)), "removedFields": ["n"]}
            event["updateDescription"] = description
        for name in {"delete": ["fullDocument"], "drop": ["fullDocument", "documentKey"]}.get(operation, ()):
            del event[name]
        made.append(event)
    return made


def outcomes(batch, chain):
    """What becomes of each event, by its token: its bytes and place, or the reasons why it was rejected."""
    done = transformed(batch, chain)
    tokens = [batch.token_and_time(index)[0] for index in range(len(batch))]
    found = {
        tokens[index]: str(reason) for rejections in done.rejections for index, reason in rejections.events.items()
    }
    for index, number in enumerate(done.batch.indices):
        order = tuple(column[index] for column in done.batch.orders())
        found[tokens[number]] = (bytes(done.batch.raw(index)), order)
    return found, done.batch


@settings(max_examples=150, deadline=None)
@given(
    documents=events(),
    chain=st.lists(st.sampled_from(TRANSFORMS), min_size=1, max_size=4),
    cuts=st.sets(st.integers(1, 5)),
)
def test_a_chain_keeps_order_and_identity_and_gives_the_same_again_and_in_other_batches(documents, chain, cuts):
    batch = batch_of(documents)
    before = [bytes(batch.raw(index)) for index in range(len(batch))]
    found, after = outcomes(batch, chain)
    assert [bytes(batch.raw(index)) for index in range(len(batch))] == before
    assert outcomes(batch, chain)[0] == found
    assert list(after.indices) == sorted(after.indices)
    assert list(after.orders().ordinals) == [batch.orders().ordinals[index] for index in after.indices]
    for index, number in enumerate(after.indices):
        event, given_event = bson.decode(bytes(after.raw(index))), documents[number]
        kept = ("_id", "clusterTime", "operationType")
        assert {name: event[name] for name in kept} == {name: given_event[name] for name in kept}
        assert event.get("documentKey", {}).get("_id") == given_event.get("documentKey", {}).get("_id")
    borders = [0, *sorted(cut for cut in cuts if cut < len(batch)), len(batch)]
    parts = {}
    for start, stop in pairwise(borders):
        parts |= outcomes(batch[start:stop], chain)[0]
    assert parts == found
