"""The local page: the content of the screen, with charts, for browsers on this machine. It is read-only.

The page consists of three static files and one document of figures. It loads nothing from other sites, which a strict
content security policy enforces. The server responds only to requests that name this machine as their host, because the
name of another site may be made to resolve to it (DNS rebinding).
"""

import json
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from rigatoni_core.api.commands import Application
from rigatoni_core.api.errors import ConfigurationError

from rigatoni_top.history import History

HOST = "127.0.0.1"
_NAMES = (HOST, "localhost", "[::1]")
_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Page:
    """Serves the page until `close`, and looks at the processes all the while. Raises `ConfigurationError`.

    `port` is where it listens; where 0 was asked for, the one that the system chose.
    """

    def __init__(self, history: History, interval: float, port: int) -> None:
        self._history = history
        self._interval = interval
        self._lock = threading.Lock()
        self._ended = threading.Event()
        try:
            self._server = ThreadingHTTPServer((HOST, port), partial(_Handler, self._figures))
        except OSError as error:
            raise ConfigurationError(
                f"the page cannot listen on {HOST}:{port}: {error.strerror or error}",
                remedy="Give it another port: --port 0 takes any free one.",
            ) from None
        self.port: int = self._server.server_address[1]
        for work in (self._look, self._server.serve_forever):
            threading.Thread(target=work, name="rigatoni-top", daemon=True).start()

    def close(self) -> None:
        """Stop the server and end the responses that are open."""
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def _look(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                self._history.look()
            self._ended.wait(self._interval)

    def _figures(self) -> bytes:
        with self._lock:
            return json.dumps({**self._history.record(), "interval": self._interval}).encode()


def serve(app: Application, history: History, interval: float, port: int) -> None:
    """Serve the page until Ctrl-C."""
    page = Page(history, interval, port)
    app.echo(f"http://{HOST}:{page.port}/ shows what runs here; Ctrl-C ends")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        page.close()


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "rigatoni", ""
    timeout = 10  # seconds that a request may take to arrive

    def __init__(self, figures: Callable[[], bytes], *args: Any) -> None:
        self._figures = figures
        super().__init__(*args)  # which handles the request

    def do_GET(self) -> None:
        """The page's files, and the figures."""
        host, _, port = (self.headers.get("Host") or "").rpartition(":")
        if host not in _NAMES or port != str(self.connection.getsockname()[1]):
            self._answer(403, "text/plain", b"this page is for this machine: open it as http://127.0.0.1\n")
        elif self.path == "/figures.json":
            self._answer(200, "application/json", self._figures())
        elif self.path in _FILES:
            name, kind = _FILES[self.path]
            self._answer(200, kind, (files(__package__) / "static" / name).read_bytes())
        else:
            self._answer(404, "text/plain", b"there is nothing here\n")

    do_HEAD = do_GET  # noqa: N815 (the base class's name)

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Requests are not logged."""
