"""The final check: everything since the anchor is delivered once and in order, or recorded as lost."""

from collections.abc import Iterator

from rigatoni_objects.records import BatchRecord

from rigatoni_testing.simulation.bucket import Bucket, name_of
from rigatoni_testing.simulation.ledger import Account, Ledger


def judge(ledger: Ledger) -> None:
    """Records every broken guarantee in the ledger."""
    for account in ledger.accounts.values():
        for problem in (*_saved(ledger, account), *(_chain(account, account.bucket) if account.bucket else ())):
            ledger.violation(f"{account.log.stream}: {problem}")


def _saved(ledger: Ledger, account: Account) -> Iterator[str]:
    log, durable = account.log, ledger.durable(account)
    if durable != len(log):
        yield f"only {durable} of {len(log)} events are durable at the end"
    saved = log.index(account.record.position) if account.record else None
    if saved != len(log):
        yield f"the last run saved {saved}, not {len(log)}"
    if account.record and not account.restored:
        for gap in account.gaps:
            if gap not in account.record.gaps:
                yield f"a gap is missing in the checkpoint: {gap}"


def _chain(account: Account, bucket: Bucket) -> Iterator[str]:
    """Yields errors of the batches: each must be complete, of the definition in force, and overlap no other."""
    log = bucket.log
    anchors = [log.index(definition.anchor) for definition in bucket.definitions]
    given_up = [(log.index(gap.lost), log.index(gap.resumed)) for gap in account.gaps if gap.lost]
    behind = number_behind = 0
    for lead in sorted(bucket.leads.values(), key=lambda lead: name_of(lead.first)):
        start, stop = log.number(lead.first), log.index(lead.end)
        if start < behind:
            yield f"event {start} is in two batches"
        behind = stop
        if not any(lost <= start < resumed for lost, resumed in given_up):
            yield from _objects(account, bucket, lead, start, stop)
        newest = len(anchors) - 1
        if lead.definition < number_behind or start < anchors[lead.definition]:
            yield f"the batch from {start} to {stop} is of definition {lead.definition}, out of its place"
        elif lead.definition < newest and start >= anchors[newest]:
            yield f"the batch from {start} to {stop} is of definition {lead.definition}, behind the anchor of {newest}"
        number_behind = lead.definition


def _objects(account: Account, bucket: Bucket, lead: BatchRecord, start: int, stop: int) -> Iterator[str]:
    """Yields errors in the objects of a batch."""
    held: list[int] = []
    for part in lead.parts:
        numbers = bucket.numbers_in(part.path)
        if numbers != sorted(numbers):
            yield f"{part.path} holds {numbers}, not in order"
        if misplaced := [number for number in numbers if not bucket.log.belongs(number, part.path)]:
            yield f"{part.path} holds {misplaced}, which belong elsewhere"
        held += numbers
    if twice := {number for number in held if held.count(number) > 1}:
        yield f"the batch from {start} to {stop} holds {sorted(twice)} twice"
    if lost := set(range(start, stop)) - set(held) - account.letters:
        yield f"the batch from {start} to {stop} lacks {sorted(lost)}, which are no dead letters either"
    if innocent := account.letters - bucket.log.poison:
        yield f"the dead letters {sorted(innocent)} are no poison"
    if foreign := set(held) - set(range(start, stop)):
        yield f"the batch from {start} to {stop} holds {sorted(foreign)}"
