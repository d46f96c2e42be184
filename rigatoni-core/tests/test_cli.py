"""The command as a user types it: exit codes, words, and no secret in any of them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rigatoni_core.api.events import Stream, Timestamp
from rigatoni_core.api.exit_codes import ExitCode, worst
from rigatoni_core.api.notices import BatchWritten, Retrying, WorkerRecovered
from rigatoni_core.api.words import duration, time_in_words
from rigatoni_core.cli.progress import Progress
from rigatoni_core.observe.statistics import Statistics
from rigatoni_testing.batches import START

SENTINEL = "sentinel-s3cret"

PLUGIN = '''
import asyncio
import types
from typing import Annotated, Literal

import attrs
from rigatoni_core.api.contracts import ConfigLinter, Serializer, Source, Transform
from rigatoni_core.api.errors import SourceError, Transient
from rigatoni_core.api.events import Definition
from rigatoni_core.api.hookspecs import Component, hookimpl
from rigatoni_core.api.options import Secret


class ShakyError(SourceError, Transient):
    id = "shaky"


@attrs.define(kw_only=True)
class ToySource(Source, ConfigLinter):
    """Two events, then it waits, fails or hangs."""

    uri: Annotated[Secret, "Where"]
    then: Annotated[
        Literal["wait", "fail", "crash", "refuse", "bug", "hang", "shake", "away", "stay"], "What happens"
    ] = "wait"

    decoder = types.SimpleNamespace(format="bson")

    async def __aenter__(self):
        if self.then == "refuse":
            raise SourceError(f"no way in with {self.uri.reveal()}", remedy="Knock.")
        if self.then == "away":
            raise ShakyError("nobody at the door", remedy="Wait.")
        if self.then == "bug":
            raise KeyError(self.uri.reveal())
        if self.then == "hang":
            await asyncio.sleep(1000)
        return self

    async def streams(self):
        return ["toy.a"]

    def definition(self, stream):
        return Definition("f", {})

    def advice(self, settings):
        return ("a toy is no database",)

    async def read(self, stream, *, after):
        from rigatoni_core.api.batch import Heartbeat
        from rigatoni_testing.batches import START, batch_of, event_document

        yield Heartbeat(after or START)
        if after is None or after == START:
            yield batch_of([event_document(0), event_document(1)], stream=stream)
        if self.then == "fail":
            raise SourceError(f"lost it with {self.uri.reveal()}", remedy="Find it.")
        if self.then == "shake":
            raise ShakyError("it shook")
        if self.then == "stay":
            await asyncio.sleep(1000)
        if self.then == "crash":
            raise RuntimeError(self.uri.reveal())
        end = batch_of([event_document(0), event_document(1)], stream=stream).end
        yield Heartbeat(end, caught_up=True)
        await asyncio.sleep(1000)


@attrs.define(kw_only=True)
class Lines(Serializer):
    """A line per event."""

    accepts = frozenset({"*"})
    media_type = "text/plain"
    suffix = ".txt"

    def serialize(self, events):
        return b"".join(b"event\\n" for _ in events)


@hookimpl
def rigatoni_sources():
    yield Component("toy", lambda: ToySource, summary="Two events")


@attrs.define(kw_only=True)
class Nothing(Transform):
    """Changes nothing."""

    accepts = frozenset({"*"})

    def transform(self, events):
        return events


@hookimpl
def rigatoni_serializers():
    yield Component("lines", lambda: Lines)


@hookimpl
def rigatoni_transforms():
    yield Component("nothing", lambda: Nothing)
'''

CONFIGURATION = """\
[pipeline]
name = "p"
batch_timeout = 0.05

[pipeline.source]
type = "toy"
uri = {{ env = "TOY_URI" }}
then = "{then}"

[pipeline.destination]
type = "stdout"
serializer = {{ type = "lines" }}

[pipeline.state]
type = "memory"
"""


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Where the toy plugin is installed and compiled modules are kept, so that starting costs what it costs users."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "toy_plugin.py").write_text(PLUGIN)
    info = folder / "rigatoni_toy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rigatoni-toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rigatoni]\ntoy = toy_plugin\n")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH")))),
        "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
        "PYTHONDONTWRITEBYTECODE": "",
        "TOY_URI": f"toy://user:{SENTINEL}@host/",
    }


@pytest.fixture
def rigatoni(environment, tmp_path):
    """Calls the command in a folder of its own, where `pipeline.toml` is."""

    def call(*arguments, then="wait", **more):
        (tmp_path / "pipeline.toml").write_text(CONFIGURATION.format(then=then))
        return subprocess.run(
            [sys.executable, "-m", "rigatoni_core.cli", *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            cwd=tmp_path,
            env={**environment, **more},
        )

    return call


def test_help_teaches_and_version_tells(rigatoni):
    answer = rigatoni("--help")
    assert answer.returncode == 0
    for word in ("validate", "plugins list", "Exit codes", "pipeline.toml"):
        assert word in answer.stdout
    assert "Colours are used" in " ".join(answer.stdout.split("\n"))
    assert rigatoni("--version").stdout.startswith("rigatoni-core ")


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["run"], ["run", "pipeline.toml", "--onc"], ["run", "nowhere.toml"], ["state", "show", "nowhere"]],
)
def test_wrong_usage_exits_with_2_and_a_remedy(rigatoni, arguments):
    answer = rigatoni(*arguments)
    assert answer.returncode == 2
    assert "error: " in answer.stderr
    assert "what to do: " in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""


def test_a_mistyped_command_is_answered_with_the_nearest(rigatoni):
    answer = rigatoni("stat")
    assert answer.returncode == 2
    assert 'did you mean "stat' in answer.stderr


def test_listing_imports_no_client_library(environment):
    code = (
        "import sys; from rigatoni_core.cli import app; sys.argv[1:] = ['plugins', 'list'];"
        "code = app.command(); print({'boto3', 'pyarrow', 'redis', 'pymongo', 'bson', 'rich', 'structlog', 'cattrs'}"
        " & set(sys.modules), code)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert answer.stdout.splitlines()[-1] == "set() 0", answer.stdout + answer.stderr


def test_plugins_show_prints_options_defaults_and_guarantee(rigatoni):
    answer = rigatoni("plugins", "show", "toy/toy", "--json")
    (component,) = json.loads(answer.stdout)
    assert (component["kind"], component["distribution"]) == ("source", "rigatoni-toy 1.0")
    assert component["options"][0] == {"name": "uri", "type": "secret", "default": None, "meaning": "Where"}
    assert component["options"][1]["default"] == '"wait"'
    assert "at-least-once" in rigatoni("plugins", "show", "stdout").stdout


def test_run_once_delivers_reports_and_exits_with_0(rigatoni):
    answer = rigatoni("run", "pipeline.toml", "--once")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "event\nevent\n"
    lines = [json.loads(line) for line in answer.stderr.splitlines()]
    assert lines[0]["event"] == "lease acquired"
    assert lines[1]["event"] == "message"
    assert lines[1]["message"] == "p: into standard output; guarantee: at-least-once; rejected events stop their worker"
    assert lines[2]["message"].startswith("p/toy.a: starts at 2023-11-14 22:13:20 UTC")
    assert lines[-1]["message"].startswith("p: 2 events in 1 batches")
    assert {"level", "timestamp"} <= set(lines[0])


def test_G6_an_interrupt_ends_a_run_gracefully_with_0(rigatoni, environment, tmp_path):
    rigatoni("validate", "pipeline.toml", "--offline")  # writes the file
    command = [sys.executable, "-m", "rigatoni_core.cli", "run", "pipeline.toml", "--log-format", "human"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert run.stdout.readline() == b"event\n"
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=20)
    assert run.returncode == 0, errors
    assert b"worker stopped" in errors
    assert b"rror" not in errors


@pytest.mark.parametrize(
    ("then", "command", "code", "text"),
    [
        ("fail", "run", 1, "Find it."),
        ("crash", "run", 70, "RuntimeError"),
        ("refuse", "run", 3, "what to do: Knock."),
        ("bug", "run", 70, "report it"),
        ("refuse", "validate", 3, "what to do: Knock."),
    ],
)
@pytest.mark.parametrize("format_", ["human", "json"])
def test_K3_exit_codes_and_no_secret_in_errors_logs_and_tracebacks(rigatoni, then, command, code, text, format_):
    more = ["--once", "--log-level", "debug", "--log-format", format_] if command == "run" else ["--json"]
    answer = rigatoni(command, "pipeline.toml", *more, then=then)
    assert answer.returncode == code, answer.stderr
    assert text in answer.stderr + answer.stdout
    assert SENTINEL not in answer.stderr + answer.stdout
    assert "***" in answer.stderr + answer.stdout
    assert ("Traceback" in answer.stderr) == (code == 70)


@pytest.mark.parametrize(
    ("format_", "then", "more", "code", "text"),
    [
        ("human", "shake", ["retry.max_retries=2"], 5, "it shook"),
        ("json", "away", ["retry.max_retries=2"], 3, "nobody at the door"),
        ("human", "stay", [], 6, "p/toy.a had not caught up (running) when --timeout was over"),
        ("json", "shake", ["on_failure=restart"], 6, "p/toy.a had not caught up (failing) when --timeout was over: it"),
        ("human", "away", ["on_failure=restart"], 6, "p/toy.a had not caught up (failing) when --timeout was over: no"),
    ],
)
def test_run_once_always_ends_and_its_exit_code_reports_the_cause(rigatoni, format_, then, more, code, text):
    more = [word for each in (*more, "retry.retry_delay=0.05") for word in ("--set", each)]
    answer = rigatoni("run", "pipeline.toml", "--once", "--timeout", "1.5", "--log-format", format_, *more, then=then)
    assert answer.returncode == code, answer.stderr
    assert text in answer.stderr
    assert SENTINEL not in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_timeout_is_for_runs_that_end(rigatoni):
    answer = rigatoni("run", "pipeline.toml", "--timeout", "2")
    assert answer.returncode == 2
    assert "--timeout needs --once" in answer.stderr


def test_help_and_the_docs_tell_every_exit_code(rigatoni):
    page = (Path(__file__).parent.parent.parent / "docs" / "operating.md").read_text(encoding="utf-8")
    text = " ".join(rigatoni("--help").stdout.split())
    for code in ExitCode:
        assert f"{code} {code.meaning}" in text
        assert f"| {code} | {code.meaning} |" in page


@pytest.mark.parametrize(
    ("codes", "worst_one"),
    [
        ([], ExitCode.DONE),
        ([ExitCode.RETRIES_USED_UP, ExitCode.WORKER_FAILED], ExitCode.WORKER_FAILED),
        ([ExitCode.TIMED_OUT, ExitCode.RETRIES_USED_UP], ExitCode.RETRIES_USED_UP),
        ([ExitCode.WORKER_FAILED, ExitCode.CANNOT_START], ExitCode.CANNOT_START),
        ([ExitCode.BUG, ExitCode.ABANDONED], ExitCode.BUG),
    ],
)
def test_of_several_causes_the_one_that_needs_a_person_decides(codes, worst_one):
    assert worst(codes) is worst_one


def test_validate_prints_streams_positions_guarantee_and_warnings(rigatoni):
    answer = rigatoni("validate", "pipeline.toml")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == (
        "stream       toy.a: no position yet\n"
        "destination  standard output\n"
        "guarantee    at-least-once, provided that\n"
        "             - printed events count as delivered, even if their reader loses them\n"
        "rejected     events that cannot be written stop their worker\n"
        "pipeline.toml is valid; all connections work\n"
    )
    assert "warning: a toy is no database" in answer.stderr
    offline = rigatoni("validate", "pipeline.toml", "--offline", then="refuse")
    assert (offline.returncode, offline.stdout) == (0, "pipeline.toml is valid; connections were not checked\n")


def test_validate_shows_the_transforms_of_each_stream(rigatoni, environment, tmp_path):
    def validate(streams, *more):
        tables = f'[[pipeline.transforms]]\ntype = "nothing"\n[[pipeline.transforms]]\ntype = "nothing"\n{streams}'
        (tmp_path / "transforms.toml").write_text(CONFIGURATION.format(then="wait") + tables)
        return rigatoni("validate", "transforms.toml", *more)

    answer = validate('streams = ["toy.*"]')
    assert answer.returncode == 0, answer.stderr
    assert "transforms   toy.a: toy/nothing, toy/nothing\n" in answer.stdout
    (found,) = json.loads(validate("", "--json").stdout)["pipelines"]
    assert found["transforms"] == {"toy.a": ["toy/nothing", "toy/nothing"]}
    offline = validate('streams = ["toy.*"]', "--offline")
    assert offline.stdout.startswith("transforms   toy.a: toy/nothing, toy/nothing\n")
    for more in ([], ["--offline"]):
        wrong = validate('streams = ["toy.b"]', *more)
        assert wrong.returncode == 3
        assert 'transforms: transforms[1].streams: the pipeline has no stream "toy.b", only toy.a' in wrong.stderr


def test_validate_prints_every_path_in_full(rigatoni, environment, tmp_path):
    folder = tmp_path / "conf"
    folder.mkdir()
    text = CONFIGURATION.format(then="wait").replace('type = "memory"', 'type = "file"\npath = "state"')
    (folder / "there.toml").write_text(text)
    answer = rigatoni("validate", "--offline", "conf/there.toml")
    assert answer.returncode == 0, answer.stderr
    assert f"state.path: {folder}/state\n" in answer.stdout
    typed = json.loads(rigatoni("validate", "--offline", "conf/there.toml", "--json", "--set", "state.path=s").stdout)
    assert typed["pipelines"][0]["paths"] == {"state.path": f"{tmp_path}/s"}
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "p").touch()
    refused = rigatoni("run", "conf/there.toml")
    assert refused.returncode == 2
    assert f"mv {tmp_path}/state {folder}/state" in refused.stderr


def test_validate_stops_waiting_for_servers_that_do_not_respond(rigatoni):
    answer = rigatoni("validate", "pipeline.toml", "--timeout", "0.2", then="hang")
    assert answer.returncode == 3
    assert "error: source: it did not respond within 0.2 s" in answer.stderr


def test_K1_validate_tells_all_faults_as_text_and_as_json(rigatoni):
    answer = rigatoni("validate", "pipeline.toml", then="wai", TOY_URI="")
    assert answer.returncode == 2
    assert answer.stderr == (
        "error: 2 errors in pipeline.toml\n"
        "  pipeline.toml:7: pipeline.source.uri: the environment variable TOY_URI is empty\n"
        '  pipeline.toml:8: pipeline.source.then: must be "wait" or "fail" or "crash" or "refuse" or "bug" or '
        '"hang" or "shake" or "away" or "stay"; did you mean "wait"?\n'
        "what to do: Correct them: `rigatoni plugins show NAME` explains the options of a component. "
        "Then run: rigatoni validate pipeline.toml\n"
    )
    answer = rigatoni("validate", "pipeline.toml", "--json", then="wai", TOY_URI="")
    assert answer.returncode == 2
    assert [(fault["line"], fault["key"]) for fault in json.loads(answer.stdout)["faults"]] == [
        (7, "pipeline.source.uri"),
        (8, "pipeline.source.then"),
    ]


def test_state_show_of_a_stream_without_a_position(rigatoni):
    answer = rigatoni("state", "show", "pipeline.toml")
    assert answer.returncode == 0
    assert answer.stdout.startswith("p/toy.a\n")
    assert "no position yet" in answer.stdout
    assert json.loads(rigatoni("state", "show", "pipeline.toml", "toy.a", "--json").stdout) == [
        {"stream": "toy.a", "pipeline": "p", "watched": True, "holder": None, "position": None}
    ]
    mistyped = rigatoni("state", "show", "pipeline.toml", "toy.b", "--json")
    assert (mistyped.returncode, json.loads(mistyped.stdout)["error"]["id"]) == (2, "configuration")


def test_colours_are_for_terminals_and_not_where_NO_COLOR_is_set(rigatoni, environment, tmp_path):
    pty = pytest.importorskip("pty")

    def on_a_terminal(**more):
        ours, theirs = pty.openpty()
        subprocess.run(
            [sys.executable, "-m", "rigatoni_core.cli", "run", "nowhere.toml"],
            stderr=theirs,
            cwd=tmp_path,
            env={**environment, "TERM": "xterm", **more},
        )
        os.close(theirs)
        text = os.read(ours, 10_000).decode()
        os.close(ours)
        return text

    assert "\x1b[" in on_a_terminal()
    assert "\x1b[" not in on_a_terminal(NO_COLOR="1")
    assert "\x1b[" not in rigatoni("run", "nowhere.toml").stderr


def test_the_live_display_shows_streams_rates_and_a_total():
    from rich.console import Console

    statistics = Statistics()
    for name in ("shop.orders", "shop.users"):
        statistics.notify(BatchWritten(stream=Stream("p", name), events=1200, bytes=10, end=START, seconds=0.1))
    progress = Progress({"p": statistics})
    progress.render()
    statistics.notify(BatchWritten(stream=Stream("p", "shop.users"), events=800, bytes=10, end=START, seconds=0.1))
    console = Console(width=120)
    with console.capture() as capture:
        console.print(progress.render())
    text = capture.get()
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert rows["shop.users"][2] == "2,000"
    assert int(rows["shop.users"][3].replace(",", "")) > 0
    assert rows["shop.orders"][3] == "0"
    assert rows["all"][1] == "3,200"


def test_the_live_display_fits_80_columns_and_says_what_troubles_a_stream_as_long_as_it_does():
    from rich.console import Console

    def shown():
        console = Console(width=80)
        with console.capture() as capture:
            console.print(progress.render())
        return capture.get()

    statistics, stream = Statistics(), Stream("p", "a_long_database.a_collection_with_a_long_name")
    progress = Progress({"p": statistics})
    statistics.notify(Retrying(stream=stream, error=OSError("the disk is full " * 8), attempt=1, delay=1.0))
    text = shown()
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(rf"{stream.name} is retrying; last error \d s ago: the disk is full", " ".join(text.split()))
    statistics.notify(BatchWritten(stream=stream, events=1200, bytes=10, end=START, seconds=0.1))
    assert re.search("is running; last error . s ago: the disk", " ".join(shown().split())), "something still fails"
    statistics.notify(WorkerRecovered(stream=stream, error_id="bug", seconds=1.0))
    assert "the disk is full" not in shown()


def test_times_and_durations_in_words():
    now = int(time.time())
    assert time_in_words(Timestamp(now - 300, 1)).endswith("UTC (5 min ago)")
    assert time_in_words(None) == "an unknown time"
    assert [duration(seconds) for seconds in (-1, 90, 600, 8000, 200_000)] == ["0 s", "90 s", "10 min", "2 h", "2 d"]
