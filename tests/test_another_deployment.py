"""A uri that names another deployment changes nothing, until a person confirms that it is the right one."""

import json
from pathlib import Path

import pytest
from pymongo import MongoClient
from rigatoni_mongodb.testing.server import mongodb_server

ONCE = ("run", "pipeline.toml", "--once", "--log-format", "human")


@pytest.fixture(scope="module")
def other_uri(tmp_path_factory):
    """A server that says that it is the replica set of the same name."""
    with mongodb_server(tmp_path_factory.mktemp("other") / "data") as uri:
        yield uri


def tree(*folders):
    """The content of every file but the locks and the fencing tokens, which a refused start may touch."""
    paths = [path for folder in folders for path in Path(folder).rglob("*.json*") if path.is_file()]
    return {path: path.read_bytes() for path in paths}


def checkpoint(rigatoni, *more):
    (record,) = json.loads(rigatoni("state", "show", "pipeline.toml", "--json", *more).stdout)
    return record


def events(rigatoni):
    return checkpoint(rigatoni, "--offline")["events"]


def test_J9_a_uri_of_another_deployment_changes_nothing_under_any_policy(place, rigatoni, other_uri):
    place.orders.insert_one({"n": 0})
    assert rigatoni(*ONCE).returncode == 0
    place.orders.insert_one({"n": 1})
    assert rigatoni(*ONCE).returncode == 0
    before = tree("lake", "state")
    wrong = ("--set", f"source.uri={other_uri}")
    with MongoClient(other_uri) as other:
        other[place.name].orders.insert_many([{"n": n} for n in range(9)])
    for policy in "stop", "restart_from_now":
        answer = rigatoni(*ONCE, *wrong, "--set", f"on_lost_position={policy}")
        assert answer.returncode != 0
        assert "none of its 1 recorded collections exists" in answer.stderr
        assert "confirm-deployment" in answer.stderr
    answer = rigatoni("validate", "pipeline.toml", *wrong)
    assert answer.returncode != 0
    assert "confirm-deployment" in answer.stderr + answer.stdout
    assert "another one" in rigatoni("state", "show", "pipeline.toml", *wrong).stdout
    assert tree("lake", "state") == before
    place.orders.insert_one({"n": 2})
    assert rigatoni(*ONCE).returncode == 0
    assert events(rigatoni) == 2


def test_J9_a_replaced_collection_is_confirmed_and_the_stream_resumes(place, rigatoni):
    place.orders.insert_one({"n": 0})
    assert rigatoni(*ONCE).returncode == 0
    place.orders.insert_one({"n": 1})
    place.orders.drop()
    place.orders.insert_one({"n": 2})
    assert rigatoni(*ONCE).returncode != 0
    asked = rigatoni("state", "confirm-deployment", "pipeline.toml")
    assert "will belong to the deployment" in asked.stderr
    assert "--yes" in asked.stderr
    assert rigatoni(*ONCE).returncode != 0
    answer = rigatoni("state", "confirm-deployment", "pipeline.toml", "--yes")
    assert answer.returncode == 0, answer.stderr
    assert "nothing to change" in rigatoni("state", "confirm-deployment", "pipeline.toml", "--yes").stdout
    assert "the source reads the same one" in rigatoni("state", "show", "pipeline.toml").stdout
    answer = rigatoni(*ONCE)
    assert answer.returncode == 0, answer.stderr
    assert checkpoint(rigatoni)["gaps"] == []
    assert events(rigatoni) >= 3  # insert, drop, insert; the server may report an invalidate as well


def test_J9_without_a_checkpoint_the_destinations_position_is_confirmed(place, rigatoni):
    place.orders.insert_one({"n": 0})
    assert rigatoni(*ONCE).returncode == 0
    place.orders.insert_one({"n": 1})
    place.orders.drop()
    place.orders.insert_one({"n": 2})
    elsewhere = ("--set", "state.path=elsewhere")
    assert rigatoni(*ONCE, *elsewhere).returncode != 0
    assert rigatoni("state", "confirm-deployment", "pipeline.toml", "--yes", *elsewhere).returncode == 0
    answer = rigatoni(*ONCE, *elsewhere)
    assert answer.returncode == 0, answer.stderr
    assert checkpoint(rigatoni, *elsewhere)["gaps"] == []
