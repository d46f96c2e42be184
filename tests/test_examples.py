"""The examples run as they are, each in a process of its own as its user starts it."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from pymongo import MongoClient
from rigatoni_core.api.options import Secret
from rigatoni_mongodb.source import MongoDBSource
from rigatoni_testing.servers import free_port

EXAMPLES = Path(__file__).parent.parent / "examples"


def delivered():
    lines = [line for path in sorted(Path("lake").rglob("*.ndjson")) for line in path.read_text().splitlines()]
    return [json.loads(line)["fullDocument"]["n"] for line in lines]


def test_a_pipeline_in_plain_python_goes_on_where_it_was(tmp_path, mongodb_uri, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, str(EXAMPLES / "plain_python.py"), "--once"]
    environment = {**os.environ, "MONGODB_URI": mongodb_uri}
    with MongoClient(mongodb_uri) as client:
        client.drop_database("shop")
        for numbers in ((), (1, 2), (3,)):
            for number in numbers:
                client.shop.orders.insert_one({"n": number})
            answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
            assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "orders-to-lake/shop.orders: 1 events\n"
    assert delivered() == [1, 2, 3]


def test_a_pipeline_lives_as_long_as_the_web_application_around_it(place, wait_for):
    pytest.importorskip("uvicorn", reason="starlette and uvicorn are not installed (nox -s tests does)")
    pytest.importorskip("starlette")
    text = Path("pipeline.toml").read_text()
    text = text.replace('{ type = "zstd", inner = { type = "json" } }', '{ type = "json" }')
    Path("pipeline.toml").write_text(text)
    stream, port = f"{place.name}.orders", free_port()
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", str(port), "web_app:app"]

    def state():
        assert process.poll() is None, Path("log").read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/streams", timeout=10) as answer:
                return json.load(answer).get(stream, {})
        except OSError:
            return {}

    with Path("log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_for(lambda: state().get("state") == "running" and list(Path("state").rglob("*.json")))
            place.orders.insert_many([{"n": n} for n in range(3)])
            wait_for(lambda: state()["events"] == 3)
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=40)
        finally:
            process.kill()
    assert "Application shutdown complete" in Path("log").read_text()
    assert delivered() == [0, 1, 2]


def test_a_pipeline_that_can_not_start_ends_the_start_of_the_application(place):
    pytest.importorskip("uvicorn", reason="starlette and uvicorn are not installed (nox -s tests does)")
    Path("state").write_text("a file where a folder should be")
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", "0", "web_app:app"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 3, answer.stderr
    assert "Application startup failed" in answer.stderr


def test_the_examples_have_the_types_that_they_should():
    command = [sys.executable, "-m", "mypy", "plain_python.py"]
    answer = subprocess.run(command, cwd=EXAMPLES, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout


def test_a_single_text_is_no_list_of_texts():
    with pytest.raises(TypeError, match=r"write \['shop\.orders'\]"):
        MongoDBSource(uri=Secret("mongodb://localhost/"), watch="shop.orders")
