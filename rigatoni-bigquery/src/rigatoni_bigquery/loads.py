"""The loads of one stream: which objects each load job takes, and whether it is done.

The objects in the bucket are the truth, written by the chain of rigatoni-objects: each event is in one of them, and
their names sort by time. A *load* is a record next to them, created only if absent, that names consecutive objects:
those after the load before it. Its job ids follow from the record and the number of the attempt, so every owner
starts the same job, and a repeated request is refused by BigQuery (409). The attempt grows only once the job of the
attempt before is DONE with an error; a job that is running or unknown is awaited. Every object is therefore loaded
exactly once, however often its owners are killed.

_rigatoni/loads/<table>/<number>.json        the load: its objects
_rigatoni/loads/<table>/<number>.done.json   its job has ended without an error

`<table>` is a digest of the table's name: a pipeline whose table is changed loads all objects into the new one.
"""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import attrs
from rigatoni_core.api.events import Position
from rigatoni_objects.file_layout import stem
from rigatoni_objects.paths import OWN, STEM
from rigatoni_objects.store import ObjectStore

from rigatoni_bigquery.errors import TEMPORARY, BigQueryLoadError
from rigatoni_bigquery.jobs import MAX_OBJECTS, Job, Jobs, created_at

State = Literal["idle", "waiting", "loading"]
"""Nothing to load; something that waits for the table's turn; a job that runs."""

FORMAT = 1
"""The version of the records."""
_JSON = "application/json"
_ORDER = 30
"""The length of what orders objects by time in their names: seconds, increment and ordinal."""
_SAFE = ("Provided Schema does not match", "Not found", "Access Denied", "Quota exceeded", "Exceeded ", "Invalid field")


class Pace:
    """Lets a table take at most one load job in an interval, of all streams of this process together.

    Args:
        interval: Seconds.
        clock: Returns seconds since 1970.
    """

    def __init__(self, interval: float, clock: Callable[[], float]) -> None:
        self.interval = interval
        self.clock = clock
        self._last: dict[str, float] = {}

    def saw(self, table: str, time: float) -> None:
        """Count a job that was started at this time, perhaps by another process."""
        self._last[table] = max(time, self._last.get(table, 0.0))

    def take(self, table: str) -> bool:
        """Return whether the table may take a job now, and count it."""
        now = self.clock()
        if now - self._last.get(table, 0.0) < self.interval:
            return False
        self._last[table] = now
        return True


@attrs.frozen
class Load:
    """One load: its number, its objects (keys below the stream's folder, in order), and when it was recorded."""

    number: int
    objects: tuple[str, ...]
    recorded: str

    def dump(self, table: str) -> bytes:
        """Return the record's content."""
        record = {"format": FORMAT, "table": table, "recorded": self.recorded, "objects": self.objects}
        return json.dumps(record, indent=1).encode() + b"\n"

    @classmethod
    def parse(cls, number: int, content: bytes) -> "Load":
        """Return the load of a record's content."""
        record = json.loads(content)
        if record.get("format") != FORMAT:
            raise BigQueryLoadError(
                f"the record of load {number} has format {record.get('format')}, and this version knows {FORMAT}",
                remedy="Upgrade rigatoni-bigquery.",
            )
        return cls(number, tuple(record["objects"]), str(record["recorded"]))


class StreamLoads:
    """The loads of one stream into one table. Its calls block and are made one at a time.

    Args:
        store: The stream's objects.
        where: The stream's folder, `gs://bucket/…/`.
        jobs: The load jobs.
        table: The table's name.
        suffix: What the names of the stream's objects end with.
        pace: When the table may take a job.
    """

    def __init__(self, store: ObjectStore, where: str, jobs: Jobs, table: str, suffix: str, pace: Pace) -> None:
        self.table = table
        self.loaded = 0
        """Objects of the loads that this run saw ending."""
        self._store = store
        self._where = where
        self._jobs = jobs
        self._is_object = re.compile(rf"{STEM.pattern.removesuffix('[^/]*$')}{re.escape(suffix)}$").fullmatch
        self._pace = pace
        digest = hashlib.sha256(f"{jobs.project}.{jobs.dataset}.{table}".encode()).hexdigest()
        self._folder = f"{OWN}loads/{digest[:16]}/"
        self._number: int | None = None
        self._after = ""
        self._load: Load | None = None
        self._attempt = 1
        self._started = False  # a job of the load in hand, by this run
        self._has_more = False  # objects that wait for the table's turn

    def begin(self, position: Position) -> None:
        """Check that what the stream writes after its newest complete batch sorts after what is loaded.

        Args:
            position: The end of that batch.

        Raises:
            BigQueryLoadError: It does not, as when another deployment's clock is behind. It would never be loaded.
        """
        load = self._load or self._begun()
        newest = load.objects[-1] if load else self._after
        if stem(position)[:_ORDER] < newest[:_ORDER]:
            raise BigQueryLoadError(
                f"{self._where}: the stream continues before objects that are loaded into {self.table}, so what "
                "it writes now would not be loaded",
                remedy="Set table to another name: all objects are loaded into it.",
            )

    def advance(self) -> State:
        """Take the next step: look at the job in hand, else record and start the next load.

        Raises:
            BigQueryLoadError: The job that this run has started failed, and a retry would not help.
            BigQueryError: A request failed.
        """
        while True:
            load = self._load or self._begun()
            if load is None and not (load := self._next()):
                return "waiting" if self._has_more else "idle"
            self._load = load
            state = self._step(load)
            if state is not None:
                return state
            self._done(load)

    def _begun(self) -> Load | None:
        """Return the load in hand that is on record, if any."""
        if self._number is None:
            self._number = _first_missing(lambda number: self._store.head(self._done_path(number)) is not None)
            if self._number:
                self._follow(self._read(self._number - 1))
        content = self._store.read(self._path(self._number))
        return Load.parse(self._number, content) if content is not None else None

    def _next(self) -> Load | None:
        """Record the next load, if there are objects to load and the table may take a job."""
        assert self._number is not None
        keys = [key for key in self._store.keys("", after=self._after, limit=MAX_OBJECTS) if self._is_object(key)]
        self._has_more = bool(keys)
        if not keys or not self._pace.take(self.table):
            return None
        recorded = datetime.fromtimestamp(self._pace.clock(), UTC).isoformat(timespec="milliseconds")
        load = Load(self._number, tuple(keys), recorded)
        if self._store.create(self._path(load.number), load.dump(self.table), media_type=_JSON, record={}):
            self._insert(load)
            return load
        return self._read(load.number)

    def _step(self, load: Load) -> State | None:
        """Look at the job of the newest attempt; None if the load is done."""
        while (job := self._jobs.find(self._job_id(load))) is not None and job.state == "failed":
            temporary = job.reason in TEMPORARY
            if self._started and not temporary:
                raise self._failed(load, job)
            self._attempt += 1
            self._started = False
        if job is None:
            if not self._started and not self._pace.take(self.table):
                return "waiting"
            self._insert(load)
            return "loading"
        return "loading" if job.state == "running" else None

    def _insert(self, load: Load) -> None:
        self._started = True
        uris = [f"{self._where}{key}" for key in load.objects]
        self._jobs.insert(self._job_id(load), self.table, uris)

    def _done(self, load: Load) -> None:
        self._store.create(self._done_path(load.number), b"{}\n", media_type=_JSON, record={})
        self.loaded += len(load.objects)
        self._follow(load)
        self._number = load.number + 1
        self._load, self._attempt, self._started = None, 1, False

    def _follow(self, load: Load) -> None:
        self._after = load.objects[-1]
        self._pace.saw(self.table, created_at(load.recorded))

    def _failed(self, load: Load, job: Job) -> BigQueryLoadError:
        self._started = False  # if the worker is started again, the load is repeated
        return BigQueryLoadError(
            f"job {self._job_id(load)}, which loads {len(load.objects)} objects of {self._where} into the table "
            f"{self._jobs.project}.{self._jobs.dataset}.{self.table}, failed: {_shown(job)}"
        )

    def _read(self, number: int) -> Load:
        content = self._store.read(self._path(number))
        if content is None:
            raise BigQueryLoadError(
                f"{self._where}{self._path(number)} is missing: nothing else tells which objects were loaded",
                remedy="Restore the object, for example from a noncurrent version. Exempt _rigatoni/ from lifecycle "
                "rules.",
            )
        return Load.parse(number, content)

    def _path(self, number: int) -> str:
        return f"{self._folder}{number:010}.json"

    def _done_path(self, number: int) -> str:
        return f"{self._folder}{number:010}.done.json"

    def _job_id(self, load: Load) -> str:
        digest = hashlib.sha256(f"{self._where}{self._path(load.number)}".encode()).hexdigest()
        return f"rigatoni_{digest[:32]}_{self._attempt}"


def _first_missing(exists: Callable[[int], bool]) -> int:
    """Return the first number that does not exist, of numbers that exist without holes from 0; O(log n) looks."""
    high = 1
    if not exists(0):
        return 0
    while exists(high):
        high *= 2
    low = high // 2  # exists
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if exists(middle) else (low, middle)
    return high


def _shown(job: Job) -> str:
    """Return the reason of a failed job, with its message only if that is known to quote no values of rows."""
    message = job.message.partition("\n")[0][:300]
    return f"{job.reason}: {message}" if message.startswith(_SAFE) else job.reason
