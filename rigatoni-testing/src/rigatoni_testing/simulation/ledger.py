"""The guarantees, checked during and after a schedule. The first violation ends the run."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Lease
from rigatoni_core.api.errors import RejectedEventsError, RigatoniError
from rigatoni_core.api.events import Checkpoint, Gap, Stream
from rigatoni_core.api.stream_record import StreamRecord
from rigatoni_objects.records import BatchRecord

from rigatoni_testing.simulation.bucket import Appended, Bucket
from rigatoni_testing.simulation.log import EventLog
from rigatoni_testing.simulation.network import Network


class Violation(AssertionError):
    """A guarantee was broken."""


@attrs.define(eq=False)
class Account:
    """The state of one stream: up to where everything is durable, and what was recorded as lost."""

    log: EventLog
    bucket: Bucket | None
    appended: Appended | None
    durable: int | None = None  # None before the stream was anchored
    gaps: list[Gap] = attrs.field(factory=list)
    letters: set[int] = attrs.field(factory=set)  # poison that has become a dead letter
    record: Checkpoint | None = None
    backup: Checkpoint | None = None  # the first record
    damaged: bool = False  # whether the checkpoint's record ever was
    restored: bool = False  # whether the state store ever lost or replaced it
    definitions: int = 0
    granted: int = 0  # the highest fencing token of a lease


@attrs.define(eq=False)
class _Reading:
    """One process that reads one stream: what it has read, and what it knows to be written."""

    served: int
    written: int
    lease: Lease | None = None
    refused: bool = False


@attrs.define(eq=False)
class Ledger:
    """Checks the guarantees. `buffer_limit` is how many bytes of events a worker may hold."""

    accounts: Mapping[str, Account]
    leased: bool
    buffer_limit: int
    violations: list[str] = attrs.field(factory=list)
    violated: asyncio.Event = attrs.field(factory=asyncio.Event)
    _readings: dict[tuple[Network, str], _Reading] = attrs.field(factory=dict)

    def violation(self, text: str) -> None:
        """Record a broken guarantee."""
        self.violations.append(text)
        self.violated.set()

    def durable(self, account: Account) -> int | None:
        """Returns the index up to which everything since the anchor is durable or recorded as lost."""
        if (bucket := account.bucket) is None:
            return account.durable
        log = account.log
        for definition in bucket.definitions[account.definitions :]:
            if definition.gap:
                self._give_up(account, definition.gap)
            if definition.gap or account.durable is None:  # an older owner's late gap does not move it back
                account.durable = max(account.durable or 0, log.index(definition.anchor))
        account.definitions = len(bucket.definitions)
        while account.durable is not None and account.durable < len(log):
            time = log.times[account.durable]
            lead = bucket.leads.get((time.seconds, time.increment, log.ordinals[account.durable]))
            if lead is None or not bucket.is_complete(lead):
                break
            account.durable = log.index(lead.end)
        return account.durable

    def _give_up(self, account: Account, gap: Gap) -> None:
        """Check a recorded gap: it must have been unavoidable."""
        if gap in account.gaps:
            return
        account.gaps.append(gap)
        lost = 0 if gap.lost is None else account.log.index(gap.lost)
        if lost >= account.log.forgotten and not account.damaged:
            self.violation(f"{account.log.stream}: a gap from event {lost} on, though nothing was forgotten")

    # --- the source's side

    def opens(self, network: Network, stream: Stream, index: int) -> None:
        """Note that a process starts reading."""
        reading = self._readings.setdefault((network, stream.key), _Reading(index, index))
        reading.served = reading.written = index

    def serves(self, network: Network, stream: Stream, index: int) -> None:
        """Note that a process has read everything up to this index."""
        self._readings[network, stream.key].served = index

    def asks(self, network: Network, stream: Stream) -> None:
        """Check that a process that reads on holds a bounded amount."""
        reading = self._readings[network, stream.key]
        held = self.accounts[stream.key].log.bytes_between(reading.written, reading.served)
        if held > self.buffer_limit:
            self.violation(f"{stream}: reads on with {held} bytes in memory, more than {self.buffer_limit}")

    # --- the destination's side

    @contextmanager
    def writing(self, network: Network, events: EventBatch, *, rejects: bool = False) -> Iterator[None]:
        """Check a write: the process holds the lease, writes consecutive events, and was not refused.

        With `rejects`, poison is rejected here, for destinations that accept everything.
        """
        reading, account = self._readings[network, events.stream.key], self.accounts[events.stream.key]
        if self.leased and (reading.lease is None or asyncio.get_running_loop().time() >= reading.lease.deadline):
            self.violation(f"{events.stream}: writes without holding the lease")
        if reading.refused:
            self.violation(f"{events.stream}: writes again after it was refused permanently")
        if not network.struck and self.leased and self._saved(account) < reading.written:
            self.violation(f"{events.stream}: writes on with {reading.written} written and not saved")
        log, numbers, (start, stop) = account.log, list(account.log.numbers(events)), self.range_of(events)
        kept = [number for number in range(start, stop) if number in set(numbers) or number not in log.poison]
        if numbers != kept:
            self.violation(f"{events.stream}: a batch from {start} to {stop} of {numbers}")
        if rejects and numbers != log.writable(start, stop):
            poison = {index: ValueError("poison") for index, number in enumerate(numbers) if number in log.poison}
            raise RejectedEventsError(poison)
        try:
            yield
        except RigatoniError as error:
            reading.refused = not error.transient and not isinstance(error, RejectedEventsError)
            raise

    def range_of(self, events: EventBatch) -> tuple[int, int]:
        """Returns the range of events that a batch was made from."""
        log = self.accounts[events.stream.key].log
        return log.number(events.first), log.index(events.end)

    def letters_come_first(self, stream: Stream, start: int, stop: int) -> None:
        """Note that a batch became durable: its dead letters must already be."""
        account = self.accounts[stream.key]
        missing = [number for number in account.log.poison if start <= number < stop and number not in account.letters]
        if missing:
            self.violation(f"{stream}: the batch from {start} to {stop} is written before its dead letters {missing}")

    def begins(self, stream: Stream, lead: BatchRecord) -> None:
        """Check a batch that begins: the events left out are poison and already dead letters."""
        account = self.accounts[stream.key]
        start, stop = account.log.number(lead.first), account.log.index(lead.end)
        left_out = set(range(start, stop)).difference(numbers_of(account.log, lead))
        if innocent := sorted(left_out - account.log.poison):
            self.violation(f"{stream}: the batch from {start} to {stop} leaves out {innocent}, which are no poison")
        if missing := sorted(left_out - account.letters):
            self.violation(f"{stream}: the batch from {start} to {stop} is written before its dead letters {missing}")

    @staticmethod
    def _saved(account: Account) -> float:
        """Returns the index of the stored checkpoint; without meaning after the store was tampered with."""
        if account.record is None or account.restored:
            return float("inf")
        return account.log.index(account.record.position)

    def written(self, network: Network, events: EventBatch) -> None:
        """Note that a process learned that a batch is durable, possibly long after writing it."""
        reading = self._readings[network, events.stream.key]
        reading.written = max(reading.written, self.range_of(events)[1])

    def appended(self, events: EventBatch) -> None:
        """Check an appended batch: nothing may be missing before it."""
        account, (start, end) = self.accounts[events.stream.key], self.range_of(events)
        self.letters_come_first(events.stream, start, end)
        if account.durable is None or start > account.durable:
            self.violation(f"{events.stream}: appends events up to {end}, but only {account.durable} are durable")
        else:
            account.durable = max(account.durable, end)

    def commits(self, stream: Stream, record: StreamRecord, events: EventBatch | None, gap: Gap | None) -> None:
        """Check a commit of rows and record: it holds all events since the one before, and each once."""
        account = self.accounts[stream.key]
        log = account.log
        if gap is not None:
            self._give_up(account, gap)
        if gap is not None or account.durable is None:
            account.durable = log.index(record.position)
        if events is not None:
            start, end = self.range_of(events)
            self.letters_come_first(stream, start, end)
            if start != account.durable:
                self.violation(f"{stream}: commits events from {start} on, but {account.durable} are durable")
            account.durable = end
        if log.index(record.position) != account.durable:
            self.violation(f"{stream}: commits the position {log.index(record.position)} with {account.durable} events")

    # --- the state store's side

    def leases(self, network: Network, stream: Stream, lease: Lease | None) -> None:
        """Note whether a process holds a lease."""
        self._readings.setdefault((network, stream.key), _Reading(0, 0)).lease = lease

    def grants(self, lease: Lease) -> None:
        """Check a granted lease: fencing tokens are never reused, even if the store has lost data."""
        account = self.accounts[lease.stream.key]
        if lease.fencing_token <= account.granted:
            self.violation(f"{lease.stream}: fencing token {lease.fencing_token} after {account.granted}")
        account.granted = max(account.granted, lease.fencing_token)

    def saved(self, stream: Stream, checkpoint: Checkpoint) -> None:
        """Check a stored checkpoint: nothing before it is missing, and its owner is not an older one."""
        account = self.accounts[stream.key]
        index, durable = account.log.index(checkpoint.position), self.durable(account)
        for gap in checkpoint.gaps:
            if gap not in account.gaps:
                self._give_up(account, gap)
                if account.bucket is None and account.log.index(gap.resumed) == index:
                    account.durable = durable = index
        if durable is None and account.bucket is None:
            account.durable = durable = index  # the anchor
        if durable is None or index > durable:
            self.violation(f"{stream}: the checkpoint says {index}, but only {durable} are durable")
        if account.record and self.leased and checkpoint.fencing_token < account.record.fencing_token:
            self.violation(f"{stream}: a checkpoint of an older owner replaces a newer owner's")
        account.record = checkpoint
        account.backup = account.backup or checkpoint

    def held(self, network: Network, key: str) -> tuple[int, int]:
        """Returns how far a process has read a stream, and how far it knows to have written it."""
        reading = self._readings.get((network, key))
        return (reading.served, reading.written) if reading else (0, 0)


def numbers_of(log: EventLog, lead: BatchRecord) -> Iterator[int]:
    """Returns the numbers of a batch's events according to its record."""
    start = log.number(lead.first)
    for part in lead.parts:
        if part.events and not part.runs:
            yield from range(start, start + lead.read)
        for first, last in part.runs:
            yield from range(start + first, start + last + 1)
