"""The transform `route`: events with other names of database and collection."""

from functools import partial

import bson
import pytest
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.events import Namespace
from rigatoni_testing.batches import batch_of, event_document
from rigatoni_testing.contracts import TransformContract
from rigatoni_transforms.errors import ExpressionError, RouteError
from rigatoni_transforms.route import RouteTransform


class TestRoute(TransformContract):
    @pytest.fixture(
        params=[
            {"collection": '"orders_" + document.value'},
            {"database": 'key._id == 1 ? "one" : database', "collection": 'collection + "_v2"'},
        ]
    )
    def make(self, request):
        return partial(RouteTransform, **request.param)


def routed(*events, **options):
    after = RouteTransform(**options).transform(batch_of(events))
    return [after.namespace(index) for index in range(len(after))]


def test_the_names_are_the_values_of_the_expressions():
    event = event_document(0, fullDocument={"region": "eu"})
    assert routed(event, collection='collection + "_" + document.region') == [Namespace("shop", "orders_eu")]
    assert routed(event, database='"eu"') == [Namespace("eu", "orders")]


def test_everything_else_of_the_event_stays():
    event = event_document(0, ns={"db": "shop", "coll": "orders", "more": 1})
    after = RouteTransform(database='"x"').transform(batch_of([event]))
    assert bson.decode(bytes(after.raw(0))) == event | {"ns": {"db": "x", "coll": "orders", "more": 1}}
    assert list(bson.decode(bytes(after.raw(0)))) == list(event)


def test_an_event_about_a_database_has_no_collection_to_set():
    event = event_document(0, operationType="dropDatabase", ns={"db": "shop"})
    assert routed(event, collection='"x"') == [Namespace("shop")]
    assert routed(event, database='"x"', collection='"x"') == [Namespace("x")]


def test_a_delete_that_cannot_be_routed_is_rejected_and_a_drop_stays_where_it_is():
    delete, drop = event_document(0, operationType="delete"), event_document(1, operationType="drop")
    del delete["fullDocument"], drop["fullDocument"], drop["documentKey"]
    with pytest.raises(RejectedEventsError) as caught:
        routed(delete, drop, collection="document.region")
    assert list(caught.value.events) == [0]
    assert isinstance(caught.value.events[0], RouteError)
    assert routed(drop, collection="document.region") == [Namespace("shop", "orders")]
    by_key = 'operation == "delete" ? collection + "_" + string(key._id) : document.region'
    assert routed(delete, collection=by_key) == [Namespace("shop", "orders_0")]


@pytest.mark.parametrize("value", ["", 5, None, {"a": 1}])
def test_a_name_that_is_none_is_rejected(value):
    with pytest.raises(RejectedEventsError):
        routed(event_document(0, fullDocument={"region": value}), collection="document.region")


def test_one_expression_at_least_and_of_a_text():
    with pytest.raises(ExpressionError, match="needs database or collection"):
        RouteTransform()
    with pytest.raises(ExpressionError, match="must be string"):
        RouteTransform(collection='operation == "insert"')
