"""A scripted server of BigQuery's job API: a fake, for what no emulator keeps.

bqemulator 1.4.0 ignores job ids: two loads under one id are two loads. This fake keeps the rules that the destination
relies on (BigQuery REST reference, "jobs.insert" and "jobs.get"): an id can be used once, a second insert gets
409, also after a failure; a job is all or nothing. It stores no rows: a table is the list of loaded objects.
Faults are scripted: failing jobs, replies that get lost, refused requests. Only the real service can prove quotas,
permissions and the schema rules.
"""

import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import attrs

_JOB = re.compile(r"/bigquery/v2/projects/([^/]+)/jobs/([^/]+)").fullmatch
_DATASET = re.compile(r"/bigquery/v2/projects/([^/]+)/datasets/([^/]+)").fullmatch


@attrs.define
class BigQueryServer:
    """What the fake knows, and what it does next.

    Attributes:
        endpoint_url: Where it listens.
        dataset: The only dataset that exists.
        looks: How many looks at a job find it running before it ends.
        failures: The reasons and messages of the next jobs that fail, in order.
        lost: How many of the next inserts take effect without a reply.
        refusals: Statuses and reasons of the next requests that are refused, in order.
        tables: The loaded objects by table, in the order of their jobs.
        jobs: All jobs by id, as `jobs.get` returns them.
        inserted: The ids of all accepted inserts, in order.
    """

    endpoint_url: str
    dataset: str = "lake"
    looks: int = 0
    failures: list[tuple[str, str]] = attrs.field(factory=list)
    lost: int = 0
    refusals: list[tuple[int, str]] = attrs.field(factory=list)
    tables: defaultdict[str, list[str]] = attrs.field(factory=lambda: defaultdict(list))
    jobs: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    inserted: list[str] = attrs.field(factory=list)
    _remaining: dict[str, int] = attrs.field(factory=dict)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        """Answer a GET request."""
        with self._lock:
            if self.refusals:
                return _error(*self.refusals.pop(0))
            if found := _DATASET(path):
                reference = {"projectId": found[1], "datasetId": found[2]}
                if found[2] != self.dataset:
                    return _error(404, "notFound", f"Not found: Dataset {found[1]}:{found[2]}")
                return 200, {"datasetReference": reference, "location": "EU"}
            if (found := _JOB(path)) and (job := self.jobs.get(found[2])) is not None:
                self._move(found[2], job)
                return 200, job
            return _error(404, "notFound", f"Not found: {path}")

    def post(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """Answer an insert of a job; None: the job exists now, and the reply is lost."""
        with self._lock:
            if self.refusals:
                return _error(*self.refusals.pop(0))
            configuration, job_id = body["configuration"], body["jobReference"]["jobId"]
            if configuration.get("dryRun"):
                return 200, {**body, "status": {"state": "DONE"}}
            if job_id in self.jobs:
                return _error(409, "duplicate", f"Already Exists: Job {job_id}")
            self.jobs[job_id] = {**body, "status": {"state": "RUNNING"}}
            self._remaining[job_id] = self.looks
            self.inserted.append(job_id)
            if self.lost:
                self.lost -= 1
                return None
            return 200, self.jobs[job_id]

    def _move(self, job_id: str, job: dict[str, Any]) -> None:
        if job["status"]["state"] == "DONE":
            return
        self._remaining[job_id] -= 1
        if self._remaining[job_id] >= 0:
            return
        job["status"] = {"state": "DONE"}
        if self.failures:
            reason, message = self.failures.pop(0)
            job["status"]["errorResult"] = {"reason": reason, "message": message}
            return
        load = job["configuration"]["load"]
        self.tables[load["destinationTable"]["tableId"]] += load["sourceUris"]


def _error(status: int, reason: str, message: str = "refused") -> tuple[int, dict[str, Any]]:
    return status, {"error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}}


@contextmanager
def bigquery_server() -> Iterator[BigQueryServer]:
    """Yield a fake that listens on the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply(fake.get(urlsplit(self.path).path))

        def do_POST(self) -> None:
            self._reply(fake.post(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

        def log_message(self, *arguments: Any) -> None:
            """Log nothing."""

        def _reply(self, answer: tuple[int, dict[str, Any]] | None) -> None:
            if answer is None:
                self.close_connection = True
                return
            content = json.dumps(answer[1]).encode()
            self.send_response(answer[0])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake = BigQueryServer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
