"""`rigatoni doctor` and `rigatoni report` as a user types them, against a real server and files."""

import asyncio
import json
from pathlib import Path

from rigatoni_file_state.store import FileStateStore


def examined(rigatoni, *arguments):
    """Return the findings by place and check, and the exit code."""
    answer = rigatoni("doctor", "pipeline.toml", "--json", *arguments)
    assert answer.returncode in (0, 1), answer.stderr
    outcome = json.loads(answer.stdout)
    assert outcome["well"] == (answer.returncode == 0)
    return {(each["place"], each["check"]): each for each in outcome["findings"]}


def test_a_stream_and_everything_around_it_is_checked(place, rigatoni):
    place.orders.insert_one({"_id": 1})
    found = examined(rigatoni)
    assert found[f"stream {place.name}.orders", "position"]["seen"].startswith("it has no position yet")
    assert rigatoni("run", "pipeline.toml", "--once").returncode == 0
    found = examined(rigatoni)
    assert found[f"stream {place.name}.orders", "reading"]["seen"] == "it can be read from its position"
    checks = {check for where, check in found if where == "source"}
    assert {"connection", "server", "oplog headroom", "members", "clock", "collections"} <= checks
    assert found["host", "disks"]["figures"]["free_bytes"] > 0
    assert [each for each in found.values() if each["severity"] == "error"] == []


def test_a_running_pipeline_is_not_disturbed(place, rigatoni):
    async def held():
        async with FileStateStore(path=Path("state")):  # as a running pipeline holds it
            return await asyncio.to_thread(examined, rigatoni)

    found = asyncio.run(held())
    assert found["state", "connection"]["severity"] == "ok"


def test_a_view_is_an_error_and_the_exit_code_is_1(place, rigatoni):
    place.client[place.name].create_collection("open", viewOn="orders", pipeline=[])
    answer = rigatoni("doctor", "pipeline.toml", "--quiet", "--set", f'source.watch=["{place.name}.open"]')
    assert answer.returncode == 1
    assert f"{place.name}.open is a view" in answer.stdout
    assert "what to do: Remove it from watch." in answer.stdout


def test_a_report_is_written_with_the_findings(place, rigatoni):
    answer = rigatoni("report", "pipeline.toml", "--output", "report.json")
    assert answer.returncode == 0, answer.stderr
    contents = json.loads(Path("report.json").read_text(encoding="utf-8"))
    assert {each["place"] for each in contents["doctor"]} >= {"source", "destination", "state"}
    assert rigatoni("report", "pipeline.toml", "--output", "report.json").returncode == 2
