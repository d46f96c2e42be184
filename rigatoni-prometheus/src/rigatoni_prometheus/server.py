"""Serves metrics, health and readiness over HTTP, on daemon threads, so that a busy event loop delays no scrape."""

import asyncio
import json
import socket
import socketserver
from collections.abc import Iterable
from threading import Thread
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from rigatoni_core.observe.statistics import Statistics

from rigatoni_prometheus.errors import translated
from rigatoni_prometheus.health import is_alive, readiness

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class MetricsServer:
    """Listens from its creation until `close`.

    Raises:
        PrometheusError: The port cannot be opened.
    """

    def __init__(self, host: str, port: int, registry: CollectorRegistry, statistics: Statistics) -> None:
        application = _application(registry, statistics, asyncio.get_running_loop())
        with translated(host, port):
            server_class = _ServerOnIPv6 if ":" in host else _Server
            self._server = make_server(host, port, application, server_class=server_class, handler_class=_Handler)
        self.port: int = self._server.server_address[1]
        """The port that it listens on. For port 0, the system has chosen it."""
        Thread(target=self._server.serve_forever, args=(0.1,), name="rigatoni-prometheus", daemon=True).start()

    def close(self) -> None:
        """Stop listening. Blocks for up to 0.1 s: do not call it on the event loop."""
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """Serves each request on a daemon thread, so that no request delays the exit of the process."""

    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without looking up the host's full name, unlike the base class: a name server may be slow."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that send nothing or disconnect. Errors of the application get a response."""


class _ServerOnIPv6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 10  # seconds until a request must have arrived

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Log nothing."""


def _application(
    registry: CollectorRegistry, statistics: Statistics, loop: asyncio.AbstractEventLoop
) -> "WSGIApplication":
    metrics = make_wsgi_app(registry)

    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return metrics(environ, start_response)  # type: ignore[no-any-return]
            case "/healthz":
                alive = is_alive(loop)
                return _respond(start_response, alive, {"alive": alive})
            case "/readyz":
                ready, states = readiness(statistics)
                return _respond(start_response, ready, {"ready": ready, "workers": states})
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"/metrics /healthz /readyz\n"]

    return application


def _respond(start_response: "StartResponse", good: bool, content: dict[str, Any]) -> Iterable[bytes]:
    start_response("200 OK" if good else "503 Service Unavailable", [("Content-Type", "application/json")])
    return [json.dumps(content).encode() + b"\n"]
