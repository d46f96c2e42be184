"""Dead letters as a user meets them: real processes, a real server, real files; killed at every step.

No event of a real server is poison to a format that takes everything, so the process's serializer is made picky: it
refuses the inserts with `n % 7 == 3`. This is the only thing here that is not as users have it.
"""

import base64
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import bson
import pytest
import zstandard
from pymongo import MongoClient
from rigatoni_mongodb.testing.server import mongodb_server

CONFIGURATION = """\
[pipeline]
name = "p"
batch_size = 20
batch_timeout = 0.2

[pipeline.source]
type = "mongodb"
uri = {{ env = "MONGODB_URI" }}
watch = ["{database}.orders"]
max_await_time = 0.1

[pipeline.destination]
type = "local"
path = "lake"
serializer = {{ type = "zstd", inner = {{ type = "json" }} }}

[pipeline.dead_letters]
type = "local"
path = "letters"
serializer = {{ type = "gzip", inner = {{ type = "json" }} }}

[pipeline.state]
type = "file"
path = "state"
"""

PICKY = """
import os, sys
import rigatoni_json.serializer as s
from rigatoni_core.errors import RejectedEventsError
real = s.JsonSerializer.serialize
def picky(self, events):
    bad = {i: ValueError("private %s" % os.environ["MONGODB_URI"]) for i, event in enumerate(events)
           if (event.full_document or {}).get("n", 0) % 7 == 3}
    if bad:
        raise RejectedEventsError(bad)
    return real(self, events)
s.JsonSerializer.serialize = picky
real_link = os.link
links = []
def link(*a, **k):
    links.append(1)
    if len(links) == DEATH:
        os.kill(os.getpid(), 9)
    real_link(*a, **k)
    if len(links) == -DEATH:
        os.kill(os.getpid(), 9)
os.link = link
from rigatoni_core.cli import main
sys.argv = ["rigatoni", *sys.argv[1:]]
main()
"""

POISON = [n for n in range(50) if n % 7 == 3]
GOOD = [n for n in range(50) if n % 7 != 3]


@pytest.fixture(scope="module")
def mongodb_uri(tmp_path_factory):
    with mongodb_server(tmp_path_factory.mktemp("mongodb") / "data") as uri:
        yield uri


@pytest.fixture
def orders(tmp_path, mongodb_uri, monkeypatch, request):
    """A folder with a pipeline file that has run once, and the collection that it watches, with 50 inserts."""
    database = f"dlq{abs(hash(request.node.name)) % 10**8}"
    (tmp_path / "pipeline.toml").write_text(CONFIGURATION.format(database=database))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONGODB_URI", mongodb_uri)
    assert rigatoni("run", "pipeline.toml", "--once").returncode == 0
    with MongoClient(mongodb_uri) as client:
        client[database].orders.insert_many([{"n": n} for n in range(50)])
        yield client[database].orders
        client.drop_database(database)


def rigatoni(*arguments, picky=False, death=0):
    """The command; with `death` the process kills itself right before its n-th link, or (negative) right after it."""
    start = ["-c", PICKY.replace("DEATH", str(death))] if picky else ["-m", "rigatoni_core.cli"]
    return subprocess.run([sys.executable, *start, *arguments], capture_output=True, text=True, timeout=60)


def delivered(pipeline="p"):
    """The numbers of all inserts in the files of the destination, in the order of their names."""
    numbers = []
    for path in sorted(Path("lake", pipeline).rglob("*.ndjson.zst")):
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            numbers += [json.loads(line)["fullDocument"]["n"] for line in lines]
    return numbers


def letters():
    answer = rigatoni("dlq", "list", "pipeline.toml", "--json")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def number_of(letter):
    """Which insert a letter is about, from its raw event."""
    shown = json.loads(rigatoni("dlq", "show", "pipeline.toml", letter["id"], "--json").stdout)
    return bson.decode(base64.b64decode(shown["event"]))["fullDocument"]["n"]


def test_D5_dead_letters_are_listed_shown_and_replayed(orders):
    answer = rigatoni("run", "pipeline.toml", "--once", picky=True)
    assert answer.returncode == 0, answer.stderr
    assert f"{len(POISON)} rejected" in answer.stderr
    assert delivered() == GOOD
    kept = letters()
    assert [number_of(letter) for letter in kept] == POISON
    assert {(letter["status"], letter["error_id"], letter["namespace"]) for letter in kept} == {
        ("waiting", "ValueError", orders.full_name)
    }
    raw = subprocess.run(
        [sys.executable, "-m", "rigatoni_core.cli", "dlq", "show", "pipeline.toml", kept[0]["id"][:10], "--raw"],
        capture_output=True,
        check=True,
    ).stdout
    assert bson.decode(raw)["fullDocument"] == orders.find_one({"n": 3})

    plan = rigatoni("dlq", "replay", "pipeline.toml")
    assert f"would write {len(POISON)} events" in plan.stderr
    assert delivered("p.replayed") == []
    again = rigatoni("dlq", "replay", "pipeline.toml", "--yes", picky=True)  # the cause is still there
    assert (again.returncode, delivered("p.replayed")) == (1, [])
    one = rigatoni("dlq", "replay", "pipeline.toml", kept[2]["id"], "--yes")
    assert one.returncode == 0, one.stderr
    assert delivered("p.replayed") == [POISON[2]]
    assert rigatoni("dlq", "replay", "pipeline.toml", "--yes").returncode == 0
    assert delivered("p.replayed") == POISON
    assert {letter["status"] for letter in letters()} == {"replayed"}
    assert "would write 0 events" in rigatoni("dlq", "replay", "pipeline.toml").stderr
    assert rigatoni("dlq", "replay", "pipeline.toml", *(letter["id"] for letter in kept), "--yes").returncode == 0
    assert delivered("p.replayed") == POISON
    assert delivered() == GOOD


def test_D5_G7_killed_before_and_after_each_file_every_poison_is_one_letter(orders):
    for death in (number * sign for number in range(1, 12) for sign in (1, -1)):
        died = rigatoni("run", "pipeline.toml", "--once", picky=True, death=death)
        if died.returncode == 0:
            break
        assert died.returncode == -9, died.stderr
    answer = rigatoni("run", "pipeline.toml", "--once", picky=True)
    assert answer.returncode == 0, answer.stderr
    assert delivered() == GOOD
    assert [number_of(letter) for letter in letters()] == POISON


def test_D5_a_replay_killed_before_and_after_each_file_delivers_each_event_once(orders):
    assert rigatoni("run", "pipeline.toml", "--once", picky=True).returncode == 0
    healthy = PICKY.replace("s.JsonSerializer.serialize = picky", "")
    for death in (1, -1, 2, -2, 3, -3, 4, -4, 5, -5):
        command = [sys.executable, "-c", healthy.replace("DEATH", str(death))]
        died = subprocess.run([*command, "dlq", "replay", "pipeline.toml", "--yes"], capture_output=True, timeout=60)
        if died.returncode == 0:
            break
        assert died.returncode == -9, died.stderr.decode()
    assert rigatoni("dlq", "replay", "pipeline.toml", "--yes").returncode == 0
    assert Counter(delivered("p.replayed")) == Counter(POISON)
    assert {letter["status"] for letter in letters()} == {"replayed"}


def test_D8_a_stream_full_of_poison_stops_and_says_why(orders):
    text = Path("pipeline.toml").read_text().replace("[pipeline.source]", "max_rejected = 2\n\n[pipeline.source]")
    Path("pipeline.toml").write_text(text)
    answer = rigatoni("run", "pipeline.toml", "--once", picky=True)
    assert answer.returncode == 1
    assert "max_rejected = 2" in answer.stderr
    assert "rigatoni dlq list" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert letters() == []


def test_D6_dead_letters_that_can_not_be_written_stop_the_worker_before_its_batch(orders):
    for path in Path("letters").glob("*"):
        path.rename(path.with_suffix(".away"))
    Path("letters/p.dead-letters").write_text("a file where a folder should be")
    answer = rigatoni("run", "pipeline.toml", "--once", picky=True)
    assert answer.returncode == 1
    assert "p.dead-letters" in answer.stderr
    assert delivered() == []
    Path("letters/p.dead-letters").unlink()
    assert rigatoni("run", "pipeline.toml", "--once", picky=True).returncode == 0
    assert delivered() == GOOD
    assert [number_of(letter) for letter in letters()] == POISON


def test_K3_neither_secrets_nor_documents_get_into_logs_and_no_secret_into_letters(orders, monkeypatch):
    uri = os.environ["MONGODB_URI"]
    separator = "&" if "?" in uri else "?"
    monkeypatch.setenv("MONGODB_URI", f"{uri}{separator}appName=x&sentinelpassword=sentinel-secret")
    answer = rigatoni("run", "pipeline.toml", "--once", "--log-level", "debug", picky=True)
    assert answer.returncode == 0, answer.stderr
    assert "private" not in answer.stderr
    listed = letters()
    shown = rigatoni("dlq", "show", "pipeline.toml", listed[0]["id"]).stdout
    assert "private" in shown
    everything = answer.stderr + json.dumps(listed) + shown
    for path in Path().rglob("*.gz"):
        import gzip

        everything += gzip.decompress(path.read_bytes()).decode()
    assert "private" in everything
    assert "sentinel-secret" not in everything


def test_without_a_place_for_dead_letters_there_are_none_to_list(orders):
    text = Path("pipeline.toml").read_text()
    start, end = text.index("[pipeline.dead_letters]"), text.index("[pipeline.state]")
    Path("pipeline.toml").write_text(text[:start] + text[end:])
    answer = rigatoni("dlq", "list", "pipeline.toml")
    assert answer.returncode == 2
    assert "[pipeline.dead_letters]" in answer.stderr
    stopped = rigatoni("run", "pipeline.toml", "--once", picky=True)
    assert stopped.returncode == 1
    assert "[pipeline.dead_letters]" in stopped.stderr
    assert delivered() == []
