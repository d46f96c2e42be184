"""A running process as its operator sees it: status, reload, several pipelines; and looking on without a trace."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import zstandard
from rigatoni_testing.proxy import TcpProxy

RUN = [sys.executable, "-m", "rigatoni_core.cli", "run"]


def delivered(folder="lake"):
    numbers = []
    for path in sorted(Path(folder).rglob("*.ndjson.zst")):
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            numbers += [json.loads(line)["fullDocument"]["n"] for line in lines]
    return numbers


@pytest.fixture(autouse=True)
def runtime(tmp_path, monkeypatch):
    """Status sockets of this test alone; a path to a socket must be short."""
    with tempfile.TemporaryDirectory(prefix="rig-") as folder:
        monkeypatch.setenv("RIGATONI_RUNTIME_DIR", f"{folder}/run")
        yield Path(folder) / "run"


def _hear_of_hangups():
    """Also where these tests run under nohup, whose children ignore the signal."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@contextmanager
def running(file="pipeline.toml", *more):
    """The command in the background, its log in run.log; stopped at the end."""
    with Path("run.log").open("wb") as log:
        command = [*RUN, file, "--log-format", "json", *more]
        process = subprocess.Popen(command, stderr=log, stdout=log, preexec_fn=_hear_of_hangups)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=40)


def log():
    return Path("run.log").read_text()


def ask(rigatoni, *arguments):
    return json.loads(rigatoni("status", *arguments, "--json").stdout)


def test_status_shows_running_processes_and_exits_with_3_without_any(place, rigatoni, wait_for, runtime):
    assert rigatoni("status").returncode == 3
    with running() as process:
        wait_for(lambda: "starts at" in log())
        place.orders.insert_many([{"n": n} for n in range(25)])
        wait_for(lambda: ask(rigatoni)[0]["pipelines"][0]["streams"][0]["events"] == 25)
        (answer,) = ask(rigatoni, "pipeline.toml")
        assert answer["pid"] == process.pid
        (stream,) = answer["pipelines"][0]["streams"]
        assert (stream["name"], stream["state"]) == (f"{place.name}.orders", "running")
        assert stream["checkpoint_age"] < 60
        shown = rigatoni("status", "pipeline.toml")
        assert f"p/{place.name}.orders" in shown.stdout
        assert ask(rigatoni, "another.toml") == []
        assert (runtime.stat().st_mode & 0o777) == 0o700
        process.kill()  # without a word: its socket stays behind
        process.wait()
        assert list(runtime.iterdir())
        assert rigatoni("status").returncode == 3
        assert list(runtime.iterdir()) == []


def test_status_reports_processes_that_do_not_respond(place, rigatoni, wait_for):
    with running() as process:
        wait_for(lambda: "starts at" in log())
        process.send_signal(signal.SIGSTOP)
        try:
            answer = rigatoni("status")
        finally:
            process.send_signal(signal.SIGCONT)
    assert answer.returncode == 3
    assert f"process {process.pid} does not respond" in answer.stderr


def test_hangup_reads_the_file_again_and_resumes_without_loss(place, rigatoni, wait_for):
    with running() as process:
        wait_for(lambda: "starts at" in log())
        place.orders.insert_many([{"n": n} for n in range(30)])
        wait_for(lambda: len(delivered()) == 30)
        text = Path("pipeline.toml").read_text()
        Path("pipeline.toml").write_text(text.replace("batch_size = 20", "batch_size = 0"))
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "reload rejected" in log())
        assert "batch_size" in log()
        Path("pipeline.toml").write_text(text.replace('path = "state"', 'path = "elsewhere"'))
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "its state store has changed" in log())
        Path("pipeline.toml").write_text(text.replace("batch_size = 20", "batch_size = 7"))
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "resumes from" in log())
        place.orders.insert_many([{"n": n} for n in range(30, 60)])
        wait_for(lambda: len(delivered()) == 60)
        assert delivered() == list(range(60))
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGHUP)
        process.terminate()  # while it stops to start again: it stays stopped, gracefully
        assert process.wait(timeout=40) == 0


def test_credentials_that_rotate_are_read_again_on_sighup(place, rigatoni, wait_for, mongodb_uri):
    """Here with the whole URI in a file, which is where its password is."""
    text = Path("pipeline.toml").read_text().replace('{ env = "MONGODB_URI" }', '{ file = "uri" }')
    Path("pipeline.toml").write_text(text)
    Path("uri").write_text(mongodb_uri)
    with running() as process:
        wait_for(lambda: "starts at" in log())
        Path("uri").write_text(f"{mongodb_uri}?appName=rotated&tlsCAFile=nowhere")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "reload rejected" in log() and "tlscafile" in log())  # a mistake changes nothing
        place.orders.insert_one({"n": 0})
        wait_for(lambda: delivered() == [0])
        Path("uri").write_text(f"{mongodb_uri}?appName=rotated")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "resumes from" in log())
        place.orders.insert_one({"n": 1})
        wait_for(lambda: delivered() == [0, 1])


@pytest.fixture
def gate(mongodb_uri):
    """A way to the server that can be closed."""
    with TcpProxy("127.0.0.1", urlsplit(mongodb_uri).port) as proxy:
        yield proxy


def through(gate):
    return f"mongodb://127.0.0.1:{gate.port}/?directConnection=true&serverSelectionTimeoutMS=1000"


def test_a_reload_while_the_source_is_away_is_refused_and_everything_runs_on(
    place, rigatoni, wait_for, gate, monkeypatch
):
    monkeypatch.setenv("MONGODB_URI", through(gate))
    with running() as process:
        wait_for(lambda: "starts at" in log())
        place.orders.insert_one({"n": 0})
        wait_for(lambda: delivered() == [0])
        gate.cut()
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "reload rejected" in log())
        place.orders.insert_one({"n": 1})
        gate.restore()
        wait_for(lambda: delivered() == [0, 1])
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "resumes from" in log())
        place.orders.insert_one({"n": 2})
        wait_for(lambda: delivered() == [0, 1, 2])
        process.terminate()
        assert process.wait(timeout=40) == 0


def test_a_reload_whose_destination_or_filter_does_not_work_is_refused(place, rigatoni, wait_for):
    text = Path("pipeline.toml").read_text()
    Path("in-the-way").write_text("a file where a folder should be")
    with running() as process:
        wait_for(lambda: "starts at" in log())
        Path("pipeline.toml").write_text(text.replace('path = "lake"', 'path = "in-the-way/lake"'))
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: log().count("reload rejected") == 1)
        Path("pipeline.toml").write_text(text.replace("max_await", 'pipeline = [{ "$nonsense" = 1 }]\nmax_await'))
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: log().count("reload rejected") == 2)
        place.orders.insert_one({"n": 0})
        wait_for(lambda: delivered() == [0])


def test_hangups_in_quick_succession_end_nothing(place, rigatoni, wait_for):
    with running() as process:
        wait_for(lambda: "starts at" in log())
        for n in range(40):
            place.orders.insert_one({"n": n})
            process.send_signal(signal.SIGHUP)
            time.sleep(0.05)
        wait_for(lambda: delivered() == list(range(40)))
        assert log().count("read again") >= 2
        process.terminate()
        assert process.wait(timeout=40) == 0


TERMINATED_EARLY = """
import asyncio, os, signal, sys
from rigatoni_core.cli import app, running

async def advice(member, names):
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.2)
    return ()

running._positions_advice = advice
sys.exit(app.command())
"""


def test_a_signal_that_comes_while_the_pipeline_is_about_to_begin_ends_it(place):
    command = [sys.executable, "-c", TERMINATED_EARLY, "run", "pipeline.toml", "--log-format", "json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert ended.returncode == 0, ended.stderr


def test_an_outage_shows_while_it_lasts_and_ends_with_one_line(place, rigatoni, wait_for, gate, monkeypatch):
    def stream():
        return ask(rigatoni)[0]["pipelines"][0]["streams"][0]

    monkeypatch.setenv("MONGODB_URI", through(gate))
    with running() as process:
        wait_for(lambda: "starts at" in log())
        place.orders.insert_one({"n": 0})
        wait_for(lambda: delivered() == [0])
        gate.cut()
        wait_for(lambda: stream()["state"] == "failing")
        assert stream()["last_error"]["recovered"] is None
        assert stream()["read_lag"] > 0
        place.orders.insert_one({"n": 1})
        gate.restore()
        wait_for(lambda: '"worker recovered"' in log())
        wait_for(lambda: delivered() == [0, 1] and stream()["read_lag"] == 0)
        shown = stream()
        assert shown["state"] == "running"
        assert shown["last_error"]["time"] <= shown["last_error"]["recovered"]
        assert log().count('"worker recovered"') == 1
        assert '"resumed"' not in log(), "the worker entered the stream again, since nothing could be resumed"
        process.terminate()
        assert process.wait(timeout=40) == 0


def test_one_pipeline_whose_source_is_away_at_the_start_is_failing_until_it_comes(place, rigatoni, wait_for, gate):
    gate.cut()
    several = SEVERAL.format(database=place.name, path="two")
    away = f'source.uri = "{through(gate)}"\nretry = {{ retry_delay = 0.2, max_retry_delay = 0.2 }}'
    Path("several.toml").write_text(several.replace('name = "users"', f'name = "users"\n{away}'))
    with running("several.toml") as process:
        wait_for(lambda: "orders: into" in log())
        place.orders.insert_one({"n": 0})
        wait_for(lambda: delivered("one") == [0])
        wait_for(lambda: "worker failing" in log())
        states = {each["name"]: each["streams"][0]["state"] for each in ask(rigatoni)[0]["pipelines"]}
        assert states == {"orders": "running", "users": "failing"}
        gate.restore()
        wait_for(lambda: "users: into" in log())
        place.users.insert_one({"n": 1})
        wait_for(lambda: delivered("two") == [1])
        process.terminate()
        assert process.wait(timeout=40) == 0


SEVERAL = """
[defaults]
batch_size = 20
batch_timeout = 0.2
source = {{ type = "mongodb", uri = {{ env = "MONGODB_URI" }}, max_await_time = 0.1 }}
[defaults.destination]
type = "local"
serializer = {{ type = "zstd", inner = {{ type = "json" }} }}
[defaults.state]
type = "file"

[[pipeline]]
name = "orders"
source.watch = ["{database}.orders"]
destination.path = "one"
state.path = "state-one"

[[pipeline]]
name = "users"
source.watch = ["{database}.users"]
destination.path = "{path}"
state.path = "state-two"
"""


def test_several_pipelines_run_side_by_side_and_share_a_status(place, rigatoni, wait_for):
    Path("several.toml").write_text(SEVERAL.format(database=place.name, path="two"))
    checked = rigatoni("validate", "several.toml", "--json")
    assert checked.returncode == 0, checked.stderr
    assert [each["pipeline"] for each in json.loads(checked.stdout)["pipelines"]] == ["orders", "users"]
    with running("several.toml") as process:
        wait_for(lambda: log().count("starts at") == 2)
        place.orders.insert_many([{"n": n} for n in range(30)])
        place.users.insert_many([{"n": n} for n in range(40)])
        wait_for(lambda: len(delivered("one")) == 30 and len(delivered("two")) == 40)
        (answer,) = ask(rigatoni, "several.toml")
        assert [each["name"] for each in answer["pipelines"]] == ["orders", "users"]
        process.terminate()
        assert process.wait(timeout=40) == 0
    shown = rigatoni("state", "show", "several.toml", "--offline").stdout
    assert f"orders/{place.name}.orders" in shown
    assert f"users/{place.name}.users" in shown
    one = rigatoni("state", "show", "several.toml", "--offline", "--pipeline", "users").stdout
    assert "orders/" not in one
    which = rigatoni("state", "clear", "several.toml", f"{place.name}.users", "--yes")
    assert "describes 2 pipelines: orders, users" in which.stderr
    assert "--pipeline NAME" in which.stderr
    assert (
        rigatoni("state", "clear", "several.toml", f"{place.name}.users", "--yes", "--pipeline", "users").returncode
        == 0
    )


def test_a_pipeline_that_cannot_start_affects_no_other_but_the_exit_code(place, rigatoni, wait_for):
    Path("in-the-way").write_text("a file where a folder should be")
    Path("several.toml").write_text(SEVERAL.format(database=place.name, path="in-the-way/two"))
    assert rigatoni("validate", "several.toml").returncode == 3
    shared = rigatoni("validate", "several.toml", "--set", "state.path=one", "--set", "destination.path=two")
    assert shared.returncode == 0, shared.stderr  # pipelines may share a state folder, as they may share a Redis
    with running("several.toml") as process:
        wait_for(lambda: "orders: into" in log())
        assert "users does not run" in log()
        place.orders.insert_many([{"n": n} for n in range(30)])
        wait_for(lambda: len(delivered("one")) == 30)
        process.terminate()
        assert process.wait(timeout=40) == 3


def test_tail_shows_events_of_the_past_and_leaves_no_trace(place, rigatoni):
    place.other.insert_one({})
    time.sleep(1.05)
    since = datetime.now(UTC).isoformat(timespec="seconds")
    place.orders.insert_one({"_id": 1, "secret": "sentinel"})
    place.orders.update_one({"_id": 1}, {"$set": {"more": "sentinel"}})
    place.orders.delete_one({"_id": 1})
    answer = rigatoni("tail", "pipeline.toml", "--since", since, "--limit", "3", "--json")
    assert answer.returncode == 0, answer.stderr
    events = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [event["operation"] for event in events] == ["insert", "update", "delete"]
    assert events[0]["document"] == {"_id": 1, "secret": "sentinel"}
    assert events[1]["updated"] == {"more": "sentinel"}
    redacted = rigatoni("tail", "pipeline.toml", "--since", since, "--limit", "2", "--redact")
    assert redacted.returncode == 0
    assert "sentinel" not in redacted.stdout
    assert '"secret": "<str>"' in redacted.stdout
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["pipeline.toml"]


def test_tail_of_what_is_not_watched_says_what_is(place, rigatoni):
    answer = rigatoni("tail", "pipeline.toml", "shop.nothing")
    assert answer.returncode == 2
    assert f"{place.name}.orders" in answer.stderr


def test_quiet_prints_only_errors(place, rigatoni):
    fine = rigatoni("run", "pipeline.toml", "--once", "--quiet")
    assert (fine.returncode, fine.stdout, fine.stderr) == (0, "", "")
    (record,) = Path("state").rglob("*.orders.json")
    record.write_bytes(b"garbage")
    Path("pipeline.toml").write_text(
        Path("pipeline.toml").read_text().replace('type = "local"\npath = "lake"', 'type = "stdout"')
    )
    wrong = rigatoni("run", "pipeline.toml", "--once", "--quiet")
    assert wrong.returncode == 1
    assert "what to do:" in wrong.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_is_a_script_that_the_shell_takes(rigatoni, shell):
    answer = rigatoni("completion", shell)
    assert answer.returncode == 0
    assert "_RIGATONI_COMPLETE" in answer.stdout
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=answer.stdout, text=True, check=True)
    completed = subprocess.run(
        [sys.executable, "-c", "from rigatoni_core.cli.app import rigatoni; rigatoni(prog_name='rigatoni')"],
        env={**os.environ, "_RIGATONI_COMPLETE": "bash_complete", "COMP_WORDS": "rigatoni va", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
    )
    assert completed.stdout.strip() == "plain,validate"
