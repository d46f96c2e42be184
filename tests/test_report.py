"""`rigatoni report`: what an issue needs, and no secret in it."""

import json
from pathlib import Path

import pytest
from rigatoni_core.api.commands import ExitCode
from rigatoni_core.api.contracts import Finding
from rigatoni_core.api.errors import ConfigurationError, NoAnswerError
from rigatoni_core.config import installed_plugins, load
from rigatoni_ops import issue_report
from rigatoni_ops.diagnosis.examination import Found
from rigatoni_ops.report import report
from rigatoni_testing.commands import RecordingApplication

SENTINELS = [f"sentinel{number}Q9x" for number in range(1, 9)]
URI, KEY_ID, KEY, URL, ENDPOINT, HEADER, STATUS, FINDING = SENTINELS

FILE = f"""\
[pipeline]
name = "orders"
batch_size = 77

[pipeline.source]
type = "mongodb"
uri = {{ env = "REPORT_URI" }}
watch = ["shop.orders"]
full_document = "updateLookup"

[pipeline.destination]
type = "s3"
bucket = "lake"
endpoint_url = "https://{ENDPOINT}:{ENDPOINT}@store.example:9000/?signature={ENDPOINT}"
access_key_id = "{KEY_ID}"
secret_access_key = {{ env = "REPORT_KEY" }}
serializer = {{ type = "json" }}
tags = {{ team = "data", auth_token = "{HEADER}" }}

[pipeline.state]
type = "redis"
url = {{ env = "REPORT_URL" }}
"""


@pytest.fixture
def configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPORT_URI", f"mongodb://user:{URI}@db.example:27017/?replicaSet=rs")
    monkeypatch.setenv("REPORT_KEY", KEY)
    monkeypatch.setenv("REPORT_URL", f"redis://user:{URL}@redis.example:6379/0")
    Path("pipeline.toml").write_text(FILE)
    return load(Path("pipeline.toml"), installed_plugins())


def running(message):
    stream = {"name": "shop.orders", "state": "failing", "events": 5, "last_error": {"message": message}}
    file = str(Path("pipeline.toml").resolve())
    return (7, {"file": file, "pid": 7, "pipelines": [{"name": "orders", "streams": [stream]}]})


def call(app, *arguments):
    assert app.call(report, "pipeline.toml", *arguments) == ExitCode.DONE
    (path,) = Path().glob("*report*.json")
    return path.read_text()


def test_a_report_holds_versions_options_figures_and_errors(configuration):
    message = f"no reply from mongodb://user:{URI}@db.example"
    others = (8, {"file": "/elsewhere.toml", "pipelines": []})
    silent = (9, NoAnswerError("process 9 does not respond"))
    app = RecordingApplication(configuration, running=[running(message), others, silent])
    contents = json.loads(call(app, "--offline"))
    (pipeline,) = contents["pipelines"]
    assert contents["versions"]["rigatoni-core"]
    assert contents["versions"]["pymongo"]
    assert "mongodb" in [plugin["name"] for plugin in contents["plugins"]]
    assert pipeline["settings"]["batch_size"] == 77
    assert pipeline["source"]["watch"] == ["shop.orders"]
    assert pipeline["destination"]["bucket"] == "lake"
    assert [each["pid"] for each in contents["running"]] == [7, 9]
    error = contents["running"][0]["pipelines"][0]["streams"][0]["last_error"]["message"]
    assert error == "no reply from mongodb://***@db.example"


def test_no_secret_is_in_a_report(configuration, monkeypatch):
    async def examined(*_):
        finding = Finding("error", f"refused mongodb://u:{FINDING}@db", f"Replace {KEY} and {URL}.")
        return [Found("orders", "source", "connection", finding)]

    monkeypatch.setattr(issue_report, "examine", examined)
    statuses = [running(f"https://x:{STATUS}@y failed for {URI} and {KEY}")]
    app = RecordingApplication(configuration, running=statuses)
    text = call(app)
    assert "refused mongodb://***@db" in text
    assert [sentinel for sentinel in SENTINELS if sentinel in text] == []
    app = RecordingApplication(configuration, running=statuses)
    app.call(report, "pipeline.toml", "--json")
    assert [sentinel for sentinel in SENTINELS if sentinel in json.dumps(app.values)] == []


def test_a_file_with_errors_is_reported_with_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pipeline.toml").touch()
    app = RecordingApplication()
    contents = json.loads(call(app))
    assert "warning: pipeline.toml has errors" in app.diagnostics[0]
    assert contents["pipelines"] == []
    assert "describes no pipeline" in contents["error"]["message"]


def test_a_file_that_does_not_exist_is_an_error_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError):
        RecordingApplication().call(report, "nofile.toml")
    assert list(tmp_path.iterdir()) == []


def test_a_report_never_overwrites_a_file(configuration):
    Path("kept.json").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"cannot write kept\.json"):
        RecordingApplication(configuration).call(report, "pipeline.toml", "--offline", "--output", "kept.json")
    assert Path("kept.json").read_text() == "mine"
