"""`rigatoni init`: every installed component gets a file that is valid, explains itself and overwrites nothing."""

import os
import pty
import subprocess
import sys
import threading
import tomllib
from typing import Any

import pytest
from pymongo import MongoClient
from rigatoni_core.config import load, options_of
from rigatoni_core.plugins.catalog import Catalog
from rigatoni_ops.file_writer import Writer

CATALOG = Catalog.discover()
VALUES: dict[str | int, Any] = {"watch": ["shop.orders"], "path": "there", "bucket": "lake", "name": "n"}
VALUES |= {"account": "a", "container": "lake", "namespace": "shop", "bootstrap_servers": "localhost:9092"}
VALUES |= {"project": "acme", "dataset": "lake"}
RIGATONI = [sys.executable, "-m", "rigatoni_core.cli"]
GIVEN = ["--source", "mongodb", "--destination", "local", "--serializer", "json", "--state", "file"]
GIVEN += ["--set", 'source.watch=["shop.orders"]', "--set", "destination.path=lake", "--set", "state.path=state"]


def names(kind):
    return sorted({provided.name for _, provided in CATALOG.provided(kind)})


def completed(types):
    """A writer to whom everything was told; every nested serializer is `json`, and `parquet` for BigQuery."""
    values = {}
    while missing := Writer(CATALOG, types, values).missing():
        for each in missing:
            if each.choices(CATALOG):
                types[each.path] = "parquet" if types["destination",] == "bigquery" else "json"
            else:
                values[each.path] = VALUES[each.path[-1]]
    return Writer(CATALOG, types, values)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in ("source", "destination", "state", "serializer") for name in names(kind)],
)
def test_a_file_for_each_component_is_valid_and_says_each_option_with_its_help(kind, name, tmp_path, monkeypatch):
    monkeypatch.setenv("MONGODB_URI", "mongodb://localhost/")
    monkeypatch.setenv("REDIS_URL", "redis://localhost/")
    types: dict[Any, str] = {("source",): "mongodb", ("destination",): "local", ("state",): "file"}
    types[("destination", "serializer") if kind == "serializer" else (kind,)] = name
    text = completed(types).text("pipeline.toml")
    (tmp_path / "pipeline.toml").write_text(text)
    configuration = load(tmp_path / "pipeline.toml", CATALOG)
    assert configuration.name == "n"
    flat = " ".join(line.removeprefix("# ") for line in text.splitlines())
    for option in options_of(CATALOG.get(kind, name)):
        assert any(line.lstrip("#").startswith(option.name) or f".{option.name}]" in line for line in text.splitlines())
        assert option.meaning in flat or f".{option.name}]" in text


def test_the_defaults_that_are_commented_out_are_the_defaults(tmp_path, monkeypatch):
    monkeypatch.setenv("MONGODB_URI", "mongodb://localhost/")
    types = {("source",): "mongodb", ("destination",): "local", ("state",): "file"}
    text = completed(types).text("pipeline.toml")
    lines = [
        line.removeprefix("#") if line[:2].strip("# ") and " =    (" not in line else line for line in text.splitlines()
    ]
    (tmp_path / "as-is.toml").write_text(text)
    (tmp_path / "explicit.toml").write_text("\n".join(lines))
    assert len(tomllib.loads("\n".join(lines))["pipeline"]) > 10
    as_is, explicit = (load(tmp_path / name, CATALOG) for name in ("as-is.toml", "explicit.toml"))
    assert as_is.settings == explicit.settings
    assert repr(as_is.destination) == repr(explicit.destination)
    assert repr(as_is.source) == repr(explicit.source)


def test_a_new_file_asks_for_the_documents_of_updates():
    """Without them a table of changes cannot say what the newest state of an updated document is."""
    types = {("source",): "mongodb", ("destination",): "local", ("state",): "file"}
    text = completed(types).text("pipeline.toml")
    assert tomllib.loads(text)["pipeline"]["source"]["full_document"] == "updateLookup"
    others = completed(types)
    others._values[("source", "full_document")] = "default"
    assert tomllib.loads(others.text("pipeline.toml"))["pipeline"]["source"]["full_document"] == "default"


def test_options_write_the_file_and_nothing_is_overwritten(tmp_path):
    command = [*RIGATONI, "init", "orders.toml", *GIVEN]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert answer.returncode == 0, answer.stderr
    assert "export MONGODB_URI=" in answer.stdout
    before = (tmp_path / "orders.toml").read_text()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert again.returncode == 2
    assert "orders.toml already exists; nothing was changed" in again.stderr
    assert "rigatoni init FILE" in again.stderr
    assert (tmp_path / "orders.toml").read_text() == before


def test_what_is_not_given_is_asked_for_by_name_where_nobody_can_be_asked(tmp_path):
    answer = subprocess.run(
        [*RIGATONI, "init", "--source", "mongodb"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert answer.returncode == 2
    assert "--set source.watch=" in answer.stderr
    assert "--state file|" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_value_is_refused_before_anything_is_written(tmp_path):
    answer = subprocess.run(
        [*RIGATONI, "init", *GIVEN, "--set", "source.watch=nowhere"], cwd=tmp_path, capture_output=True, text=True
    )
    assert answer.returncode == 2
    assert "pipeline.source.watch" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def on_a_terminal(folder, answers, *arguments, **environment):
    """What the command prints while it is given these answers, one line each; and its exit code."""
    ours, theirs = pty.openpty()
    variables = {key: value for key, value in os.environ.items() if key != "MONGODB_URI"} | environment
    command = [*RIGATONI, "init", *arguments]
    with subprocess.Popen(command, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=variables) as process:
        os.close(theirs)
        os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
        text, hanging = b"", threading.Timer(30, process.kill)  # it asks for more
        hanging.start()
        try:
            while chunk := os.read(ours, 10_000):
                text += chunk
        except OSError:
            pass  # the terminal closes with the process
        code = process.wait(timeout=30)
        hanging.cancel()
    os.close(ours)
    return text.decode(), code


def table_in(folder):
    return tomllib.loads((folder / "pipeline.toml").read_text())["pipeline"]


def test_on_a_terminal_it_asks(tmp_path):
    answers = ["orders", "mongodb", "shop.orders, shop.users", "local", "json", "lake", "file", "", ""]
    text, code = on_a_terminal(tmp_path, answers)
    assert code == 0, text
    table = table_in(tmp_path)
    assert table["name"] == "orders"
    assert table["source"]["watch"] == ["shop.orders", "shop.users"]
    assert table["destination"] == {"type": "local", "path": "lake", "serializer": {"type": "json"}}
    assert table["state"] == {"type": "file", "path": "state"}
    assert table["snapshot"] == {"mode": "initial"}
    assert 'The streams: "shop.orders"' in text


@pytest.mark.parametrize(
    "typed", ["shop.orders shop.users", '["shop.orders", "shop.users"]', "[shop.orders, shop.users]"]
)
def test_a_list_may_be_typed_in_any_of_the_usual_ways(tmp_path, typed):
    text, code = on_a_terminal(tmp_path, ["orders", "mongodb", typed, "local", "json", "lake", "file", "", ""])
    assert code == 0, text
    assert table_in(tmp_path)["source"]["watch"] == ["shop.orders", "shop.users"]
    command = [*RIGATONI, "init", "given.toml", *GIVEN[:-6], "--set", f"source.watch={typed}", *GIVEN[-4:]]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert answer.returncode == 0, answer.stderr
    given = tomllib.loads((tmp_path / "given.toml").read_text())
    assert given["pipeline"]["source"]["watch"] == ["shop.orders", "shop.users"]


def test_a_wrong_answer_is_asked_for_again_and_no_other_is(tmp_path):
    answers = ["orders", "mongodb", "nowhere", "local", "json", "lake", "file", "", "", "shop.orders"]
    text, code = on_a_terminal(tmp_path, answers)
    assert code == 0, text
    assert "'nowhere' is not a namespace" in text
    assert text.count("destination.path") == 1
    assert table_in(tmp_path)["source"]["watch"] == ["shop.orders"]
    assert table_in(tmp_path)["destination"]["path"] == "lake"


def test_a_wrong_option_beside_the_answers_loses_none_of_them(tmp_path):
    answers = ["orders", "mongodb", "shop.orders", "local", "json", "my lake", "file", "", ""]
    text, code = on_a_terminal(tmp_path, answers, "--set", "source.batch_size=0")
    assert code == 2
    assert "your values so far: rigatoni init pipeline.toml --name orders --source mongodb" in text
    assert "--set 'destination.path=my lake'" in text
    assert list(tmp_path.iterdir()) == []


def test_names_are_checked_against_the_server_where_it_can_be_reached(tmp_path, mongodb_uri):
    with MongoClient(mongodb_uri) as client:
        client.initshop.orders.insert_one({})
        answers = ["orders", "mongodb", "initshop.oders", "local", "json", "lake", "file", "", ""]
        text, code = on_a_terminal(tmp_path, [*answers, "n", "initshop.orders"], MONGODB_URI=mongodb_uri)
        assert code == 0, text
        assert 'did you mean "initshop.orders"?' in text
        assert table_in(tmp_path)["source"]["watch"] == ["initshop.orders"]
        (tmp_path / "pipeline.toml").unlink()
        text, code = on_a_terminal(tmp_path, [*answers, "y"], MONGODB_URI=mongodb_uri)
        assert code == 0, text
        assert table_in(tmp_path)["source"]["watch"] == ["initshop.oders"]
        client.drop_database("initshop")


def test_a_server_that_is_away_is_no_obstacle(tmp_path):
    away = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200"
    command = [*RIGATONI, "init", *GIVEN]
    answer = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "MONGODB_URI": away},
    )
    assert answer.returncode == 0, answer.stderr
    assert "the source cannot be checked now" in answer.stderr
    assert (tmp_path / "pipeline.toml").exists()
