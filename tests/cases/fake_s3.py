"""A FAKE of S3: objects in memory, answers as AWS spells them, and faults on demand.

It checks no signature and promises nothing; what a real server can show is tested on a real one. Two things are only
possible here: errors that no server makes when it is asked to, and a bucket of a million objects (`VirtualBucket`).
"""

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

import attrs

Object = tuple[bytes, Mapping[str, str]]
"""Content, and headers: `content-type` and `x-amz-meta-*`."""


@attrs.frozen
class Fault:
    """What the next `times` requests of this operation on keys that hold `part` are answered with."""

    operation: str
    part: str
    status: int
    code: str
    message: str = "made by the fake"
    times: int = 1


class Objects:
    """What a bucket holds, as the server asks for it: keys in order, contents, conditional creation."""

    def __init__(self) -> None:
        self._objects: dict[str, Object] = {}
        self._lock = Lock()

    def get(self, key: str) -> Object | None:
        return self._objects.get(key)

    def put(self, key: str, content: bytes, headers: Mapping[str, str], *, only_if_absent: bool) -> bool:
        with self._lock:
            if only_if_absent and self.get(key) is not None:
                return False
            self._objects[key] = (content, headers)
            return True

    def delete(self, key: str) -> None:
        self._objects.pop(key, None)

    def keys(self) -> Sequence[str]:
        """All keys in the order of their names."""
        return sorted(self._objects)


class VirtualBucket(Objects):
    """Objects that were put, and very many more that exist only as a rule: key and headers of number `n`, in order."""

    def __init__(self, count: int, key: Callable[[int], str], headers: Callable[[int], Mapping[str, str]]) -> None:
        super().__init__()
        self._count, self._key, self._headers = count, key, headers

    def get(self, key: str) -> Object | None:
        virtual = _Keys(self._count, self._key)
        place = bisect_left(virtual, key)
        if place < self._count and virtual[place] == key:
            return b"", self._headers(place)
        return super().get(key)

    def keys(self) -> Sequence[str]:
        own = super().keys()
        if not self._count:
            return own
        virtual = _Keys(self._count, self._key)
        before = bisect_left(own, virtual[0])
        assert before == bisect_left(own, virtual[self._count - 1]), "an object lies between the virtual ones"
        return _Keys(
            len(own) + self._count,
            lambda n: (
                own[n] if n < before else virtual[n - before] if n < before + self._count else own[n - self._count]
            ),
        )


class _Keys(Sequence[str]):
    """Names by a rule, made when they are asked for."""

    def __init__(self, count: int, key: Callable[[int], str]) -> None:
        self._count, self._key = count, key

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._key(index)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client may go at any time."""


class FakeS3:
    """Listens at `endpoint_url` while it is entered. `requests` holds operation and key of each request, in order.

    `delays` are seconds that each request of an operation (Get, Head, Put, Delete, List, Post) takes.
    """

    def __init__(self, objects: Objects | None = None) -> None:
        self.objects = objects or Objects()
        self.requests: list[tuple[str, str]] = []
        self.delays: dict[str, float] = {}
        self.faults: list[Fault] = []
        self.most_lists = 10**9
        """After this many listings it refuses further ones, so that a linear walk ends."""
        self._lock = Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def options(self) -> dict[str, Any]:
        """What a destination needs to write here."""
        return {"bucket": "fake", "endpoint_url": self.endpoint_url, "region": "us-east-1"}

    @property
    def toml(self) -> str:
        """The same as lines of a pipeline's file."""
        lines = [f'{name} = "{value}"' for name, value in self.options.items()]
        return "\n".join(['type = "s3"', *lines, 'access_key_id = "x"', 'secret_access_key = "y"'])

    def fail(self, operation: str, part: str, status: int, code: str, *, times: int = 1) -> None:
        """Answer the next requests so, probes excepted."""
        self.faults.append(Fault(operation, part, status, code, times=times))

    def count(self, operation: str) -> int:
        """How many requests of this operation arrived."""
        return sum(asked == operation for asked, _ in self.requests)

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: "BaseHTTPRequestHandler") -> tuple[int, bytes, Mapping[str, str]]:
        """Status, body and headers for a request."""
        url = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        key = unquote(url.path).lstrip("/").partition("/")[2]
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        operation = "List" if "list-type" in query else request.command.capitalize()
        with self._lock:
            self.requests.append((operation, query.get("prefix", key)))
        time.sleep(self.delays.get(operation, 0.0))
        if fault := self._fault(operation, key):
            return _error(fault.status, fault.code, fault.message)
        match operation:
            case "List":
                if self.count("List") > self.most_lists:
                    return _error(403, "AccessDenied", "too many listings")
                return self._listed(query)
            case "Put" if "uploadId" not in query:
                kept = {
                    name.lower(): value
                    for name, value in request.headers.items()
                    if name.lower().startswith("x-amz-meta-") or name.lower() == "content-type"
                }
                only_if_absent = request.headers.get("If-None-Match") == "*"
                if not self.objects.put(key, body, kept, only_if_absent=only_if_absent):
                    return _error(412, "PreconditionFailed", "it exists")
                return 200, b"", {"ETag": '"x"'}
            case "Delete":
                self.objects.delete(key)
                return 204, b"", {}
            case "Get" | "Head":
                found = self.objects.get(key)
                return (200, *found) if found else _error(404, "NoSuchKey", "no such key")
            case "Post" if "uploads" in query:
                upload = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
                return 200, upload.encode(), {}
        return _error(501, "NotImplemented", "the fake does not know it")

    def _fault(self, operation: str, key: str) -> Fault | None:
        with self._lock:
            for index, fault in enumerate(self.faults):
                if fault.operation == operation and fault.part in key and "_rigatoni-probe" not in key:
                    if fault.times == 1:
                        return self.faults.pop(index)
                    self.faults[index] = attrs.evolve(fault, times=fault.times - 1)
                    return fault
        return None

    def _listed(self, query: Mapping[str, str]) -> tuple[int, bytes, Mapping[str, str]]:
        """One page of a listing (S3 API reference, "ListObjectsV2")."""
        keys, prefix, delimiter = self.objects.keys(), query.get("prefix", ""), query.get("delimiter", "")
        most = int(query.get("max-keys", 1000))
        after = query.get("continuation-token") or query.get("start-after") or ""
        place = max(bisect_left(keys, prefix), bisect_right(keys, after) if after else 0)
        page: list[str] = []
        while place < len(keys) and len(page) < most and (key := keys[place]).startswith(prefix):
            rest = key.removeprefix(prefix)
            if delimiter and delimiter in rest:
                group = prefix + rest.partition(delimiter)[0] + delimiter
                place = bisect_left(keys, group + "\U0010ffff")
                if group <= after:
                    continue
                page.append(group)
                continue
            page.append(key)
            place += 1
        more = place < len(keys) and keys[place].startswith(prefix)
        token = (page[-1] + "\U0010ffff" if delimiter and page[-1].endswith(delimiter) else page[-1]) if more else ""
        parts = [
            f"<CommonPrefixes><Prefix>{_spelled(name)}</Prefix></CommonPrefixes>"
            if delimiter and name.endswith(delimiter)
            else f"<Contents><Key>{_spelled(name)}</Key><Size>1</Size></Contents>"
            for name in page
        ]
        body = (
            f"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{f'<NextContinuationToken>{escape(token)}</NextContinuationToken>' if more else ''}{''.join(parts)}"
            "</ListBucketResult>"
        )
        return 200, body.encode(), {"content-type": "application/xml"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def answer(self) -> None:
                status, body, headers = fake.answer(self)
                lines = {**headers, "content-length": str(len(body))}
                head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
                content = body if self.command != "HEAD" else b""
                self.wfile.write(f"HTTP/1.1 {status} Made\r\n{head}\r\n".encode("latin-1") + content)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 (the names of http.server)

        return Handler


def _spelled(key: str) -> str:
    return quote(key, safe="/")


def _error(status: int, code: str, message: str) -> tuple[int, bytes, Mapping[str, str]]:
    body = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return status, body.encode(), {"content-type": "application/xml"}
