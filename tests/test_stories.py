"""Bad days: somebody who has never seen the tool reads what it says, does that, and is well again.

Each story breaks something, runs the command, takes the way out from its words alone, and proves that nothing was lost.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import bson
import pytest
import zstandard
from bson import DatetimeMS
from pymongo import MongoClient
from rigatoni_mongodb.testing.server import free_port, server_program
from rigatoni_mongodb.testing.wire import Fail, ScriptedServer
from rigatoni_testing.batches import event_document

RUN = ("run", "pipeline.toml", "--once", "--log-format", "human")


def delivered():
    numbers = []
    for path in sorted(Path("lake").rglob("*.ndjson.zst")):
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            events = [json.loads(line) for line in lines]
        numbers += [event["fullDocument"]["n"] for event in events if event["operationType"] == "insert"]
    return numbers


def edit(old, new):
    text = Path("pipeline.toml").read_text()
    assert old in text
    Path("pipeline.toml").write_text(text.replace(old, new))


def said(answer, code):
    """What the command said, once it failed as it should: what happened and what to do, and no stack trace."""
    text = answer.stdout + answer.stderr
    assert answer.returncode == code, text
    assert "what to do: " in text
    assert "Traceback" not in text
    return text


def insert(place, first, last):
    place.orders.insert_many([{"n": n} for n in range(first, last)])


def test_K8_a_wrong_uri(place, rigatoni, monkeypatch):
    right = os.environ["MONGODB_URI"]
    monkeypatch.setenv("MONGODB_URI", right.removeprefix("mongodb://"))
    text = said(rigatoni("validate", "pipeline.toml"), 2)
    assert "pipeline.toml:10: pipeline.source.uri" in text
    (scheme,) = set(re.findall(r"write (mongodb://)", text))
    monkeypatch.setenv("MONGODB_URI", scheme + "127.0.0.1:1/?serverSelectionTimeoutMS=200")
    assert "Check the host and port in the URI" in said(rigatoni("validate", "pipeline.toml"), 3)
    monkeypatch.setenv("MONGODB_URI", right)
    assert rigatoni("validate", "pipeline.toml").returncode == 0


@pytest.fixture(scope="session")
def guarded(tmp_path_factory):
    """A server that asks for passwords, with the users `root` and `reader`; the latter may read nothing yet."""
    if "RIGATONI_TEST_MONGODB_URI" in os.environ:
        pytest.skip("users are made on a server of our own, and RIGATONI_TEST_MONGODB_URI names another one")
    folder, port = tmp_path_factory.mktemp("guarded"), free_port()
    command = [server_program(), "--port", str(port), "--storage-path", str(folder / "data"), "--sync-on-commit"]
    uri = f"mongodb://127.0.0.1:{port}/"

    def start(*more):
        process = subprocess.Popen([*command, *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with MongoClient(uri, serverSelectionTimeoutMS=20_000) as client:
            client.admin.command("ping") if not more else client.admin.command("hello")
        return process

    process = start()
    with MongoClient(uri) as client:
        client.admin.command("createUser", "root", pwd="toor", roles=["root"])
        client.admin.command("createUser", "reader", pwd="sentinel-right", roles=[])
    process.terminate()
    process.wait()
    process = start("--auth")
    yield port
    process.kill()
    process.wait()


def test_K4_a_wrong_password(place, guarded, rigatoni, monkeypatch):
    monkeypatch.setenv("MONGODB_URI", f"mongodb://root:sentinel-wrong@127.0.0.1:{guarded}/")
    text = said(rigatoni(*RUN), 3)
    assert f"127.0.0.1:{guarded}" in text
    assert "Check user name, password and authSource in the URI" in text
    assert "sentinel-wrong" not in text
    monkeypatch.setenv("MONGODB_URI", f"mongodb://root:toor@127.0.0.1:{guarded}/")
    assert rigatoni(*RUN).returncode == 0


def test_A9_a_missing_privilege(place, guarded, rigatoni, monkeypatch):
    monkeypatch.setenv("MONGODB_URI", f"mongodb://reader:sentinel-right@127.0.0.1:{guarded}/")
    text = said(rigatoni("validate", "pipeline.toml"), 3)
    assert f"stream {place.name}.orders" in text
    role, database = re.search(r'grantRolesToUser\("USER", \[\{role: "(\w+)", db: "(\w+)"\}\]\)', text).groups()
    with MongoClient(f"mongodb://root:toor@127.0.0.1:{guarded}/") as client:
        client.admin.command("grantRolesToUser", "reader", roles=[{"role": role, "db": database}])
    answer = rigatoni("validate", "pipeline.toml")
    assert answer.returncode == 0, answer.stderr


@pytest.fixture
def forgetful():
    """A scripted server (no real one forgets its history on demand): it fails as its `script` says."""
    server, ready, done = ScriptedServer(events=[]), threading.Event(), threading.Event()

    async def serve():
        async with server:
            ready.set()
            while not done.is_set():
                await asyncio.sleep(0.05)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    yield server
    done.set()
    thread.join()


def test_F1_a_lost_position(place, forgetful, rigatoni, monkeypatch):
    edit('type = "local"\npath = "lake"', 'type = "stdout"')  # one that knows no position by itself
    monkeypatch.setenv("MONGODB_URI", forgetful.uri)
    assert rigatoni(*RUN).returncode == 0
    forgetful.script = [Fail(286, message="the resume point may no longer be in the oplog")]
    assert "rolled out of the oplog" in said(rigatoni("validate", "pipeline.toml"), 3)
    forgetful.script = [Fail(286)]
    text = said(rigatoni(*RUN), 1)
    assert "rigatoni state show" in text
    (setting,) = set(re.findall(r'on_lost_position = "\w+"', text))
    edit("[pipeline]\n", f"[pipeline]\n{setting}\n")
    forgetful.script = [Fail(286)]
    answer = rigatoni(*RUN)
    assert answer.returncode == 0, answer.stderr
    assert "1 gaps" in answer.stderr
    assert "lost for good" in rigatoni("state", "show", "pipeline.toml").stdout


@pytest.fixture
def small_disk():
    """A file system of 200 kB in the folder `lake`."""
    Path("lake").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", "lake"]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a full disk needs the right to mount a file system of its own")
    yield Path("lake").resolve()
    subprocess.run(["umount", str(Path("lake").resolve())], check=True)


def test_I1_G2_a_full_disk(place, rigatoni, small_disk, wait_for):
    edit(
        "batch_timeout = 0.2",
        "batch_timeout = 0.2\nretry = { max_retries = 1, retry_delay = 0.1, max_retry_delay = 0.3 }",
    )
    (small_disk / "ballast").write_bytes(bytes(150_000))
    with Path("run.log").open("wb") as log:
        command = [sys.executable, "-m", "rigatoni_core.cli", "run", "pipeline.toml", "--log-format", "human"]
        process = subprocess.Popen(command, stderr=log)
    try:
        wait_for(lambda: "starts at" in Path("run.log").read_text())
        place.orders.insert_many([{"n": n, "much": os.urandom(400).hex()} for n in range(200)])
        wait_for(lambda: "worker failing" in Path("run.log").read_text())
        text = Path("run.log").read_text()
        assert "No space left on device" in text
        assert "Free some space" in text
        (small_disk / "ballast").unlink()
        subprocess.run(["mount", "-o", "remount,size=5m", str(small_disk)], check=True)
        wait_for(lambda: len(delivered()) == 200, 60)
    finally:
        process.terminate()
        assert process.wait(timeout=40) == 0
    assert delivered() == list(range(200))


def test_a_full_disk_below_standard_output(place, rigatoni):
    edit('type = "local"\npath = "lake"', 'type = "stdout"')
    assert rigatoni(*RUN).returncode == 0
    insert(place, 0, 5)
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "rigatoni_core.cli", *RUN]
        answer = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert answer.returncode == 1
    assert "No space left on device" in answer.stderr
    assert "what to do: Restart to resume where this run ended; nothing is lost" in answer.stderr
    assert len(zstandard_lines(subprocess.run(command, capture_output=True, timeout=60).stdout)) == 5


def zstandard_lines(content):
    with zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True) as reader:
        return reader.read().splitlines()


def test_J2_a_deleted_state(place, rigatoni):
    assert rigatoni(*RUN).returncode == 0
    insert(place, 0, 20)
    assert rigatoni(*RUN).returncode == 0
    shutil.rmtree("state")
    insert(place, 20, 30)
    shown = rigatoni("state", "show", "pipeline.toml")
    assert "starts at the destination's position" in shown.stdout
    answer = rigatoni(*RUN)
    assert answer.returncode == 0
    assert "resumes from" in answer.stderr
    assert delivered() == list(range(30))


def test_A7_a_renamed_collection(place, rigatoni):
    assert rigatoni(*RUN).returncode == 0
    insert(place, 0, 10)
    place.orders.rename("archive")
    place.archive.insert_one({"n": 10})
    answer = rigatoni(*RUN)
    assert answer.returncode == 0
    assert "dropped or renamed" in answer.stderr
    assert "add its new name to watch" in answer.stderr
    name = f"{place.name}.orders"
    edit(f'"{name}"', f'"{name}", "{place.name}.archive"')
    assert rigatoni(*RUN).returncode == 0
    place.archive.insert_one({"n": 11})
    place.orders.insert_one({"n": 12})
    assert rigatoni(*RUN).returncode == 0
    assert sorted(delivered()) == [*range(10), 11, 12]


def test_A12_a_changed_filter(place, rigatoni):
    assert rigatoni(*RUN).returncode == 0
    insert(place, 0, 20)
    assert rigatoni(*RUN).returncode == 0
    edit("max_await_time", 'pipeline = [{ "$match" = { "fullDocument.n" = { "$gte" = 25 } } }]\nmax_await_time')
    checked = rigatoni("validate", "pipeline.toml")
    assert checked.returncode == 0
    assert "has changed since" in checked.stdout
    assert "drops every delete" in checked.stderr
    assert "changed to" in rigatoni("state", "show", "pipeline.toml").stdout
    insert(place, 20, 30)
    assert rigatoni(*RUN).returncode == 0
    assert delivered() == [*range(20), *range(25, 30)]


def test_K6_a_clashing_plugin(place, rigatoni, tmp_path, monkeypatch):
    shutil.copytree(Path(__file__).parent / "plugins", tmp_path / "installed")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "installed"))
    text = said(rigatoni(*RUN), 2)
    assert "pipeline.toml:15: pipeline.destination.type" in text
    choice = re.search(r'type = "local/local"', text)[0]
    edit('type = "local"', choice)
    assert rigatoni(*RUN).returncode == 0


def test_F4_garbage_in_the_state_folder(place, rigatoni):
    assert rigatoni(*RUN).returncode == 0
    edit('type = "local"\npath = "lake"', 'type = "stdout"')
    (record,) = Path("state").rglob("*.orders.json")
    record.write_bytes(b"\x00garbage")
    text = said(rigatoni("validate", "pipeline.toml"), 3)
    assert str(record) in text
    said(rigatoni(*RUN), 1)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    time.sleep(1.1)
    answer = rigatoni("state", "set", "pipeline.toml", f"{place.name}.orders", "--at", now, "--yes")
    assert answer.returncode == 0, answer.stderr
    assert rigatoni(*RUN).returncode == 0


def test_C6_a_date_beyond_the_year_9999_stops_nothing(place, forgetful, rigatoni, monkeypatch):
    monkeypatch.setenv("MONGODB_URI", forgetful.uri)
    edit(f'"{place.name}.orders"', '"shop.orders"')
    when = DatetimeMS(400_000_000_000_000)  # the server of the other tests would refuse to take it
    beyond = event_document(0, fullDocument={"_id": 1, "when": when})
    forgetful.events = [bson.encode(beyond), bson.encode(event_document(1))]
    answer = rigatoni(*RUN, "--set", "source.start_at=2020-01-01T00:00:00Z")
    assert answer.returncode == 0, answer.stderr
    (path,) = Path("lake").rglob("*.ndjson.zst")
    with zstandard.open(path, "rt", encoding="utf-8") as lines:
        first, _ = lines
    assert json.loads(first)["fullDocument"]["when"] == {"$date": {"$numberLong": "400000000000000"}}


def test_a_wrong_file(place, rigatoni):
    assert "rigatoni init" in said(rigatoni("run", "pipelin.toml"), 2)
    Path("pipeline.toml").write_text("[pipeline\nname = 1")
    assert "line 1" in said(rigatoni("run", "pipeline.toml"), 2)
    Path("pipeline.toml").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in said(rigatoni("run", "pipeline.toml"), 2)


def test_K6_a_broken_plugin(place, rigatoni, tmp_path, monkeypatch):
    shutil.copytree(Path(__file__).parent / "plugins", tmp_path / "installed")
    (tmp_path / "installed" / "rigatoni_clash.py").write_text("import something_that_is_not_installed")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "installed"))
    assert rigatoni(*RUN).returncode == 0  # it harms nobody who does not use it
    edit('type = "local"', 'type = "clash"')
    text = said(rigatoni(*RUN), 2)
    assert "something_that_is_not_installed" in text
    (module,) = set(re.findall(r"pip install --force-reinstall (\S+?)\.?\s", text))
    assert module == "rigatoni-clash"
    assert rigatoni("plugins", "check", "clash").returncode == 2
