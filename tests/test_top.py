"""`rigatoni top`: the screen in a pseudo terminal at two widths, the page in a real browser."""

import fcntl
import http.client
import json
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "rigatoni_core.cli"]
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--enable-logging=stderr", "--v=0", "--virtual-time-budget=4000"),
]
SECRET = "sentinel-password"


@pytest.fixture(autouse=True)
def runtime(monkeypatch):
    """Status sockets of this test alone; a path to a socket must be short."""
    with tempfile.TemporaryDirectory(prefix="rig-") as folder:
        monkeypatch.setenv("RIGATONI_RUNTIME_DIR", f"{folder}/run")
        yield


@pytest.fixture
def running(place, wait_for, rigatoni):
    """Two streams, one of them with an odd name; 30 events."""
    text = Path("pipeline.toml").read_text().replace('.orders"', f'.orders", "{place.name}.<b>bold"')
    Path("pipeline.toml").write_text(text)
    with Path("run.log").open("wb") as log:
        process = subprocess.Popen([*COMMAND, "run", "pipeline.toml", "--log-format", "json"], stderr=log, stdout=log)
    try:
        wait_for(lambda: Path("run.log").read_text().count("starts at") == 2)
        place.orders.insert_many([{"_id": n, "n": n} for n in range(30)])
        wait_for(lambda: '"events": 30' in rigatoni("status", "--json").stdout)
        yield place.name
    finally:
        process.terminate()
        process.wait(timeout=40)


def test_one_look_is_a_table_or_json_and_3_says_that_nothing_runs(running, rigatoni, tmp_path):
    answer = rigatoni("top", "--once", "--interval", "0.2")
    assert answer.returncode == 0
    assert re.search(rf"p/{running}\.orders +\d+ +running .* 30 ", answer.stdout)
    record = json.loads(rigatoni("top", "pipeline.toml", "--json", "--interval", "0.2").stdout)
    status = json.loads(rigatoni("status", "--json").stdout)
    streams = {stream["name"]: stream for stream in record["streams"]}
    (pipeline,) = status[0]["pipelines"]
    assert set(streams) == {f"{running}.orders", f"{running}.<b>bold"}
    for each in pipeline["streams"]:
        assert set(each) < set(streams[each["name"]])  # one list of figures for both commands
    assert streams[f"{running}.orders"]["events"] == 30
    (tmp_path / "other.toml").write_text("")
    other = rigatoni("top", "other.toml", "--once")
    assert other.returncode == 3
    assert "no pipeline from that file is running" in other.stderr


@contextmanager
def terminal(columns):
    """`rigatoni top` in a terminal of this width: what it has drawn so far, and a way to press keys."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    environment = os.environ | {"TERM": "xterm", "COLUMNS": str(columns), "LINES": "30"}
    command = [*COMMAND, "top", "--interval", "0.2"]
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    drawn = bytearray()

    def screen():
        while select.select([leader], [], [], 0.1)[0]:
            try:
                drawn.extend(os.read(leader, 65_536))
            except OSError:
                break
        return drawn.decode(errors="replace")

    try:
        yield process, screen, lambda keys: os.write(leader, keys)
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def last_frame(drawn):
    """What stands on the screen: what was drawn since the cursor last went home, without escape sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.rpartition("\x1b[H")[2])


@pytest.mark.parametrize(("columns", "wide"), [(80, False), (160, True)])
def test_the_screen_fits_its_terminal_sorts_and_quits(running, wait_for, columns, wide):
    with terminal(columns) as (process, screen, press):
        wait_for(lambda: f"{running}.orders" in screen() and "running" in screen())
        text = last_frame(screen())
        assert all(len(line.rstrip()) <= columns for line in text.splitlines())
        assert ("lease" in text, "bytes/s" in text) == (wide, wide)
        assert "stream▾" in text
        press(b"s")
        wait_for(lambda: "state▾" in screen())
        press(b"q")
        assert process.wait(timeout=10) == 0


@contextmanager
def page():
    process = subprocess.Popen(
        [*COMMAND, "top", "--web", "--port", "0", "--interval", "0.2"], stdout=subprocess.PIPE, text=True
    )
    try:
        yield int(re.search(r":(\d+)/", process.stdout.readline())[1])
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def get(port, path="/", method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), content


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_the_streams_without_a_word_in_its_console(running, tmp_path, width):
    with page() as port:
        time.sleep(1)  # some looks for the charts
        command = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},1400"]
        seen = subprocess.run(
            [*command, "--dump-dom", f"http://127.0.0.1:{port}/"], capture_output=True, text=True, timeout=90
        )
    assert "CONSOLE" not in seen.stderr, seen.stderr
    assert f"<h2>p/{running}.orders</h2>" in seen.stdout
    assert f"<h2>p/{running}.&lt;b&gt;bold</h2>" in seen.stdout  # text, never markup
    assert "all well" in seen.stdout
    assert "<polyline" in seen.stdout
    assert SECRET not in seen.stdout
    for chart in ("events a second", "read lag", "delivery lag"):
        assert f'aria-label="{chart}: ' in seen.stdout


MEASURE = """
setInterval(() => {
  const page = document.documentElement;
  page.dataset.measured = `${document.querySelectorAll("article").length} ${page.scrollWidth} ${page.clientWidth}`;
}, 100);
"""


@contextmanager
def measured(port):
    """The page again, from a server of this test, with a script that measures it; its policy allows no such script."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, content = get(port, self.path)
            content += f"<script>{MEASURE}</script>".encode() * (self.path == "/")
            self.send_response(status)
            self.send_header("Content-Type", headers["Content-Type"])
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_the_width_of_its_window(running, tmp_path, width):
    with page() as port, measured(port) as measuring:
        command = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},1400"]
        url = f"http://127.0.0.1:{measuring}/"
        seen = subprocess.run([*command, "--dump-dom", url], capture_output=True, text=True, timeout=90)
    articles, needed, shown = map(int, re.search(r'data-measured="(\d+) (\d+) (\d+)"', seen.stdout).groups())
    assert articles == 2
    assert shown <= max(width, 500)  # the smallest window of Chromium
    assert needed <= shown
