"""`rigatoni state`: repairs are shown first, recorded, and never made while a pipeline runs."""

import io
import json
import os
import pty
import re
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import zstandard


def delivered(folder="lake"):
    """The numbers of all inserts in the files, in the order of the objects' names."""
    numbers = []
    for path in sorted(Path(folder).rglob("*.ndjson.zst")):
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            numbers += [json.loads(line)["fullDocument"]["n"] for line in lines]
    return numbers


def history():
    return [json.loads(line) for line in Path("pipeline.history.jsonl").read_text().splitlines()]


@pytest.fixture
def orders(place, rigatoni):
    """The name of a stream of which 30 events are delivered."""
    place.other.insert_one({})
    time.sleep(1.05)  # the server's history begins before the second that is named
    begin = datetime.now(UTC).isoformat(timespec="seconds")
    place.orders.insert_many([{"n": n} for n in range(30)])
    answer = rigatoni("run", "pipeline.toml", "--once", "--set", f"source.start_at={begin}")
    assert answer.returncode == 0, answer.stderr
    return f"{place.name}.orders"


def shown(rigatoni, *more):
    answer = rigatoni("state", "show", "pipeline.toml", "--json", *more)
    assert answer.returncode == 0, answer.stderr
    (record,) = json.loads(answer.stdout)
    ages = {name: record[name] and "there" for name in ("position", "delivered") if name in record}  # they grow
    return {**record, **ages}


def test_show_prints_time_age_events_and_whether_the_definition_is_unchanged(orders, rigatoni):
    answer = rigatoni("state", "show", "pipeline.toml")
    for words in ("s ago) is delivered", "events         30", "unchanged", "lease          not held"):
        assert words in answer.stdout, answer.stdout
    text = Path("pipeline.toml").read_text()
    Path("pipeline.toml").write_text(text.replace("max_await", 'full_document = "updateLookup"\nmax_await'))
    assert "changed to" in rigatoni("state", "show", "pipeline.toml").stdout
    assert "not compared with the source" in rigatoni("state", "show", "pipeline.toml", "--offline").stdout


def test_set_to_an_earlier_time_is_refused_where_the_destination_would_not_write_again(orders, rigatoni):
    before = shown(rigatoni)
    begin = datetime.fromtimestamp(before["cluster_time"][0] - 1, UTC).isoformat()
    refused = rigatoni("state", "set", "pipeline.toml", orders, "--at", begin, "--yes")
    assert refused.returncode == 2
    assert "but not written again" in refused.stderr
    assert "another path or prefix" in refused.stderr
    assert shown(rigatoni) == before
    assert not Path("pipeline.history.jsonl").exists()


def test_what_the_refusal_recommends_delivers_again(orders, rigatoni):
    begin = datetime.fromtimestamp(shown(rigatoni)["cluster_time"][0] - 1, UTC).isoformat()
    again = ["--set", "destination.path=again"]
    answer = rigatoni("state", "set", "pipeline.toml", orders, "--at", begin, "--yes", *again)
    assert answer.returncode == 0, answer.stderr
    assert rigatoni("run", "pipeline.toml", "--once", *again).returncode == 0
    assert delivered("again") == delivered() == list(range(30))


def test_set_to_an_earlier_time_asks_reports_the_consequences_and_delivers_again(orders, rigatoni, place):
    text = Path("pipeline.toml").read_text()
    Path("pipeline.toml").write_text(text.replace('type = "local"\npath = "lake"', 'type = "stdout"'))
    before = shown(rigatoni)
    begin = datetime.fromtimestamp(before["cluster_time"][0] - 1, UTC).isoformat()
    refused = rigatoni("state", "set", "pipeline.toml", orders, "--at", begin)
    assert refused.returncode == 2
    assert "delivered again" in refused.stderr
    assert "--yes" in refused.stderr
    assert shown(rigatoni) == before
    answer = rigatoni("state", "set", "pipeline.toml", orders, "--at", begin, "--yes")
    assert answer.returncode == 0, answer.stderr
    (line,) = history()
    assert line["from"]["position"]["cluster_time"] == before["cluster_time"]
    assert line["to"]["position"]["cluster_time"] == [before["cluster_time"][0] - 1, 0]
    assert line["action"] == "rigatoni state set"
    assert "@" in line["who"]
    assert stat.S_IMODE(Path("pipeline.history.jsonl").stat().st_mode) == 0o600
    command = [sys.executable, "-m", "rigatoni_core.cli", "run", "pipeline.toml", "--once"]
    printed = subprocess.run(command, capture_output=True, timeout=60, stdin=subprocess.DEVNULL).stdout
    lines = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(printed), read_across_frames=True).read()
    assert [json.loads(line)["fullDocument"]["n"] for line in lines.splitlines()] == list(range(30))


def test_a_stream_that_is_not_watched_is_refused_with_the_nearest_name(orders, rigatoni, place):
    mistyped = f"{place.name}.oders"
    for command in (["set", "--at", "2026-11-23", "--yes"], ["clear", "--yes"], ["rebuild", "--yes"], ["show"]):
        answer = rigatoni("state", command[0], "pipeline.toml", mistyped, *command[1:])
        assert answer.returncode == 2, answer.stdout
        assert f'does not watch {mistyped}; did you mean "{orders}"?' in answer.stderr
    assert not Path("pipeline.history.jsonl").exists()


def test_a_position_that_is_not_watched_any_more_is_shown_and_can_be_cleared(orders, rigatoni, place):
    text = Path("pipeline.toml").read_text()
    Path("pipeline.toml").write_text(text.replace(f"{place.name}.orders", f"{place.name}.others"))
    records = json.loads(rigatoni("state", "show", "pipeline.toml", "--json").stdout)
    assert [(each["stream"], each["watched"]) for each in records] == [(f"{place.name}.others", True), (orders, False)]
    assert "not watched    by this pipeline any more" in rigatoni("state", "show", "pipeline.toml", orders).stdout
    assert rigatoni("state", "set", "pipeline.toml", orders, "--at", "2026-11-23", "--yes").returncode == 2
    assert rigatoni("state", "clear", "pipeline.toml", orders, "--yes").returncode == 0
    (record,) = json.loads(rigatoni("state", "show", "pipeline.toml", "--json").stdout)
    assert record["stream"] == f"{place.name}.others"


def test_set_to_a_later_time_skips_and_records_the_gap(orders, rigatoni, place):
    time.sleep(1.1)
    place.orders.insert_many([{"n": n} for n in range(30, 40)])
    time.sleep(1.1)
    answer = rigatoni("state", "set", "pipeline.toml", orders, "--at", datetime.now(UTC).isoformat(), "--yes")
    assert "never delivered" in answer.stderr
    place.orders.insert_one({"n": 99})
    assert rigatoni("run", "pipeline.toml", "--once").returncode == 0
    assert delivered() == [*range(30), 99]
    assert "set manually by" in shown(rigatoni)["gaps"][0]["cause"]
    assert "lost for good" in rigatoni("state", "show", "pipeline.toml").stdout


def test_set_after_a_token_resumes_exactly_there(orders, rigatoni, place):
    with place.orders.watch() as changes:
        place.orders.insert_many([{"n": n} for n in range(30, 40)])
        events = [next(changes) for _ in range(10)]
    at = datetime.fromtimestamp(events[4]["clusterTime"].time, UTC).isoformat()
    token = json.dumps(events[4]["_id"])
    opaque = rigatoni("state", "set", "pipeline.toml", orders, "--token", token, "--yes")
    assert opaque.returncode == 3
    assert "--at TIME" in opaque.stderr
    assert rigatoni("state", "set", "pipeline.toml", orders, "--token", token, "--at", at, "--yes").returncode == 0
    assert rigatoni("run", "pipeline.toml", "--once").returncode == 0
    assert delivered() == [*range(30), *range(35, 40)]


def test_what_can_be_no_position_is_refused_and_nothing_changes(orders, rigatoni):
    before = shown(rigatoni)
    for arguments, words in (
        (["--at", "yesterday"], "is not a time"),
        (["--at", "2099-01-01"], "future"),
        (["--at", "1969-01-01"], "1970"),
        ([], "--at TIME or --token TOKEN"),
        (["--token", "{nonsense"], "not a resume token"),
    ):
        answer = rigatoni("state", "set", "pipeline.toml", orders, *arguments, "--yes")
        assert answer.returncode in (2, 3)
        assert words in answer.stderr
        assert "Traceback" not in answer.stderr
    assert shown(rigatoni) == before
    assert not Path("pipeline.history.jsonl").exists()


def test_J2_clear_and_rebuild_from_the_files(orders, rigatoni, place):
    before = shown(rigatoni)
    assert rigatoni("state", "clear", "pipeline.toml", orders, "--yes").returncode == 0
    assert shown(rigatoni)["position"] is None
    answer = rigatoni("state", "rebuild", "pipeline.toml", "--yes")
    assert answer.returncode == 0, answer.stderr
    after = shown(rigatoni)
    assert after["cluster_time"] == before["cluster_time"]
    assert after["token_hash"] == before["token_hash"]
    assert [line["to"] is None for line in history()] == [True, False]
    assert "nothing to change" in rigatoni("state", "rebuild", "pipeline.toml").stdout
    place.orders.insert_one({"n": 30})
    assert rigatoni("run", "pipeline.toml", "--once").returncode == 0
    assert delivered() == list(range(31))


def test_F4_a_damaged_record_is_rebuilt_and_kept_aside(orders, rigatoni):
    (record,) = Path("state").rglob("*.orders.json")
    record.write_bytes(b"garbage")
    broken = rigatoni("state", "show", "pipeline.toml")
    assert broken.returncode == 3
    assert "not a checkpoint record" in broken.stderr
    answer = rigatoni("state", "rebuild", "pipeline.toml", "--yes")
    assert answer.returncode == 0, answer.stderr
    assert "cannot be read and is replaced" in answer.stderr
    assert shown(rigatoni)["position"]
    assert record.with_name(record.name + ".corrupt-1").read_bytes() == b"garbage"
    assert "damaged" in history()[0]["from"]


def test_rebuild_is_refused_where_the_destination_knows_nothing(orders, rigatoni):
    text = Path("pipeline.toml").read_text().replace('type = "local"\npath = "lake"', 'type = "stdout"')
    Path("pipeline.toml").write_text(text)
    answer = rigatoni("state", "rebuild", "pipeline.toml", "--yes")
    assert answer.returncode == 2
    assert "state set --at" in answer.stderr


def test_export_and_import_move_positions_to_another_store(orders, rigatoni, tmp_path):
    export = rigatoni("state", "export", "pipeline.toml")
    Path("backup.json").write_text(export.stdout)
    before = shown(rigatoni)
    moved = ["--set", "state.path=elsewhere"]
    assert shown(rigatoni, *moved)["position"] is None
    answer = rigatoni("state", "import", "pipeline.toml", "backup.json", "--yes", *moved)
    assert answer.returncode == 0, answer.stderr
    after = shown(rigatoni, *moved)
    assert (after["token_hash"], after["events"]) == (before["token_hash"], 30)
    assert "nothing to change" in rigatoni("state", "import", "pipeline.toml", "backup.json", *moved).stdout
    damaged = export.stdout.replace('"events": 30', '"events": 31')
    Path("backup.json").write_text(damaged)
    assert "checksum" in rigatoni("state", "import", "pipeline.toml", "backup.json", "--yes").stderr
    Path("backup.json").write_text("[]")
    assert "not an export" in rigatoni("state", "import", "pipeline.toml", "backup.json", "--yes").stderr


def test_an_export_is_whole_even_where_a_token_looks_like_a_secret(orders, rigatoni, monkeypatch):
    monkeypatch.setenv("MONGODB_URI", "mongodb://user:_data@127.0.0.1:1/")
    (record,) = json.loads(rigatoni("state", "export", "pipeline.toml").stdout)["checkpoints"]
    assert "_data" in record["position"]["resume_token"]


def test_a_running_pipeline_is_looked_at_but_not_repaired(orders, rigatoni, wait_for):
    command = [sys.executable, "-m", "rigatoni_core.cli", "run", "pipeline.toml", "--log-format", "json"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: shown(rigatoni, "--offline")["holder"])
        assert f"process {process.pid}" in shown(rigatoni, "--offline")["holder"]
        refused = rigatoni("state", "clear", "pipeline.toml", orders, "--yes")
        assert refused.returncode == 3
        assert f"process {process.pid}" in refused.stderr
        assert "what to do" in refused.stderr
        assert rigatoni("validate", "pipeline.toml").returncode == 0
        process.terminate()
        assert process.wait(timeout=30) == 0
    assert shown(rigatoni)["position"]


def test_without_a_history_nothing_is_changed(orders, rigatoni):
    before = shown(rigatoni)
    answer = rigatoni("state", "clear", "pipeline.toml", orders, "--yes", "--history", "nowhere/history.jsonl")
    assert answer.returncode == 2
    assert "nothing was changed" in answer.stderr
    assert shown(rigatoni) == before


@pytest.mark.parametrize(("word", "cleared"), [("n", False), ("y", True)])
def test_on_a_terminal_it_asks(orders, rigatoni, word, cleared):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "rigatoni_core.cli", "state", "clear", "pipeline.toml", orders]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        os.write(ours, f"{word}\n".encode())
        _, errors = process.communicate(timeout=30)
    os.close(theirs)
    os.close(ours)
    assert b"Continue?" in errors
    assert (shown(rigatoni)["position"] is None) == cleared


def test_a_store_that_forgets_has_nothing_to_repair(orders, rigatoni):
    text = Path("pipeline.toml").read_text().replace('type = "file"\npath = "state"', 'type = "memory"')
    Path("pipeline.toml").write_text(text)
    answer = rigatoni("state", "clear", "pipeline.toml", orders, "--yes")
    assert answer.returncode == 2
    assert 'type = "file"' in answer.stderr


# --- a pipeline that gets another name


def rename_in_file(name):
    text = Path("pipeline.toml").read_text()
    Path("pipeline.toml").write_text(re.sub(r'name = "\w+"', f'name = "{name}"', text, count=1))


def test_a_renamed_pipeline_is_warned_about_and_continues_after_state_rename(orders, rigatoni, place):
    rename_in_file("q")
    for answer in (rigatoni("validate", "pipeline.toml"), rigatoni("tail", "pipeline.toml", "--limit", "0")):
        assert "Traceback" not in answer.stderr
    validated = rigatoni("validate", "pipeline.toml")
    assert validated.returncode == 0, validated.stderr
    assert 'but positions of "p"' in validated.stderr
    assert "rigatoni state rename FILE OLD NEW" in validated.stderr
    place.orders.insert_many([{"n": n} for n in range(30, 40)])
    answer = rigatoni("state", "rename", "pipeline.toml", "p", "q", "--yes")
    assert answer.returncode == 0, answer.stderr
    assert f"p/{orders} is now q/{orders}" in answer.stdout
    assert 'files of "p" stay in files' in answer.stderr
    assert "but positions of" not in rigatoni("validate", "pipeline.toml").stderr
    place.orders.insert_many([{"n": n} for n in range(40, 50)])
    ran = rigatoni("run", "pipeline.toml", "--once")
    assert ran.returncode == 0, ran.stderr
    assert "but positions of" not in ran.stderr
    assert delivered("lake/p") == list(range(30))
    assert delivered("lake/q") == list(range(30, 50))
    assert shown(rigatoni)["events"] == 50
    assert [(line["pipeline"], line["stream"]) for line in history()] == [("q", orders)]
    again = rigatoni("state", "rename", "pipeline.toml", "p", "q", "--yes")
    assert again.returncode == 2
    assert "has no position of the pipeline p" in again.stderr


def test_run_warns_before_a_renamed_pipeline_starts_fresh_and_its_new_name_is_not_overwritten(orders, rigatoni):
    rename_in_file("q")
    ran = rigatoni("run", "pipeline.toml", "--once")
    assert "but positions of" in ran.stderr
    answer = rigatoni("state", "rename", "pipeline.toml", "p", "q", "--yes")
    assert answer.returncode == 2
    assert "has already run under the new name" in answer.stderr
    rename_in_file("r")
    assert rigatoni("state", "rename", "pipeline.toml", "p", "r", "--yes").returncode == 0
    assert shown(rigatoni)["events"] == 30


def test_a_crash_before_the_last_save_repeats_nothing_under_the_new_name(orders, rigatoni, place):
    saved = rigatoni("state", "export", "pipeline.toml").stdout
    place.orders.insert_many([{"n": n} for n in range(30, 60)])
    assert rigatoni("run", "pipeline.toml", "--once").returncode == 0
    Path("backup.json").write_text(saved)
    assert rigatoni("state", "import", "pipeline.toml", "backup.json", "--yes").returncode == 0  # as if it had died
    rename_in_file("q")
    assert rigatoni("state", "rename", "pipeline.toml", "p", "q", "--yes").returncode == 0
    place.orders.insert_one({"n": 60})
    assert rigatoni("run", "pipeline.toml", "--once").returncode == 0
    assert delivered("lake/p") == list(range(60))
    assert delivered("lake/q") == [60]


def test_a_call_that_was_interrupted_is_repeated(orders, rigatoni):
    before = Path("state").rglob("*.orders.json").__next__().read_bytes()
    rename_in_file("q")
    assert rigatoni("state", "rename", "pipeline.toml", "p", "q", "--yes").returncode == 0
    Path(f"state/p/{orders}.json").write_bytes(before)  # as if it had died before the last step
    answer = rigatoni("state", "rename", "pipeline.toml", "p", "q", "--yes")
    assert answer.returncode == 0, answer.stderr
    assert shown(rigatoni)["events"] == 30


def test_a_rename_needs_the_new_name_in_the_file_and_a_stopped_pipeline(orders, rigatoni, wait_for):
    answer = rigatoni("state", "rename", "pipeline.toml", "p", "q", "--yes")
    assert answer.returncode == 2
    assert "still describes a pipeline p" in answer.stderr
    assert 'name = "q"' in answer.stderr
    command = [sys.executable, "-m", "rigatoni_core.cli", "run", "pipeline.toml", "--log-format", "json"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: shown(rigatoni, "--offline")["holder"])
        rename_in_file("q")
        refused = rigatoni("state", "rename", "pipeline.toml", "p", "q", "--yes")
        assert refused.returncode == 3
        assert f"process {process.pid}" in refused.stderr
        process.terminate()
        process.wait(timeout=30)
