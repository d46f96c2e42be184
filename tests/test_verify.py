"""`rigatoni verify` as a user types it, against a real server and files: each kind of damage is found."""

import json
from pathlib import Path

import pytest
import zstandard


@pytest.fixture
def delivered(place, rigatoni):
    """A pipeline that began with a snapshot, and delivered changes since."""
    text = Path("pipeline.toml").read_text(encoding="utf-8")
    Path("pipeline.toml").write_text(text + '\n[pipeline.snapshot]\nmode = "initial"\n', encoding="utf-8")
    place.orders.insert_many([{"_id": key, "n": key} for key in (*range(30), "a", 1.5)])
    run(rigatoni)
    place.orders.replace_one({"_id": 3}, {"n": "replaced"})
    place.orders.delete_one({"_id": 4})
    place.orders.insert_one({"_id": "later", "n": [1.0, None, {"b": 1, "a": 2}]})
    run(rigatoni)
    return place


def run(rigatoni):
    answer = rigatoni("run", "pipeline.toml", "--once")
    assert answer.returncode == 0, answer.stderr


def verified(rigatoni, *arguments):
    answer = rigatoni("verify", "pipeline.toml", "--json", "--timeout", "5", *arguments)
    assert answer.returncode in (0, 7), answer.stderr
    (outcome,) = json.loads(answer.stdout)
    assert outcome["same"] == (answer.returncode == 0)
    return outcome


def differences(outcome):
    return {verdict: outcome[verdict] for verdict in ("missing", "extra", "different", "doubled") if outcome[verdict]}


def files(kind):
    found = sorted(Path("lake").rglob("*.ndjson.zst"))
    return [path for path in found if (".snapshots" in str(path)) == (kind == "rows")]


def rewritten(path, old, new):
    text = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()
    assert old in text
    path.chmod(0o644)
    path.write_bytes(zstandard.compress(text.replace(old, new)))


def test_what_was_delivered_is_equal(delivered, rigatoni):
    outcome = verified(rigatoni)
    assert differences(outcome) == {}
    assert (outcome["equal"], outcome["complete"], outcome["unknown"]) == (32, True, 0)


@pytest.mark.parametrize(
    ("kind", "verdicts"), [("rows", {"missing": 30}), ("changes", {"missing": 1, "different": 1, "extra": 1})]
)
def test_a_removed_file_is_found(delivered, rigatoni, kind, verdicts):
    for path in files(kind):
        path.unlink()
    outcome = verified(rigatoni)
    assert differences(outcome) == verdicts
    assert all(len(key) == 32 for keys in outcome["hashes"].values() for key in keys)


def test_a_changed_row_is_found(delivered, rigatoni):
    rewritten(files("rows")[0], b'"n":7}', b'"n":8}')
    assert differences(verified(rigatoni)) == {"different": 1}
    text = rigatoni("verify", "pipeline.toml")
    assert (text.returncode, "DIFFERENT" in text.stdout) == (7, True)


def test_a_removed_file_is_found_though_later_changes_hide_it(delivered, rigatoni):
    delivered.orders.replace_one({"_id": 3}, {"n": "again"})
    delivered.orders.delete_one({"_id": "later"})
    run(rigatoni)
    removed, _ = files("changes")
    removed.unlink()
    outcome = verified(rigatoni)
    assert outcome["same"] is False
    ((stream, names),) = outcome["missing_files"].items()
    assert names == [removed.name]
    text = rigatoni("verify", "pipeline.toml")
    assert (text.returncode, f"1  files of {stream}" in text.stdout, removed.name in text.stdout) == (7, True, True)


def test_a_damaged_file_is_named_and_the_rest_is_compared(delivered, rigatoni):
    (path,) = files("changes")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-9])
    answer = rigatoni("verify", "pipeline.toml", "--json")
    assert answer.returncode == 7, answer.stderr
    (outcome,) = json.loads(answer.stdout)
    assert (outcome["same"], outcome["equal"]) == (False, 30)
    assert path.name in outcome["unreadable"][0]
    assert "what to do: Restore damaged files" in rigatoni("verify", "pipeline.toml").stdout


def test_a_doubled_file_is_found(delivered, rigatoni):
    (path,) = files("changes")
    (path.parent / "copy").mkdir()
    (path.parent / "copy" / path.name).write_bytes(path.read_bytes())
    assert differences(verified(rigatoni)) == {"doubled": 3}


def test_a_change_that_was_not_delivered_ends_the_wait(delivered, rigatoni):
    delivered.orders.insert_one({"_id": "undelivered"})
    answer = rigatoni("verify", "pipeline.toml", "--timeout", "1")
    assert answer.returncode == 6, answer.stdout + answer.stderr
    run(rigatoni)
    assert differences(verified(rigatoni)) == {}


def test_a_delta_is_not_compared_until_the_whole_document_follows(delivered, rigatoni):
    delivered.orders.update_one({"_id": 5}, {"$set": {"n": "updated"}})
    run(rigatoni)
    outcome = verified(rigatoni)
    assert (outcome["partial"], differences(outcome)) == (1, {})


def test_a_stream_without_a_snapshot_compares_what_the_destination_knows(place, rigatoni):
    place.orders.insert_one({"_id": "before"})
    run(rigatoni)
    answer = rigatoni("verify", "pipeline.toml")
    assert (answer.returncode, "nothing could be compared" in answer.stdout) == (7, True)
    (nothing,) = json.loads(rigatoni("verify", "pipeline.toml", "--json").stdout)
    assert (nothing["same"], nothing["complete"], nothing["hashes"]) == (None, False, {})
    place.orders.insert_one({"_id": "known"})
    run(rigatoni)
    assert "no differences in what could be compared" in rigatoni("verify", "pipeline.toml").stdout
    outcome = verified(rigatoni)
    assert (outcome["complete"], outcome["equal"], outcome["unknown"]) == (False, 1, 1)


def test_what_cannot_be_verified_is_refused(place, rigatoni):
    place.orders.insert_one({"_id": 1})
    assert "has no checkpoint" in refused(rigatoni, 3)
    run(rigatoni)
    assert "no stream" in refused(rigatoni, 2, "shop.nothing")
    stdout = 'destination={type = "stdout", serializer = {type = "json"}}'
    assert "cannot be read back" in refused(rigatoni, 2, "--set", stdout)
    filtered = 'source.pipeline=[{"$match" = {operationType = "insert"}}]'
    assert "own pipeline" in refused(rigatoni, 2, "--set", filtered)
    selecting = 'transforms=[{type = "select", collections = ["*.*"], exclude = ["n"]}]'
    assert "has transforms" in refused(rigatoni, 2, "--set", selecting)


def refused(rigatoni, code, *arguments):
    answer = rigatoni("verify", "pipeline.toml", "--timeout", "3", *arguments)
    assert (answer.returncode, answer.stdout) == (code, ""), answer.stderr
    return answer.stderr
