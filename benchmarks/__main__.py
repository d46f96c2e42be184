"""Runs all benchmarks in one run, and writes a page with a plot.

    python -m nox -s bench                 (--quick: a few minutes, for a first impression)

The benchmarks compare a hand-written script with PyMongo (`watch()`, json_util, gzip, files), Rigatoni without the
accelerator, and Rigatoni with it. A server that is never the bottleneck feeds encoded change events of about 876 bytes,
1,000 a reply. Rounds alternate, so that other load on the machine affects all candidates alike; the median counts. The
benchmarks measure the CPU time of the reading process: user and system, all threads. That process has one core, and the
server has the others, except if several streams share all cores.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import attrs
import zstandard
from rigatoni_mongodb.testing.feeder import document, feeder

from benchmarks.plot import plot
from benchmarks.sink import sink
from benchmarks.tables import figures_table, formats_table, latency_table, masking_table, plain_table, rows_table

Measurement = Callable[[], float]
NATIVE = importlib.util.find_spec("rigatoni_native") is not None


def cores_now() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


ALL = cores_now()
ONE = set(sorted(ALL)[:1])
"""The core for processes that are limited to one. The feeder and everything else use the others."""

PATHS = {"without the accelerator": ["--pure"], **({"with the accelerator": []} if NATIVE else {})}


def main() -> None:
    arguments = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--quick", action="store_true", help="fewer events and rounds, for a first impression")
    arguments.add_argument("--events", type=int, help="events per measurement (300000; 20000 with --quick)")
    arguments.add_argument("--rounds", type=int, help="measurements of everything (3; 2 with --quick)")
    arguments.add_argument("--only", help="the sections to run, such as formats,memory")
    arguments.add_argument("--output", type=Path, help="the file of the page; the plot is next to it (default: stdout)")
    arguments.add_argument("--json", action="store_true", help="the figures as JSON on stdout")
    options = arguments.parse_args()
    rounds = options.rounds or (2 if options.quick else 3)
    bench = Bench(events=options.events or (20_000 if options.quick else 300_000), rounds=rounds)
    names = options.only.split(",") if options.only else [*SECTIONS]
    if unknown := set(names) - set(SECTIONS):
        arguments.error(f"there is no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    with using(ALL - ONE or ALL):
        for name in names:
            SECTIONS[name].measure(bench)
    if options.json:
        print(json.dumps(bench.figures, indent=2))
    elif options.output:
        options.output.write_text(bench.page(), encoding="utf-8")
        if "formats" in bench.figures:
            plot(bench.figures["formats"], options.output.with_suffix(".svg"))
    else:
        print(bench.page())


class Bench:
    """Runs processes and collects their output by section."""

    def __init__(self, *, events: int, rounds: int) -> None:
        self.events, self.rounds = events, rounds
        self.figures: dict[str, dict[str, Any]] = {}

    def alternate(self, section: str, measured: dict[str, Measurement]) -> dict[str, list[float]]:
        """Run the candidates alternately, in several rounds."""
        found: dict[str, list[float]] = defaultdict(list)
        for number in range(self.rounds):
            for name, measurement in measured.items():
                say(f"{section}, round {number + 1} of {self.rounds}: {name}")
                found[name].append(measurement())
        self.figures[section] = dict(found)
        return found

    def page(self) -> str:
        parts = [HEAD.format(about=about(), events=self.events, rounds=self.rounds)]
        for name, section in SECTIONS.items():
            if name in self.figures:
                parts.append(f"## {section.title}\n\n{section.table(self.figures[name])}")
        return "\n".join(parts)


def process(*command: object, cores: set[int] = ALL) -> dict[str, float]:
    """Run a process on these cores, and return the figures that it prints."""
    with using(cores):  # a process inherits the cores of its parent
        answer = subprocess.run(
            [sys.executable, "-m", *map(str, command)], check=True, stdout=subprocess.PIPE, text=True
        )
    figures: dict[str, float] = json.loads(answer.stdout)
    return figures


@contextmanager
def using(cores: set[int]) -> Iterator[None]:
    """Use only these cores in this block, if the system supports it."""
    before = cores_now()
    if cores:
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        if before:
            os.sched_setaffinity(0, before)


def each(figures: dict[str, float], events: int) -> float:
    """Return the CPU time per event in microseconds."""
    return figures["seconds"] / events * 1e6


def by_hand(uri: str, events: int, *more: object) -> Measurement:
    def measure() -> float:
        with tempfile.TemporaryDirectory() as folder:
            return each(process("benchmarks.by_hand_stream", uri, events, folder, *more, cores=ONE), events)

    return measure


def ours(uri: str | None, events: int, *more: object, streams: int = 1) -> Measurement:
    source = ["--uri", uri] if uri else []
    command = ["benchmarks.pipeline", *source, "--events", events, "--streams", streams, *more]
    return lambda: each(process(*command, cores=ONE), events * streams)


def floor(bench: Bench) -> None:
    """Measure the work that no reader can avoid: copying the bytes and compressing the output."""
    block = "\n".join(json.dumps(document(number, 630), default=str) for number in range(5000)).encode()
    compressor = zstandard.ZstdCompressor(level=3)
    large = bytearray(876 * 100_000)

    def timed(work: Callable[[], object], events: int) -> Measurement:
        def measure() -> float:
            began = time.process_time()
            work()
            return (time.process_time() - began) / events * 1e6

        return measure

    bench.alternate(
        "floor",
        {
            "one copy of 876 bytes (memcpy)": timed(lambda: bytes(large), 100_000),
            "zstd, level 3, of a document as JSON": timed(lambda: compressor.compress(block), 5000),
        },
    )


def formats(bench: Bench) -> None:
    with feeder(bench.events) as uri:
        measured: dict[str, Measurement] = {"hand-written: json+gzip": by_hand(uri, bench.events)}
        for serializer in ("json", "json+gzip", "json+zstd", "csv+zstd", "avro", "parquet", "parquet, nested"):
            for path, flags in PATHS.items():
                measured[f"{serializer}, {path}"] = ours(uri, bench.events, "--serializer", serializer, *flags)
        bench.alternate("formats", measured)


def masking(bench: Bench) -> None:
    with feeder(bench.events) as uri:
        measured: dict[str, Measurement] = {
            "hand-written: json+gzip": by_hand(uri, bench.events),
            "hand-written: json+gzip, masked": by_hand(uri, bench.events, "mask"),
        }
        for path, flags in PATHS.items():
            measured[f"json+zstd, {path}"] = ours(uri, bench.events, *flags)
            measured[f"json+zstd, select and mask, {path}"] = ours(uri, bench.events, "--transforms", *flags)
        bench.alternate("masking", measured)


def rows(bench: Bench) -> None:
    """Measure a snapshot's documents from memory, next to as many change events from memory."""
    count = max(1, bench.events // 4000) * 4000

    def script() -> float:
        with tempfile.TemporaryDirectory() as folder:
            return each(process("benchmarks.rows", count, folder, cores=ONE), count)

    measured: dict[str, Measurement] = {"hand-written: decode, json+gzip": script}
    for path, flags in PATHS.items():
        measured[f"change event, {path}"] = ours(None, count, *flags)
        measured[f"document of a snapshot, {path}"] = ours(None, count, "--rows", *flags)
    bench.alternate("rows", measured)


def s3(bench: Bench) -> None:
    with feeder(bench.events) as uri, sink() as endpoint:
        measured = {
            f"json+zstd, {path}": ours(uri, bench.events, "--s3", endpoint, *flags) for path, flags in PATHS.items()
        }
        bench.alternate("s3", measured)


def streams(bench: Bench) -> None:
    """Measure CPU time and memory with one and with four streams, and the speedup by more cores."""
    events = bench.events
    found: dict[str, Any] = defaultdict(list)
    with feeder(events) as uri:
        for _ in range(bench.rounds):
            for path, flags in PATHS.items():
                for count in (1, 4):
                    say(f"streams: {count}, {path}")
                    figures = process(
                        "benchmarks.pipeline", "--uri", uri, "--events", events, "--streams", count, *flags
                    )
                    key = f"{count} stream{'s' if count > 1 else ''}, {path}"
                    found[f"{key}: µs/event"].append(each(figures, events * count))
                    found[f"{key}: MiB above idle"].append(figures["grown"] / 2**20)
    for _ in range(bench.rounds):
        for path, flags in PATHS.items():
            rates = {}
            for count, cores in ((1, ONE), (1, ALL), (4, ALL)):
                say(f"streams from memory: {count}, on {len(cores)} cores, {path}")
                figures = process("benchmarks.pipeline", "--events", events, "--streams", count, *flags, cores=cores)
                rates[count, len(cores)] = events * count / figures["wall"]
            alone = rates.pop((1, len(ONE)))
            found[f"from memory, 1 stream on one core, {path}: events/s"].append(alone)
            for (count, used), rate in rates.items():
                name = f"from memory, {count} stream{'s' if count > 1 else ''} on {used} cores, {path}"
                found[f"{name}: speedup"].append(rate / alone)
    bench.figures["streams"] = dict(found)


def memory(bench: Bench) -> None:
    """Measure memory over many events, and with a slow destination."""
    many = bench.events * 10 if bench.rounds > 2 else bench.events
    found: dict[str, Any] = defaultdict(list)
    with feeder(many) as uri:
        for path, flags in PATHS.items():
            say(f"memory: {4 * many:,} events, {path}")
            figures = process("benchmarks.pipeline", "--uri", uri, "--events", many, "--streams", 4, *flags)
            found[f"{4 * many:,} events, {path}: MiB above idle after 10 %"].append(figures["grown_early"] / 2**20)
            found[f"{4 * many:,} events, {path}: MiB above idle at the end"].append(figures["grown"] / 2**20)
    few = many // 10
    with feeder(few) as uri:
        for path, flags in PATHS.items():
            say(f"memory: a slow destination, {path}")
            slow = ["--uri", uri, "--events", few, "--streams", 4, "--slow", 1]
            figures = process("benchmarks.pipeline", *slow, *flags)
            found[f"1 s more per batch, {path}: MiB above idle"].append(figures["grown"] / 2**20)
    bench.figures["memory"] = dict(found)


def sizes(bench: Bench) -> None:
    measured: dict[str, Measurement] = {}
    with_feeders: list[Any] = []
    try:
        for nbytes in (100, 1_000, 10_000, 100_000):
            events = max(2_000, min(bench.events, 200_000_000 // (nbytes + 250)) // 2)
            per_reply = 1000 if nbytes <= 10_000 else 100
            opened = feeder(events, document_bytes=nbytes, reply_events=per_reply)
            uri = opened.__enter__()
            with_feeders.append(opened)
            for path, flags in PATHS.items():
                measured[f"{nbytes:,} bytes, {path}"] = ours(uri, events, *flags)
        bench.alternate("sizes", measured)
    finally:
        for opened in with_feeders:
            opened.__exit__(None, None, None)


def collections(bench: Bench) -> None:
    measured: dict[str, Measurement] = {}
    for count in (1, 10, 100):
        for path, flags in PATHS.items():
            name = f"{count} collection{'s' if count > 1 else ''}, {path}"
            measured[name] = _spread_over(count, bench.events // count, flags)
    bench.alternate("collections", measured)


def _spread_over(count: int, events: int, flags: list[str]) -> Measurement:
    def measure() -> float:
        with feeder(events) as uri:
            return ours(uri, events, *flags, streams=count)()

    return measure


def transforms(bench: Bench) -> None:
    """What each transform costs, in this process."""
    from benchmarks.transforms import measurements

    bench.alternate("transforms", measurements())


def latency(bench: Bench) -> None:
    seconds = 15 if bench.rounds > 2 else 4
    found = {}
    for rate, flags in ((10, []), (1_000, []), (50_000, ["--fed"])):
        say(f"latency: {rate:,} inserts a second")
        figures = process("benchmarks.latency", "--rate", rate, "--seconds", seconds, *flags)
        found[f"{rate:,}/s"] = {key: round(value * 1000, 1) for key, value in figures.items() if key[0] == "p"}
    bench.figures["latency"] = found


@attrs.frozen
class Section:
    """A section of the page: its benchmark, its title, and the function that formats its results."""

    measure: Callable[["Bench"], None]
    title: str
    table: Callable[[Any], str]


SECTIONS = {
    "formats": Section(formats, "MongoDB to files", formats_table),
    "rows": Section(rows, "Snapshots", rows_table),
    "s3": Section(s3, "MongoDB to S3", plain_table),
    "streams": Section(streams, "Several streams", figures_table),
    "memory": Section(memory, "Memory", figures_table),
    "sizes": Section(sizes, "Larger documents", plain_table),
    "collections": Section(collections, "Many collections", plain_table),
    "transforms": Section(transforms, "Transforms", plain_table),
    "masking": Section(masking, "MongoDB to files, with `select` and `mask` on five paths", masking_table),
    "latency": Section(latency, "Latency", latency_table),
    "floor": Section(floor, "Lower bound", plain_table),
}

HEAD = """\
# Benchmarks

`python -m nox -s bench` measured these results in one run: {about}. Each measurement has {events:,} events.
The tables show the median of {rounds} alternating rounds, with minimum and maximum in parentheses. Events are inserts
of about 876 bytes. "Hand-written" is a plain script with PyMongo: `watch()`, `json_util.dumps`, `gzip`, files. Compare
only results of the same run, because another machine, or another hour on a shared machine, gives other results.
"""


def about() -> str:
    names = ("pymongo", "zstandard", "pyarrow", "orjson")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    date = datetime.now(UTC).date()
    return f"{date}, Python {platform.python_version()}, {platform.machine()}, {versions}"


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
