"""The command as a user types it, in processes of its own, against a real server, killed at every step."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zstandard

DIE = """
import os, sys
{patch}
from rigatoni_core.cli import main
sys.argv = ["rigatoni", "run", "pipeline.toml", "--once"]
main()
"""

STEPS = {
    "after reading": (
        "import rigatoni_core.engine.delivery as d; d.Delivery.__call__ = lambda *_, **__: os.kill(os.getpid(), 9)"
    ),
    "while serialising": (
        "import rigatoni_json.serializer as s; s.JsonSerializer.pieces = lambda *_, **__: os.kill(os.getpid(), 9)"
    ),
    "before the object": "import rigatoni_local.files as f; f.os.link = lambda *a, **k: os.kill(os.getpid(), 9)",
    "after the first link": (
        "import os as o; real = o.link\ncount = []\n"
        "def link(*a, **k):\n    real(*a, **k); count.append(1)\n    len(count) > {n} and o.kill(o.getpid(), 9)\n"
        "o.link = link"
    ),
    "before the checkpoint": (
        "from rigatoni_core.engine.checkpoint import CheckpointKeeper as Keeper\n"
        "Keeper.advance = lambda *_, **__: os.kill(os.getpid(), 9)"
    ),
    "during the checkpoint": (
        "from pathlib import Path; real = Path.replace; count = []\n"
        "def replace(*a):\n    count.append(1)\n    len(count) > 1 and os.kill(os.getpid(), 9)\n    return real(*a)\n"
        "Path.replace = replace"
    ),
}


def rigatoni(*arguments):
    command = [sys.executable, "-m", "rigatoni_core.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def delivered():
    """The numbers of all inserts in the files, in the order of the objects' names."""
    numbers = []
    for path in sorted(Path("lake").rglob("*.ndjson.zst")):
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            numbers += [json.loads(line)["fullDocument"]["n"] for line in lines]
    return numbers


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_A2_Z1_run_stop_write_run_and_the_state_is_shown(place):
    assert rigatoni("run", "pipeline.toml", "--once").returncode == 0
    place.orders.insert_many([{"n": n} for n in range(50)])
    answer = rigatoni("run", "pipeline.toml", "--once")
    assert answer.returncode == 0, answer.stderr
    assert delivered() == list(range(50))
    shown = json.loads(rigatoni("state", "show", "pipeline.toml", "--json").stdout)
    assert shown[0]["events"] == 50
    assert "guarantee: exactly once in effect" in answer.stderr


@pytest.mark.parametrize("step", STEPS)
def test_G7_killed_at_each_step_nothing_is_lost_or_repeated(place, step):
    assert rigatoni("run", "pipeline.toml", "--once").returncode == 0
    place.orders.insert_many([{"n": n} for n in range(50)])
    for number in range(3):
        patch = STEPS[step].replace("{n}", str(number))
        died = subprocess.run([sys.executable, "-c", DIE.replace("{patch}", patch)], capture_output=True, timeout=60)
        assert died.returncode == -9, died.stderr.decode()[-2000:]
    place.orders.insert_many([{"n": n} for n in range(50, 70)])
    answer = rigatoni("run", "pipeline.toml", "--once")
    assert answer.returncode == 0, answer.stderr
    assert delivered() == list(range(70))


def test_G6_sigterm_finishes_the_batch_saves_and_ends_with_zero(place):
    command = [sys.executable, "-m", "rigatoni_core.cli", "run", "pipeline.toml", "--log-format", "json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        wait_for(lambda: list(Path("state").rglob("*.json")))
        place.orders.insert_many([{"n": n} for n in range(30)])
        wait_for(lambda: len(delivered()) >= 20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    assert rigatoni("run", "pipeline.toml", "--once").returncode == 0
    assert delivered() == list(range(30))


def test_G6_a_hung_destination_is_abandoned_at_the_limit_and_a_second_signal_ends_at_once(place):
    assert rigatoni("run", "pipeline.toml", "--once").returncode == 0
    place.orders.insert_many([{"n": n} for n in range(30)])
    hang = "import rigatoni_json.serializer as s, time; s.JsonSerializer.pieces = lambda *_: time.sleep(1000)"
    code = DIE.replace("{patch}", hang).replace(', "--once"', "")
    for signals, limit in ((1, 15.0), (2, 9.0)):
        with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as process:
            time.sleep(6)  # started, and inside the hung write
            started = time.monotonic()
            for _ in range(signals):
                process.send_signal(signal.SIGTERM)
                time.sleep(0.3)
            assert process.wait(timeout=30) == 4
            assert time.monotonic() - started < limit
    assert delivered() == []
    assert rigatoni("run", "pipeline.toml", "--once").returncode == 0
    assert delivered() == list(range(30))


def test_F2_F4_garbage_in_the_state_is_refused_and_untouched_where_only_the_state_knows_the_position(place):
    text = Path("pipeline.toml").read_text().replace('type = "local"\npath = "lake"', 'type = "stdout"')
    Path("pipeline.toml").write_text(text)
    assert rigatoni("run", "pipeline.toml", "--once").returncode == 0
    (record,) = Path("state").rglob("*.orders.json")
    record.write_bytes(b"garbage")
    answer = rigatoni("run", "pipeline.toml", "--once")
    assert answer.returncode == 1
    assert "on_lost_position" in answer.stderr
    assert record.read_bytes() == b"garbage"
    assert "Traceback" not in answer.stderr


def test_F4_garbage_in_the_state_is_copied_and_the_stream_resumes_from_the_files(place):
    assert rigatoni("run", "pipeline.toml", "--once").returncode == 0
    place.orders.insert_many([{"n": n} for n in range(30)])
    assert rigatoni("run", "pipeline.toml", "--once").returncode == 0
    (record,) = Path("state").rglob("*.orders.json")
    record.write_bytes(b"garbage")
    place.orders.insert_many([{"n": n} for n in range(30, 45)])
    answer = rigatoni("run", "pipeline.toml", "--once")
    assert answer.returncode == 0, answer.stderr
    assert delivered() == list(range(45))
    assert record.with_name(record.name + ".corrupt-1").read_bytes() == b"garbage"


def test_J2_the_state_is_deleted_and_the_stream_resumes_from_the_files(place):
    assert rigatoni("run", "pipeline.toml", "--once").returncode == 0
    place.orders.insert_many([{"n": n} for n in range(30)])
    assert rigatoni("run", "pipeline.toml", "--once").returncode == 0
    for record in Path("state").rglob("*.json"):
        record.unlink()
    place.orders.insert_many([{"n": n} for n in range(30, 45)])
    answer = rigatoni("run", "pipeline.toml", "--once")
    assert answer.returncode == 0, answer.stderr
    assert delivered() == list(range(45))


def test_K3_K4_a_wrong_password_names_the_host_and_never_the_secret(place, monkeypatch):
    uri = os.environ["MONGODB_URI"].replace("mongodb://", "mongodb://user:sentinel-secret@")
    monkeypatch.setenv("MONGODB_URI", uri)
    for command in (["validate", "pipeline.toml"], ["run", "pipeline.toml", "--once"]):
        answer = rigatoni(*command)
        assert answer.returncode == 3
        assert "127.0.0.1" in answer.stderr
        assert "sentinel-secret" not in answer.stdout + answer.stderr
        assert "Traceback" not in answer.stderr


def test_validate_prints_streams_guarantee_and_conditions(place):
    answer = rigatoni("validate", "pipeline.toml", "--json")
    assert answer.returncode == 0, answer.stderr
    (result,) = json.loads(answer.stdout)["pipelines"]
    assert result["guarantee"] == "exactly once in effect"
    assert result["conditions"]
