"""The plan of one simulated run: plain values made from a seed, readable and shrinkable."""

import random
from enum import StrEnum
from typing import Any

import attrs
import cattrs

STREAMS = ("shop.orders", "shop.*")
MAX_BATCH_BYTES = 2000


class FaultKind(StrEnum):
    """Faults of one request, or of the process that makes it."""

    REFUSED = "is refused, without effect"
    ANSWER_LOST = "takes effect, but the connection breaks before the response"
    LATE = "fails for the caller, but takes effect later"
    TWICE = "takes effect, and again later"
    HANGS = "never arrives and gets no response"
    ANSWER_HANGS = "takes effect and gets no response"
    SLOW = "gets a very late response"
    FATAL = "is refused permanently"
    KILLED_BEFORE = "is not sent: the process is killed"
    KILLED_AFTER = "takes effect, and the process is killed before the response"
    PAUSED = "is not sent before the process has been paused for a while"
    SUSPENDED = "is not sent before the machine has been suspended for a while, with its clock stopped"


class Server(StrEnum):
    """The server that receives a request."""

    SOURCE = "source"
    DESTINATION = "destination"
    STATE = "state store"


class WorldEvent(StrEnum):
    """Incidents in the servers' data, independent of processes."""

    HISTORY_ROLLS = "the source forgets its history up to now"
    STATE_LOST = "the state store loses its checkpoints"
    STATE_RESTORED = "the state store is restored from an old backup"
    RECORD_DAMAGED = "the checkpoint's record is damaged"
    FOREIGN_OBJECT = "a foreign object is put where the next batch belongs"
    DEFINITION_LOST = "a lifecycle rule removes the definitions"


class ObjectLayout(StrEnum):
    """How the events of a batch become objects."""

    ONE = "one object per batch"
    FIELDS = "one object per hour and value of a field"
    SHARED = "one object per database, of several collections"

    @property
    def options(self) -> dict[str, Any]:
        """The options of the destination."""
        if self is ObjectLayout.FIELDS:
            return {"partition_by": ("hour", "field:place")}
        return {"folder_template": "{database}"} if self is ObjectLayout.SHARED else {}


@attrs.frozen
class Fault:
    """A fault of `times` requests of a life to a server, from request `number` on; `seconds`: its duration, if any."""

    life: int
    server: Server
    number: int
    kind: FaultKind
    times: int = 1
    seconds: float = 10.0

    def __str__(self) -> str:
        many = f" and the {self.times - 1} after it" if self.times > 1 else ""
        return f"request {self.number} of run {self.life} to the {self.server}{many} {self.kind}"


@attrs.frozen
class Happening:
    """An incident in one stream's data at a given time."""

    at: float
    stream: str
    event: WorldEvent

    def __str__(self) -> str:
        return f"at {self.at:.0f} s, for {self.stream}, {self.event}"


@attrs.frozen
class Life:
    """One run of the pipeline in one process: its configuration, start and end.

    `ends` is how many seconds after its start it is asked to stop (killed with `killed`, asked twice with `twice`).
    """

    begins: float
    ends: float
    batch_size: int = 20
    batch_bytes: int = MAX_BATCH_BYTES
    batch_timeout: float = 5.0
    definition: int = 1
    killed: bool = False
    twice: bool = False
    upgraded: bool = False  # its serializer accepts what older ones reject
    once: bool = False  # it ends when it has caught up

    def __str__(self) -> str:
        end = "killed" if self.killed else "told twice to stop" if self.twice else "asked to stop"
        return (
            f"begins at {self.begins:.0f} s with batches of {self.batch_size} events, {self.batch_bytes} bytes, "
            f"{self.batch_timeout:.0f} s and definition {self.definition}{', upgraded' if self.upgraded else ''}"
            f"{', once' if self.once else ''}; {end} {self.ends:.0f} s later"
        )


@attrs.frozen
class Schedule:
    """One simulated run. A last life without faults always follows: it must deliver all that is left."""

    seed: int
    events: int = 100  # of each stream
    seconds: float = 80.0  # within which they become visible
    keeps_chain: bool = True
    keeps_leases: bool = True
    layout: ObjectLayout = ObjectLayout.ONE
    carries_records: bool = True
    folds_case: bool = False  # names that differ by case only are one
    poisoned: bool = False  # some events cannot be written and become dead letters
    restart_from_now: bool = False
    lives: tuple[Life, ...] = ()
    faults: tuple[Fault, ...] = ()
    happenings: tuple[Happening, ...] = ()

    def __str__(self) -> str:
        destination = "a chain of objects" if self.keeps_chain else "an at-least-once destination"
        parts = f", {self.layout}, {'with' if self.carries_records else 'without'} records" if self.keeps_chain else ""
        parts += ", case-insensitive names" if self.folds_case else ""
        poison = ", some events are poison" if self.poisoned else ""
        leases = "leases" if self.keeps_leases else "no leases"
        policy = "restart_from_now" if self.restart_from_now else "stop"
        lines = [
            f"{self.events} events per stream within {self.seconds:.0f} s, into {destination}{parts}{poison}; "
            f"{leases}; on_lost_position = {policy}",
            *(f"run {number} {life}" for number, life in enumerate(self.lives)),
            *map(str, self.faults),
            *map(str, self.happenings),
        ]
        return "\n".join(lines)

    def to_record(self) -> Any:
        """Plain JSON values."""
        return _CONVERTER.unstructure(self)

    @classmethod
    def from_record(cls, record: Any) -> "Schedule":
        """Returns the schedule that `to_record` wrote."""
        return _CONVERTER.structure(record, cls)


_CONVERTER = cattrs.Converter(forbid_extra_keys=True)

_OF_THE_PROCESS = (FaultKind.KILLED_BEFORE, FaultKind.KILLED_AFTER, FaultKind.PAUSED, FaultKind.SUSPENDED)
_OF_THE_DESTINATION = (*FaultKind, FaultKind.ANSWER_LOST, FaultKind.LATE, FaultKind.KILLED_AFTER, FaultKind.PAUSED)
_OF_THE_SOURCE = tuple(kind for kind in FaultKind if kind not in (FaultKind.HANGS, FaultKind.ANSWER_HANGS))
KINDS = {Server.SOURCE: _OF_THE_SOURCE, Server.DESTINATION: _OF_THE_DESTINATION, Server.STATE: tuple(FaultKind)}
"""Returns the possible faults of requests to each server."""


OF_THE_CHAIN = (
    WorldEvent.STATE_LOST,
    WorldEvent.STATE_RESTORED,
    WorldEvent.FOREIGN_OBJECT,
    WorldEvent.DEFINITION_LOST,
)
"""Incidents that require a destination with a chain: without one, only the state store knows positions."""


def random_schedule(seed: int) -> Schedule:
    """Returns a full schedule: two streams, 200 events, at least five faults, three restarts, often a second owner."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    chain = chance.random() < 0.8
    leases = not chain or chance.random() < 0.8
    layout = chance.choice([ObjectLayout.ONE, ObjectLayout.ONE, *ObjectLayout]) if chain else ObjectLayout.ONE
    carries = not chain or chance.random() < 0.7
    lives = _lives(chance, changes=chain and carries and layout is ObjectLayout.ONE and chance.random() < 0.6)
    faults = tuple(_fault(chance, len(lives)) for _ in range(chance.randint(5, 8)))
    happenings = _happenings(chance, chain, leases) if chance.random() < 0.5 else ()
    return Schedule(
        seed,
        keeps_chain=chain,
        keeps_leases=leases,
        layout=layout,
        carries_records=carries,
        folds_case=layout is ObjectLayout.FIELDS and seed % 2 == 0,
        poisoned=seed % 3 == 0,
        restart_from_now=chance.random() < 0.5,
        lives=lives,
        faults=faults,
        happenings=happenings,
    )


def _lives(chance: random.Random, *, changes: bool) -> tuple[Life, ...]:
    """Returns three consecutive lives, and often a concurrent second owner."""
    lives, begins, definition = [], 0.0, 1
    for _ in range(3):
        ends = chance.uniform(5, 50)
        lives.append(_life(chance, begins, ends, definition))
        begins += ends + chance.choice([0.0, 2.0, 15.0])
        definition += changes and chance.random() < 0.5
    if chance.random() < 0.5:
        lives.append(_life(chance, chance.choice([0.0, chance.uniform(0, 60)]), chance.uniform(20, 90), 1))
    return tuple(lives)


def _life(chance: random.Random, begins: float, ends: float, definition: int) -> Life:
    return Life(
        begins=round(begins, 3),
        ends=round(ends, 3),
        batch_size=chance.choice([1, 3, 7, 20, 50]),
        batch_bytes=chance.choice([300, 800, MAX_BATCH_BYTES]),
        batch_timeout=chance.choice([1.0, 5.0, 20.0]),
        definition=definition,
        killed=chance.random() < 0.4,
        twice=chance.random() < 0.2,
        upgraded=chance.random() < 0.2,
        once=chance.random() < 0.1,
    )


def _fault(chance: random.Random, lives: int) -> Fault:
    server = chance.choice([Server.SOURCE, Server.DESTINATION, Server.DESTINATION, Server.STATE])
    kind = chance.choice(KINDS[server])
    return Fault(
        life=chance.randrange(lives),
        server=server,
        number=chance.choice([chance.randint(1, 10), chance.randint(1, 40)]),
        kind=kind,
        times=1 if kind in _OF_THE_PROCESS else chance.choice([1, 1, 1, 2, 6]),
        seconds=round(chance.choice([0.5, 3.0, 15.0, 30.0]) * chance.uniform(0.8, 1.2), 3),
    )


def _happenings(chance: random.Random, chain: bool, leases: bool) -> tuple[Happening, ...]:
    events = [WorldEvent.RECORD_DAMAGED]
    if leases:  # two owners without leases that both abandon a position may each record a gap
        events.append(WorldEvent.HISTORY_ROLLS)
    if chain:
        events += [
            WorldEvent.STATE_LOST,
            WorldEvent.STATE_RESTORED,
            WorldEvent.FOREIGN_OBJECT,
            WorldEvent.DEFINITION_LOST,
        ]
    return tuple(
        Happening(round(chance.uniform(0, 80), 3), chance.choice(STREAMS), chance.choice(events))
        for _ in range(chance.randint(1, 2))
    )
