"""The source's history: the numbered change events of one stream, and when each becomes visible."""

import asyncio
import random
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.events import ChangeEvent, Namespace, Operation, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.segments import Segment

BEGINNING = 1_700_002_760  # 40 seconds before a full hour


class EventLog:
    """Events 0 to `len - 1` of a stream; `visible` of them have happened, those before `forgotten` are history.

    An index is the position before the event of that number. Some events share a cluster time, like those of a
    transaction; those in `poison` cannot be written. A raw document is the event's number in four bytes, and padding.
    The log is also the decoder of its batches.
    """

    format = "numbers"

    def __init__(self, stream: Stream, chance: random.Random, events: int, seconds: float, *, poisoned: bool) -> None:
        self.stream = stream
        self.visible = self.forgotten = 0
        self.grown = asyncio.Event()
        self.times: list[Timestamp] = []
        self._keys: list[int] = []  # the same, faster to search
        self.ordinals: list[int] = []
        self.arrivals: list[tuple[float, int]] = []  # (time, number of events visible from then on)
        self.places: list[str] = []
        self.raws: list[bytes] = []
        self.offsets = array("Q", [0])
        sizes: list[int] = []
        while (rest := events - sum(sizes)) > 0:
            sizes.append(min(chance.choice([1, 1, 1, 1, 7]), rest))
        moments = sorted(chance.choice([1.0, 1.0, 0.2]) * chance.uniform(0, seconds) for _ in sizes)
        for increment, (moment, size) in enumerate(zip(moments, sizes, strict=True), 1):
            for ordinal in range(size):
                self._append(Timestamp(BEGINNING + int(moment), increment), ordinal, chance)
            self.arrivals.append((moment, len(self.raws)))
        poison = random.Random(chance.random())  # noqa: S311 (no secret)
        self.poison = frozenset(number for number in range(events) if poisoned and poison.random() < 0.06)
        self.tokens = [ResumeToken(f"e{number}") for number in range(events)]

    def _append(self, time: Timestamp, ordinal: int, chance: random.Random) -> None:
        raw = len(self.raws).to_bytes(4) + b" " * chance.choice([20, 20, 60, 200])
        self.times.append(time)
        self._keys.append(_key(time))
        self.ordinals.append(ordinal)
        self.places.append(chance.choice("aaabbcA"))
        self.raws.append(raw)
        self.offsets.append(self.offsets[-1] + len(raw))

    def __len__(self) -> int:
        return len(self.raws)

    def show(self, visible: int) -> None:
        """Make events visible, up to this number."""
        self.visible = max(self.visible, visible)
        self.grown.set()

    def bytes_between(self, start: int, stop: int) -> int:
        """Returns the size of these events' raw documents; 0 if `stop` is not after `start`."""
        return max(0, self.offsets[stop] - self.offsets[start])

    def index(self, position: Position) -> int:
        """Returns the index of a position by its token; its cluster time and ordinal must agree."""
        number = int(position.resume_token[1:])
        index = number + 1 if position.resume_token[0] == "e" else number
        assert position.cluster_time is not None
        by_time = bisect_left(self._keys, _key(position.cluster_time)) + position.ordinal
        assert by_time == index, f"{position} is {by_time} by its time, {index} by its token"
        return index

    def number(self, first: Position) -> int:
        """Returns the number of the event that a batch's `first` names."""
        return int(first.resume_token[1:])

    def belongs(self, number: int, path: str) -> bool:
        """Returns whether this event belongs in the folder of this path."""
        folders = dict(level.split("=", 1) for level in path.split("/")[:-1] if "=" in level)
        hour = datetime.fromtimestamp(self.times[number].seconds, UTC).strftime("%H")
        place, expected = folders.get("place"), self.places[number]
        return folders.get("hour", hour) == hour and (place is None or _spelled(place) == expected)

    def writable(self, start: int, stop: int) -> list[int]:
        """Returns the numbers of the events from `start` to `stop - 1` that are not poison."""
        return [number for number in range(start, stop) if number not in self.poison]

    def mark_between(self, index: int, now: float, fingerprint: str) -> Position:
        """Returns a position between events, like a server's post-batch token."""
        time, ordinal = Timestamp(BEGINNING + int(now), 0), 0
        if index and index < len(self) and self.times[index] == self.times[index - 1]:
            time, ordinal = self.times[index], self.ordinals[index]
        elif index < self.visible:
            time = self.times[index]
        elif index:
            time = max(time, self.times[index - 1].next())
        return Position(ResumeToken(f"h{index}"), fingerprint, time, ordinal)

    def batch(self, after: Position, start: int, stop: int) -> EventBatch:
        """Returns events `start` to `stop - 1` as one reply of the server."""
        base = self.offsets[start]
        offsets = array("Q", [offset - base for offset in self.offsets[start : stop + 1]])
        buffer = memoryview(b"".join(self.raws[start:stop]))
        time = self.times[self.visible - 1]
        return EventBatch.from_reply(after, self.stream, buffer, offsets, self, source_time=time)

    def heartbeat(self, position: Position, index: int) -> Heartbeat:
        """Returns a reply without events."""
        time = self.times[self.visible - 1] if self.visible else Timestamp(BEGINNING, 0)
        return Heartbeat(position, time, caught_up=index == self.visible)

    def numbers(self, events: EventBatch) -> Sequence[int]:
        """Returns the numbers of a batch's events, in order."""
        return [int.from_bytes(events.raw(index)[:4]) for index in range(len(events))]

    def event(self, raw: memoryview) -> ChangeEvent:
        """See `Decoder`."""
        number = int.from_bytes(raw[:4])
        place = self.places[number]
        document = {"place": place}
        return ChangeEvent(self.tokens[number], Operation.INSERT, Namespace("shop", place), full_document=document)

    def namespace(self, raw: memoryview) -> Namespace | None:
        """See `Decoder`."""
        return Namespace("shop", self.places[int.from_bytes(raw[:4])])

    def scalar_text(self, value: Any) -> str | None:
        """See `Decoder`."""
        return str(value)

    def synthesize(self, raw: memoryview, operation: str, fields: Mapping[str, Any]) -> bytes:
        """See `Decoder`: the number alone identifies the event."""
        return bytes(raw[:4])

    def token_and_time(self, raw: memoryview) -> tuple[ResumeToken, Timestamp | None]:
        """See `Decoder`."""
        number = int.from_bytes(raw[:4])
        return self.tokens[number], self.times[number]

    def cluster_times(self, documents: Segment) -> Iterator[tuple[int, int] | None]:
        """See `Decoder`."""
        for raw in documents.copies():
            time = self.times[int.from_bytes(raw[:4])]
            yield time.seconds, time.increment


def _key(time: Timestamp) -> int:
    return time.seconds << 32 | time.increment


def _spelled(value: str) -> str:
    """Returns an index as it appears in a folder's name."""
    return re.sub(r"~[0-9a-f]{8}$", "", unquote(value))
