"""A proxy between boto and a store that injects faults.

    with FaultProxy(server.endpoint_url) as proxy:
        proxy.on("PUT", ".ndjson", Response(503, "SlowDown", {"Retry-After": "2"}), times=2)
        ...  # endpoint_url = proxy.endpoint_url

All other requests pass unchanged, including signatures. Without an upstream it is a sink: it accepts every request and
keeps only definition records, so that a stream can start. `requests` holds the requests received, in order.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Literal
from urllib.parse import unquote, urlsplit

import attrs
from rigatoni_testing.proxy import LoopbackServer


@attrs.frozen
class Request:
    """A request received: method, percent-decoded path with query, headers with lower-case names, and body."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)


@attrs.frozen
class Response:
    """A response of the proxy: the store never receives the request."""

    status: int
    code: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict)


Fault = Response | Literal["lose response", "cut body", "hang"] | Callable[[Request], None]
"""`lose response`: forward, then drop the connection. `cut body`: forward half, then drop both connections. `hang`:
never respond. A function is called before the request is forwarded, and blocks the proxy's event loop."""


@attrs.define
class _Rule:
    method: str
    part: str
    fault: Fault
    times: int


class FaultProxy(LoopbackServer):
    """A context manager that listens at `endpoint_url` until it exits."""

    def __init__(self, upstream: str | None = None) -> None:
        super().__init__("fault-proxy")
        self._upstream = urlsplit(upstream) if upstream else None
        self._rules: list[_Rule] = []
        self._definitions: dict[str, bytes] = {}
        self._never = asyncio.Event()  # a reference, so that waiting tasks are not collected
        self.requests: list[Request] = []

    def on(self, method: str, part: str, fault: Fault, *, times: int = 1) -> None:
        """Inject the fault into the next `times` requests of this method with `part` in their path."""
        self._rules.append(_Rule(method, part, fault, times))

    def calm(self) -> None:
        """Stop injecting faults."""
        self._rules.clear()

    def seen(self, method: str, part: str = "") -> Sequence[Request]:
        """Return the requests of this method with `part` in their path."""
        return [request for request in self.requests if request.method == method and part in request.path]

    @property
    def endpoint_url(self) -> str:
        """The URL at which it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; see `LoopbackServer`."""
        while (request := await _read_request(reader, writer)) is not None:
            self.requests.append(request)
            if not await self._respond(request, writer):
                return

    async def _respond(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Respond to the request; return False if the connection ends with it."""
        fault = self._fault(request)
        if fault == "hang":
            await self._never.wait()
        if isinstance(fault, Response):
            writer.write(_encoded(fault, request))
            await writer.drain()
            return True
        if callable(fault):
            fault(request)
        if self._upstream is None:
            writer.write(self._sink(request))
            await writer.drain()
            return True
        response = await self._forward(request, cut=fault == "cut body")
        if isinstance(fault, str):
            writer.transport.abort()
            return False
        writer.write(response)
        await writer.drain()
        return True

    def _fault(self, request: Request) -> Fault | None:
        for rule in self._rules:
            if rule.times > 0 and rule.method == request.method and rule.part in request.path:
                rule.times -= 1
                return rule.fault
        return None

    def _sink(self, request: Request) -> bytes:
        """Return the response of a sink."""
        path, _, query = request.path.partition("?")
        status, body = "200 OK", b""
        if request.method == "PUT" and "/_rigatoni/definition-" in path:
            self._definitions[path] = request.body
        elif request.method == "GET" and path in self._definitions:
            body = self._definitions[path]
        elif request.method == "GET":
            keys = (kept.lstrip("/").partition("/")[2] for kept in self._definitions)
            prefix = query.partition("prefix=")[2].partition("&")[0]
            listed = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys if key.startswith(prefix))
            body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{listed}</ListBucketResult>".encode()
        elif request.method == "HEAD":
            status = "404 Not Found"
        elif request.method == "POST":
            kind = "InitiateMultipartUploadResult" if "uploads" in query else "CompleteMultipartUploadResult"
            body = f"<{kind}><UploadId>sink</UploadId></{kind}>".encode()
        return f'HTTP/1.1 {status}\r\nETag: "sink"\r\nContent-Length: {len(body)}\r\n\r\n'.encode() + body

    async def _forward(self, request: Request, *, cut: bool) -> bytes:
        """Return the store's whole response, received over a separate connection."""
        assert self._upstream is not None
        reader, writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        try:
            headers = "".join(
                f"{name}: {value}\r\n"
                for name, value in request.headers.items()
                if name not in ("expect", "connection", ":target")
            )
            head = f"{request.method} {request.headers[':target']} HTTP/1.1\r\n{headers}connection: close\r\n\r\n"
            body = request.body[: len(request.body) // 2] if cut else request.body
            writer.write(head.encode("latin-1") + body)
            await writer.drain()
            return b"" if cut else await reader.read(-1)
        finally:
            writer.close()


async def _read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    line, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = line.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, unquote(target), {":target": target, **headers}, body)


def _encoded(response: Response, request: Request) -> bytes:
    body = f"<Error><Code>{response.code}</Code><Message>made by the proxy</Message></Error>" if response.code else ""
    if request.method == "HEAD":
        body = ""
    headers = {"Content-Type": "application/xml", "Content-Length": str(len(body)), **response.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {response.status} Made\r\n{lines}\r\n{body}".encode("latin-1")
