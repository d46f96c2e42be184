"""A server that is never the bottleneck: endless change events in pre-encoded replies.

    python -m rigatoni_mongodb.testing.feeder [--events 1000000] [--reply-events 1000] [--document-bytes 630]
        [--rate 50000 --began SECONDS]

The program prints its URI, and serves until it is killed. Every stream is the same sequence of inserts. Replies reuse a
few prepared pages. Pages are so large that a compressor cannot refer to the previous one. Only the token, the `_id` and
the cluster time of each event are overwritten in place. After `--events` events, replies are empty, so that a reader
catches up. With a rate, event number n appears n / rate seconds after `--began`, a time of `time.monotonic()`.
"""

import argparse
import asyncio
import math
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import bson
from bson.timestamp import Timestamp

from rigatoni_mongodb.testing.wire import ScriptedServer

START = 1_700_000_000
PER_SECOND = 50_000
BEGIN = "begin"
STEP = 100
PAGES = 16
WORDS = [f"{random.Random(number).getrandbits(40):x}" for number in range(2000)]  # noqa: S311 (no secret)


def time_of(number: int) -> Timestamp:
    """Return the cluster time of an event by its number."""
    return Timestamp(START + number // PER_SECOND, number % PER_SECOND + 1)


def token(number: int) -> str:
    """Return the token after event `number`: as long as a real one, and in the order of the numbers."""
    return f"82{START + number // PER_SECOND:08X}{number % PER_SECOND + 1:08X}2B042C0100296E5A1004{number:032X}"


LENGTH = len(token(0))
_DIGITS, _NUMBER = struct.Struct("16s").pack_into, struct.Struct("<Q").pack_into


def document(number: int, nbytes: int) -> dict[str, Any]:
    """Return an order of about `nbytes` bytes."""
    choose = random.Random(number)  # noqa: S311 (no secret)
    order: dict[str, Any] = {
        "_id": number + (1 << 40),
        "customer": {"name": " ".join(choose.choices(WORDS, k=2)), "mail": f"{choose.choice(WORDS)}@example.org"},
        "status": choose.choice(["new", "paid", "shipped"]),
        "total": round(choose.random() * 1000, 2),
        "items": [{"sku": choose.choice(WORDS), "price": 9.99 + index, "count": index} for index in range(3)],
        "created": bson.DatetimeMS(1_700_000_000_000 + choose.randrange(10**9)),
        "note": "",
    }
    missing = nbytes - len(bson.encode(order))
    order["note"] = " ".join(choose.choices(WORDS, k=missing // 11 + 1))[: max(missing, 0)]
    return order


def event(number: int, namespace: dict[str, str], nbytes: int) -> bytes:
    """Return a change event, an insert, by its number; its full document has about `nbytes` bytes."""
    full = document(number, nbytes)
    return bson.encode(
        {
            "_id": {"_data": token(number)},
            "operationType": "insert",
            "clusterTime": time_of(number),
            "wallTime": bson.DatetimeMS((START + number // PER_SECOND) * 1000),
            "fullDocument": full,
            "ns": namespace,
            "documentKey": {"_id": full["_id"]},
        }
    )


@attrs.define
class Page:
    """One reply's events as one BSON array, and the places of each event's numbers in it."""

    array: bytearray
    places: list[tuple[int, int, int, int]]

    @classmethod
    def of(cls, begin: int, size: int, namespace: dict[str, str], nbytes: int) -> "Page":
        """Create a page of the events from number `begin` on."""
        array, places = bytearray(4), []
        for index, number in enumerate(range(begin, begin + size)):
            raw = event(number, namespace, nbytes)
            start = len(array) + 2 + len(str(index))
            array += b"\x03%d\0" % index + raw
            identifier = struct.pack("<q", number + (1 << 40))
            first = raw.index(identifier)
            places.append(
                (
                    start + raw.index(token(number).encode()),
                    start + raw.index(b"\x11clusterTime\0") + 13,
                    start + first,
                    start + raw.index(identifier, first + 8),
                )
            )
        array += b"\0"
        array[:4] = struct.pack("<i", len(array))
        return cls(array, places)

    def at(self, start: int) -> bytes:
        """Return the reply whose first event has this number."""
        self.number(start, range(len(self.places)))
        return bytes(self.array)

    def number(self, start: int, indices: Sequence[int]) -> None:
        """Number the events at these indices, counted from `start`."""
        numbers = [start + index for index in indices]
        times = [START + number // PER_SECOND << 32 | number % PER_SECOND + 1 for number in numbers]
        hex_times, hex_numbers, array = _hex(times), _hex(numbers), self.array
        for index, number, moment, *digits in zip(indices, numbers, times, hex_times, hex_numbers, strict=True):
            text, when, one, other = self.places[index]
            _DIGITS(array, text + 2, digits[0])
            _DIGITS(array, text + LENGTH - 16, digits[1])
            _NUMBER(array, when, moment)
            _NUMBER(array, one, number + (1 << 40))
            _NUMBER(array, other, number + (1 << 40))


def _hex(numbers: list[int]) -> Iterator[bytes]:
    """Return each number in 16 digits; converted all at once, since the server must not be the bottleneck."""
    packed = struct.pack(f">{len(numbers)}Q", *numbers)
    return (digits for (digits,) in struct.iter_unpack("16s", packed.hex().upper().encode()))


@attrs.define(kw_only=True)
class Feeder(ScriptedServer):
    """Serves `total` events on every stream of any scope."""

    total: int
    document_bytes: int = 630
    rate: float = math.inf
    began: float = 0.0
    _variety: int = attrs.field(default=PAGES, init=False)
    _pages: dict[tuple[str, int, int], Page] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.operation_time = time_of(self.total - 1)
        if self.rate != math.inf:  # encode all pages now: there is no time later
            self._variety = 1
            for size in range(STEP, self.reply_events + 1, STEP):
                self._array("events", 0, size)

    async def _wait(self, command: dict[str, Any]) -> None:
        """Wait as a server does that has no events for a getMore yet."""
        served = self._cursors[command["getMore"]][1] if "getMore" in command else 0
        end = time.monotonic() + command.get("maxTimeMS", 0) / 1000
        while "getMore" in command and served == self._count() < self.total and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    def _count(self) -> int:
        if self.rate == math.inf:
            return self.total
        # In steps, since each length of a reply needs its own page.
        return min(self.total, max(0, int((time.monotonic() - self.began) * self.rate)) // STEP * STEP)

    def _newest(self) -> int:
        return 0

    def _token(self, index: int) -> dict[str, Any]:
        return {"_data": token(index - 1) if index else BEGIN}

    def _index(self, token: dict[str, Any]) -> int:
        return int(token["_data"][-32:], 16) + 1 if token["_data"] != BEGIN else 0

    def _array(self, collection: str, start: int, stop: int) -> bytes:
        size = stop - start
        begin = start // size % self._variety * size
        key = (collection, begin, size)
        if key not in self._pages:
            self._pages[key] = Page.of(begin, size, {"db": "bench", "coll": collection}, self.document_bytes)
        return self._pages[key].at(start)


@contextmanager
def feeder(events: int, **options: float) -> Iterator[str]:
    """Yield the URI of a feeder process that serves this many events per stream; options as on the command line."""
    more = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "rigatoni_mongodb.testing.feeder", "--events", str(events), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 (our own module)
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


async def serve(options: argparse.Namespace) -> None:
    """Serve until the process is stopped."""
    feeder = Feeder(
        total=options.events,
        document_bytes=options.document_bytes,
        reply_events=options.reply_events,
        rate=options.rate,
        began=options.began,
    )
    async with feeder:
        sys.stdout.write(f"{feeder.uri}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> None:
    """Run the feeder as a program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="events on each stream")
    parser.add_argument("--reply-events", type=int, default=1000, help="events in one reply")
    parser.add_argument("--document-bytes", type=int, default=630, help="size of the full document")
    parser.add_argument("--rate", type=float, default=math.inf, help="events per second (default: all at once)")
    parser.add_argument("--began", type=float, default=time.monotonic(), help="time of the first event")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
