"""Snapshots with the command as a user types it, against a real server and files, killed at every step."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

DIE = """
import os
from pathlib import Path
import rigatoni_local.files as f
real, count = f.os.link, []
def link(source, target, **options):
    if ".snapshots" in str(target):
        count.append(1)
        if {after} == 0 and len(count) > {n}: os.kill(os.getpid(), 9)
    real(source, target, **options)
    if {after} and len(count) > {n}: os.kill(os.getpid(), 9)
f.os.link = link
import sys
from rigatoni_core.cli import main
sys.argv = ["rigatoni", "run", "pipeline.toml", "--once"]
main()
"""


def rigatoni(*arguments):
    command = [sys.executable, "-m", "rigatoni_core.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def events():
    """Every row, and every change, of all files."""
    found = {"rows": [], "changes": []}
    for path in sorted(Path("lake").rglob("*.ndjson.zst")):
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            kind = "rows" if ".snapshots" in str(path) else "changes"
            found[kind] += [json.loads(line) for line in lines]
    return found["rows"], found["changes"]


@pytest.fixture
def with_snapshot(place):
    text = Path("pipeline.toml").read_text(encoding="utf-8")
    table = '\n[pipeline.snapshot]\nmode = "initial"\nconcurrency = 2\n'
    Path("pipeline.toml").write_text(text + table, encoding="utf-8")
    place.orders.insert_many([{"_id": key, "n": key} for key in (*range(500), *map(str, range(20)))])
    return place


def test_what_exists_is_read_once_and_later_changes_follow(with_snapshot):
    place = with_snapshot
    answer = rigatoni("run", "pipeline.toml", "--once")
    assert answer.returncode == 0, answer.stderr
    rows, changes = events()
    assert changes == []
    keys = [json.dumps(row["documentKey"]["_id"]) for row in rows]
    assert len(keys) == len(set(keys)) == 520
    assert {row["operationType"] for row in rows} == {"read"}
    place.orders.insert_one({"_id": "later", "n": 1})
    assert rigatoni("run", "pipeline.toml", "--once").returncode == 0
    again, changes = events()
    assert (len(again), len(changes)) == (520, 1)
    assert "snapshot     initial" in rigatoni("validate", "pipeline.toml").stdout
    listed = json.loads(rigatoni("snapshot", "list", "pipeline.toml", "--json").stdout)
    assert [(each["state"], each["rows"]) for each in listed] == [("done", 520)]


@pytest.mark.parametrize(("n", "after"), [(0, 0), (2, 1), (4, 0), (5, 1), (6, 0)])
def test_killed_around_each_file_of_the_snapshot_every_document_is_one_row(with_snapshot, n, after):
    code = DIE.replace("{n}", str(n)).replace("{after}", str(after))
    died = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert died.returncode == -9, died.stderr.decode()[-2000:]
    with_snapshot.orders.update_one({"_id": 7}, {"$set": {"n": "changed"}})
    with_snapshot.orders.delete_one({"_id": 8})
    answer = rigatoni("run", "pipeline.toml", "--once")
    assert answer.returncode == 0, answer.stderr
    rows, changes = events()
    keys = [json.dumps(row["documentKey"]["_id"]) for row in rows]
    assert len(keys) == len(set(keys))
    held = {row["documentKey"]["_id"]: row["fullDocument"]["n"] for row in rows}
    for change in changes:
        if change["operationType"] == "delete":
            held.pop(change["documentKey"]["_id"], None)
        else:
            held[change["documentKey"]["_id"]] = change["updateDescription"]["updatedFields"]["n"]
    assert held == {document["_id"]: document["n"] for document in with_snapshot.orders.find()}
