"""Prometheus' own checks, on a scrape of a real run and on the files of this distribution.

promtool comes with Prometheus (Debian: `apt-get install prometheus`); where it is not on PATH these tests are skipped.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from importlib import resources
from pathlib import Path

import pytest
from pymongo import MongoClient
from rigatoni_core.observe.metrics import DISTRIBUTIONS, FIGURES
from rigatoni_mongodb.testing.server import free_port, mongodb_server
from rigatoni_prometheus.names import name_of

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not on PATH: install prometheus")
FILES = resources.files("rigatoni_prometheus")
ALERTS = Path(str(FILES / "alerts" / "rigatoni.yml"))
DASHBOARD = json.loads((FILES / "dashboards" / "rigatoni.json").read_text(encoding="utf-8"))
SENTINEL = "s3nt1nel-sw0rdf1sh"
CONFIGURATION = """\
[pipeline]
name = "p"
batch_timeout = 0.2
[pipeline.source]
type = "mongodb"
uri = {{ env = "MONGODB_URI" }}
watch = ["shop.orders", "shop.idle"]
max_await_time = 0.1
[pipeline.destination]
type = "local"
path = "lake"
serializer = {{ type = "json" }}
[pipeline.state]
type = "file"
path = "state"
[[pipeline.listeners]]
type = "prometheus"
port = {port}
"""


def promtool(*arguments, stdin=None):
    answer = subprocess.run([PROMTOOL, *arguments], input=stdin, capture_output=True, text=True, timeout=60)
    return answer.returncode, answer.stdout + answer.stderr


def expressions():
    """Every query of the dashboard, with Grafana's variables filled in."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], re.sub(r"\$(pipeline|stream)", ".*", target["expr"].replace("$__rate_interval", "5m"))


@pytest.fixture(scope="module")
def scrape(tmp_path_factory):
    """/metrics of `rigatoni run` in a process of its own, from a real server, after 50 changes."""
    folder = tmp_path_factory.mktemp("run")
    port = free_port()
    (folder / "pipeline.toml").write_text(CONFIGURATION.format(port=port))
    with mongodb_server(folder / "data") as uri:
        command = [sys.executable, "-m", "rigatoni_core.cli", "run", "pipeline.toml", "--log-format", "json"]
        environment = {"MONGODB_URI": f"{uri}?appName={SENTINEL}"}
        process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            wait_for(lambda: ask(port, "/readyz"), process)
            with MongoClient(uri) as client:
                client.shop.orders.insert_many([{"n": n, "secret": SENTINEL} for n in range(50)])
            wait_for(
                lambda: 'rigatoni_events_total{pipeline="p",stream="shop.orders"} 50.0' in ask(port, "/metrics"),
                process,
            )
            wait_for(lambda: ask(port, "/metrics").count("rigatoni_read_lag_seconds{") == 2, process)
            yield ask(port, "/metrics")
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=30)
            assert process.returncode == 0, log
        finally:
            process.kill()
            process.wait()


def ask(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.read().decode()
    except OSError:
        return ""


def wait_for(condition, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@needs_promtool
def test_check_metrics_on_a_scrape_of_a_real_run(scrape):
    assert promtool("check", "metrics", stdin=scrape) == (0, "")


def test_every_metric_is_in_a_scrape_of_a_real_run(scrape):
    described = set(re.findall(r"^# TYPE (\w+)", scrape, re.MULTILINE))
    assert {name_of(metric) for metric in (*FIGURES, *DISTRIBUTIONS)} <= described


def test_K3_the_scrape_of_a_real_run_holds_no_secret(scrape):
    assert SENTINEL not in scrape


@needs_promtool
def test_check_rules():
    assert promtool("check", "rules", str(ALERTS))[0] == 0


@needs_promtool
def test_each_alert_fires_when_it_should_and_only_then():
    assert promtool("test", "rules", str(Path(__file__).parent / "alerts.test.yml"))[0] == 0


def test_each_alert_has_a_test():
    tested = set(re.findall(r"alertname: (\w+)\n +exp_alerts", (Path(__file__).parent / "alerts.test.yml").read_text()))
    assert tested == set(re.findall(r"- alert: (\w+)", ALERTS.read_text(encoding="utf-8")))


@needs_promtool
def test_every_query_of_the_dashboard_is_promql(tmp_path):
    rules = [{"record": f"panel:{number}", "expr": expr} for number, (_, expr) in enumerate(expressions())]
    assert len(rules) > 20
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    status, text = promtool("check", "rules", str(tmp_path / "panels.yml"))
    assert status == 0, text


def test_every_metric_of_the_dashboard_and_the_alerts_exists():
    known = {name_of(figure) for figure in FIGURES} | {"rigatoni_build_info"}
    known |= {name_of(metric) + part for metric in DISTRIBUTIONS for part in ("_bucket", "_sum", "_count")}
    for where, text in [("alerts", ALERTS.read_text(encoding="utf-8")), *expressions()]:
        used = set(re.findall(r"rigatoni_\w+", text))
        assert used <= known, where
        assert used or where == "Memory of the processes"


def test_every_metric_has_a_panel():
    shown = " ".join(text for _, text in expressions())
    missing = {name_of(metric) for metric in (*FIGURES, *DISTRIBUTIONS) if name_of(metric) not in shown}
    assert not missing


def test_the_files_come_out_of_the_package():
    for what, begins in (("alerts", "# Alerting rules"), ("dashboard", "{")):
        answer = subprocess.run([sys.executable, "-m", "rigatoni_prometheus", what], capture_output=True, text=True)
        assert answer.stdout.startswith(begins)
    answer = subprocess.run([sys.executable, "-m", "rigatoni_prometheus"], capture_output=True, text=True)
    assert answer.returncode == 1
    assert "alerts|dashboard" in answer.stderr
