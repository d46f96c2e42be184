"""Dead letters as a user meets them: real processes, a real server, real files; killed at every step.

No event of a real server is poison to a format that takes everything, so the process's serializer is made picky: it
refuses the inserts with `n % 7 == 3`. This is the only thing here that is not as users have it.
"""

import asyncio
import base64
import csv
import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import bson
import fastavro
import pyarrow.parquet
import pytest
import zstandard
from bson import json_util
from pymongo import MongoClient
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.dead_letters import DeadLetter, kept_letters
from rigatoni_core.api.options import Secret
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.config import load
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_core.plugins.catalog import Catalog
from rigatoni_mongodb.change_stream import DECODER
from rigatoni_mongodb.testing.server import mongodb_server
from rigatoni_mongodb.testing.wire import ScriptedServer
from rigatoni_testing.batches import START, STREAM, batch_of, event_document

CONFIGURATION = """\
[pipeline]
name = "p"
batch_size = 10
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
from rigatoni_core.api.errors import RejectedEventsError
real = s.JsonSerializer.pieces
def picky(self, events):
    bad = {i: ValueError("private %s" % os.environ["MONGODB_URI"]) for i, event in enumerate(events)
           if (event.full_document or {}).get("n", 0) % 7 == 3}
    if bad:
        raise RejectedEventsError(bad)
    return real(self, events)
if PICKS:
    s.JsonSerializer.pieces = picky
real_link = os.link
def link(source, target):
    real_link(source, target)
    if ".probe-" not in str(target):
        os.kill(os.getpid(), 9)
if DIES:
    os.link = link
from rigatoni_core.cli import main
sys.argv = ["rigatoni", *sys.argv[1:]]
main()
"""

POISON = [n for n in range(20) if n % 7 == 3]
GOOD = [n for n in range(20) if n % 7 != 3]


@pytest.fixture(scope="module")
def mongodb_uri(tmp_path_factory):
    with mongodb_server(tmp_path_factory.mktemp("mongodb") / "data") as uri:
        yield uri


@pytest.fixture
def orders(tmp_path, mongodb_uri, monkeypatch, request):
    """A folder with a pipeline file that has run once, and the collection that it watches, with 20 inserts."""
    database = f"dlq{abs(hash(request.node.name)) % 10**8}"
    (tmp_path / "pipeline.toml").write_text(CONFIGURATION.format(database=database))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONGODB_URI", mongodb_uri)
    assert rigatoni("run", "pipeline.toml", "--once").returncode == 0
    with MongoClient(mongodb_uri) as client:
        client[database].orders.insert_many([{"n": n} for n in range(20)])
        yield client[database].orders
        client.drop_database(database)


def rigatoni(*arguments, picky=False, dies=False):
    """The command; where it `dies` the process kills itself as soon as it has given a file its name."""
    code = PICKY.replace("DIES", str(dies)).replace("PICKS", str(picky))
    start = ["-c", code] if picky or dies else ["-m", "rigatoni_core.cli"]
    return subprocess.run([sys.executable, *start, *arguments], capture_output=True, text=True, timeout=60)


def deaths_of(*arguments, picky=False):
    """How often the command dies, each time one file further, until it ends well."""
    for deaths in range(40):
        answer = rigatoni(*arguments, picky=picky, dies=True)
        if answer.returncode != -9:
            assert answer.returncode == 0, answer.stderr
            return deaths
    raise AssertionError("it makes no progress")


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


def poison_of(status):
    """Which inserts the letters with this status are about, from their raw events."""

    async def read():
        configuration = load(Path("pipeline.toml"), Catalog.discover())
        async with configuration.dead_letters as kept:
            return [
                bson.decode(letter.event)["fullDocument"]["n"]
                async for letter, replayed in kept_letters(kept, configuration.name)
                if replayed == (status == "replayed")
            ]

    return asyncio.run(read())


def test_D5_dead_letters_are_listed_shown_and_replayed(orders):
    answer = rigatoni("run", "pipeline.toml", "--once", picky=True)
    assert answer.returncode == 0, answer.stderr
    assert f"{len(POISON)} rejected" in answer.stderr
    assert delivered() == GOOD
    kept = letters()
    assert poison_of("waiting") == POISON
    assert {(letter["status"], letter["error_id"], letter["namespace"]) for letter in kept} == {
        ("waiting", "ValueError", orders.full_name)
    }
    shown = json.loads(rigatoni("dlq", "show", "pipeline.toml", kept[0]["id"], "--json").stdout)
    raw = subprocess.run(
        [sys.executable, "-m", "rigatoni_core.cli", "dlq", "show", "pipeline.toml", kept[0]["id"][:10], "--raw"],
        capture_output=True,
        check=True,
    ).stdout
    assert bson.decode(raw)["fullDocument"] == orders.find_one({"n": 3})
    assert base64.b64decode(shown["event"]) == raw
    assert shown["error"].startswith("ValueError: private")

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


def test_D5_G7_killed_after_each_file_every_poison_is_one_letter(orders):
    deaths = deaths_of("run", "pipeline.toml", "--once", picky=True)
    assert deaths == 1 + 2 * len(POISON) + 2 * 2  # the definition, letters and batches with their records
    assert delivered() == GOOD
    assert poison_of("waiting") == POISON


def test_D5_a_replay_killed_after_each_file_delivers_each_event_once(orders):
    assert rigatoni("run", "pipeline.toml", "--once", picky=True).returncode == 0
    deaths = deaths_of("dlq", "replay", "pipeline.toml", "--yes")
    assert deaths == 2 * (1 + 2 * len(POISON))  # events and marks, each with a definition and records
    assert delivered("p.replayed") == POISON
    assert poison_of("replayed") == POISON


def test_D8_a_stream_full_of_poison_stops_and_says_why(orders):
    text = Path("pipeline.toml").read_text().replace("[pipeline.source]", "max_rejected = 1\n\n[pipeline.source]")
    Path("pipeline.toml").write_text(text)
    answer = rigatoni("run", "pipeline.toml", "--once", picky=True)
    assert answer.returncode == 1
    assert "max_rejected = 1" in answer.stderr
    assert "rigatoni dlq list" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert poison_of("waiting") == POISON[:1]  # of the first batch; the second has too many
    assert delivered() == [n for n in GOOD if n < 10]


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
    assert poison_of("waiting") == POISON


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
        everything += gzip.decompress(path.read_bytes()).decode()
    assert "private" in everything
    assert "sentinel-secret" not in everything


def test_letters_of_another_serializer_are_told_and_nothing_is_replayed_on_a_guess(orders):
    assert rigatoni("run", "pipeline.toml", "--once", picky=True).returncode == 0
    other = ("--set", "dead_letters.serializer.inner.type=csv")
    for command in (["list"], ["replay", "--yes"]):
        answer = rigatoni("dlq", command[0], "pipeline.toml", *command[1:], *other)
        assert answer.returncode == 3
        assert "cannot read" in answer.stderr
        assert "no dead letters" not in answer.stdout
    assert delivered("p.replayed") == []
    assert "waiting" in rigatoni("dlq", "list", "pipeline.toml").stdout


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


def damaged(number):
    """An insert whose document was damaged on its way: a text that says it has more bytes than there are."""
    raw = bytearray(bson.encode(event_document(number, fullDocument={"_id": number, "text": "some text"})))
    place = raw.index(b"text\0") + 5
    raw[place : place + 4] = (2**30).to_bytes(4, "little")
    return bytes(raw)


@pytest.mark.parametrize("name", ["json", "csv", "avro", "parquet"])
async def test_D5_damaged_bytes_from_the_wire_are_one_letter_whatever_the_format(tmp_path, name):
    events = [damaged(number) if number in (3, 7) else bson.encode(event_document(number)) for number in range(10)]
    catalog = Catalog.discover()
    local, serializer = catalog.get("destination", "local"), catalog.get("serializer", name)
    kept = local(path=tmp_path / "letters", serializer=catalog.get("serializer", "json")())
    source = catalog.get("source", "mongodb")
    async with ScriptedServer(events=events) as server:
        running = Pipeline(
            name="p",
            source=source(uri=Secret(server.uri), watch=("shop.orders",), start_at="2020-01-01T00:00:00Z"),
            destination=local(path=tmp_path / "lake", serializer=serializer()),
            state=MemoryStateStore(),
            dead_letters=kept,
        )
        report = await running.run(once=True)
    assert report.ok, report
    total = running.statistics.total
    assert (total.events, total.rejected, total.dead_letters) == (8, 2, 2)
    async with kept:
        letters = [letter async for letter, _ in kept_letters(kept, "p")]
    assert [letter.event for letter in letters] == [events[3], events[7]]
    assert {(letter.plugin, letter.error_id) for letter in letters} == {("rigatoni_bson", "malformed-event")}


@pytest.mark.parametrize("name", ["csv", "avro", "parquet"])
def test_every_format_carries_dead_letters_whole(name):
    raw = damaged(3)
    batch = EventBatch.from_reply(START, STREAM, memoryview(raw), (0, len(raw)), DECODER)
    letter = DeadLetter.of(batch, 0, ValueError("no"), plugin="acme", attempt=1, redact=str)
    content = Catalog.discover().get("serializer", name)().serialize(batch_of([letter.document(DECODER)]))
    if name == "csv":
        (row,) = csv.DictReader(io.StringIO(bytes(content).decode()))
    elif name == "avro":
        (row,) = fastavro.reader(io.BytesIO(content))
    else:
        (row,) = pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()
    assert DeadLetter.read(json_util.loads(row["unknown_fields"])) == letter
