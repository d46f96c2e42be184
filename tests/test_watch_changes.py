"""`watch` widened, narrowed, respelled and back again, with kills in between: every change arrives exactly once."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import zstandard

ONCE = ("run", "pipeline.toml", "--once", "--log-format", "human")


def watch(*names):
    """Change what the file watches."""
    lines = Path("pipeline.toml").read_text().splitlines()
    changed = [f"watch = {json.dumps(names)}" if line.startswith("watch") else line for line in lines]
    Path("pipeline.toml").write_text("\n".join(changed) + "\n")


def delivered():
    """The numbers of all inserts in the lake, of every stream."""
    numbers = []
    files = [Path(folder) / name for folder, _, names in os.walk("lake") for name in names]
    for path in [path for path in files if path.name.endswith(".ndjson.zst") and ".probe" not in str(path)]:
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            events = [json.loads(line) for line in lines]
        numbers += [event["fullDocument"]["n"] for event in events if event["operationType"] == "insert"]
    return sorted(numbers)


def run(rigatoni):
    answer = rigatoni(*ONCE)
    assert answer.returncode == 0, answer.stderr
    return answer.stderr


def insert(collection, *numbers):
    collection.insert_many([{"n": number} for number in numbers])


def test_a_widened_watch_continues_where_the_old_stream_ended(place, rigatoni):
    run(rigatoni)
    insert(place.orders, 1)
    run(rigatoni)
    insert(place.orders, 2, 3, 4)
    watch(f"{place.name}.*")
    answer = rigatoni("validate", "pipeline.toml")
    assert answer.returncode == 0, answer.stderr
    assert f"continues {place.name}.orders" in answer.stdout
    answer = rigatoni(*ONCE)
    assert answer.returncode == 0, answer.stderr
    assert f"continues {place.name}.orders" in answer.stderr
    assert delivered() == [1, 2, 3, 4]
    insert(place.users, 5)
    insert(place.orders, 6)
    answer = rigatoni(*ONCE)
    assert answer.returncode == 0, answer.stderr
    assert delivered() == [1, 2, 3, 4, 5, 6]


def test_widened_narrowed_respelled_and_back_again_and_killed_in_between(place, rigatoni, wait_for):
    name, number, expected = place.name, 0, []
    place.create_collection("ord_1")
    spellings = [
        (f"{name}.ord_1", f"{name}.users"),
        (f"{name}.*",),
        (f"{name}.ord_1", f"{name}.users"),
        (f"{name}.ord*", f"{name}.users"),
        (f"{name}.ord_*", f"{name}.users"),
        (f"{name}.*",),
    ]
    watch(*spellings[0])
    run(rigatoni)
    for spelling in spellings:
        watch(*spelling)
        command = [sys.executable, "-m", "rigatoni_core.cli", *ONCE]
        insert(place.ord_1, *range(number, number + 30))
        insert(place.users, *range(number + 30, number + 60))
        expected += range(number, number + 60)
        number += 60
        before = len(delivered())
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            wait_for(lambda before=before, process=process: len(delivered()) > before or process.poll() is not None)
            process.send_signal(signal.SIGKILL)
        insert(place.users, number)
        expected.append(number)
        number += 1
    run(rigatoni)
    assert delivered() == expected


def test_a_position_that_no_stream_continues_is_warned_about_and_shown(place, rigatoni):
    watch(f"{place.name}.orders", f"{place.name}.users")
    run(rigatoni)
    watch(f"{place.name}.orders")
    warning = f"no longer watches {place.name}.users"
    assert warning in run(rigatoni)
    assert warning in rigatoni("validate", "pipeline.toml").stderr
    assert "not watched" in rigatoni("state", "show", "pipeline.toml").stdout
    watch(f"{place.name}.*")
    assert warning not in run(rigatoni)
