"""Where a stream resumes: after a refused position, at a time that people give, and never at another deployment."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from pymongo import MongoClient
from rigatoni_mongodb.testing.server import mongodb_server

RESTART = 'batch_timeout = 0.2\non_lost_position = "restart_from_now"'


def gaps(case) -> list[object]:
    """The gaps on record, in the state and at the destination."""
    states = [json.loads(path.read_text()) for path in (case.folder / "state").rglob("*.json")]
    definitions = [json.loads(path.read_text()) for path in (case.folder / "lake").rglob("definition-*.json")]
    return [gap for state in states for gap in state["gaps"]] + [each["gap"] for each in definitions if each["gap"]]


@pytest.mark.parametrize("start_at", [True, False])
def test_a_lost_position_restarts_at_now_and_not_at_the_configured_start(case, database, fail_point, start_at):
    """c09: `on_lost_position = "restart_from_now"` together with `start_at` as a time."""
    database.c.insert_one({"_id": -1})
    time.sleep(1.1)
    begin = datetime.now(UTC)
    option = f'start_at = "{begin.isoformat(timespec="seconds")}"' if start_at else ""
    lost = case([f"{database.name}.c"], source=option, settings=RESTART)
    lost.must_run_once()
    database.c.insert_many([{"_id": number} for number in range(5)])
    lost.must_run_once()
    delivered = lost.ids()
    time.sleep(1.1)
    fail_point("aggregate", 286)
    lost.must_run_once()
    assert lost.ids() == delivered == list(range(5))
    assert gaps(lost)
    database.c.insert_one({"_id": 9})
    lost.must_run_once()
    assert lost.ids() == [*range(5), 9]


@pytest.mark.parametrize(("code", "times"), [(280, 1), (280, 2), (260, 1), (50811, 1)])
def test_a_refused_token_is_no_lost_position_where_the_history_is_there(case, database, fail_point, code, times):
    """b07: the oplog holds everything, so all is delivered and no gap is recorded."""
    refused = case([f"{database.name}.c"], settings=RESTART)
    refused.must_run_once()
    database.c.insert_one({"_id": 0})
    refused.must_run_once()
    database.c.insert_many([{"_id": number} for number in range(1, 6)])
    fail_point("aggregate", code, times=times)
    refused.must_run_once()
    assert refused.ids() == list(range(6))
    assert gaps(refused) == []


@pytest.mark.parametrize(
    "when",
    [
        pytest.param((datetime.now(UTC) + timedelta(days=2)).isoformat(timespec="seconds"), id="in two days"),
        "2200-01-01T00:00:00Z",
        "1960-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
    ],
)
def test_a_start_that_is_out_of_range_is_a_configuration_error(case, database, when):
    """b09: it ended in a traceback, or in a saved position that wedges the stream."""
    early = case([f"{database.name}.c"], source=f'start_at = "{when}"')
    for done in (early.command("validate", "p.toml"), early.once()):
        assert done.returncode not in (0, 1, -1), done.stderr
        said = done.stdout + done.stderr
        assert "Traceback" not in said
        assert "start_at" in said
    assert not list((early.folder / "state").rglob("*.json"))


def test_another_cluster_of_the_same_name_is_not_taken_for_the_same_deployment(case, database, tmp_path, mongodb_uri):
    """c22: both are called `secantus`; the URI names another one."""
    moved = case([f"{database.name}.c"])
    database.c.insert_one({"_id": 0})
    moved.must_run_once()
    database.c.insert_many([{"_id": number} for number in range(1, 4)])
    moved.must_run_once()
    before = {path: path.read_bytes() for path in (moved.folder / "lake").rglob("*") if path.is_file()}
    with mongodb_server(tmp_path / "other", variable="RIGATONI_TEST_NO_SERVER") as other:
        with MongoClient(other) as client:
            assert client.admin.command("hello")["setName"] == "secantus"
            client[database.name].c.insert_many([{"_id": f"other {number}"} for number in range(3)])
        moved.write(uri=other)
        refused = moved.once()
        assert refused.returncode != 0
        assert {path: path.read_bytes() for path in (moved.folder / "lake").rglob("*") if path.is_file()} == before
    moved.write(uri=mongodb_uri)
    database.c.insert_one({"_id": 4})
    moved.must_run_once()  # a wrong URI has changed nothing
    assert moved.ids() == list(range(1, 5))
