"""What must be true when all is over: everything since the anchor is there, once, in order, or given up on record."""

from collections.abc import Iterator

from rigatoni_testing.simulation.bucket import Bucket, Lead, name_of
from rigatoni_testing.simulation.ledger import Account, Ledger


def judge(ledger: Ledger) -> None:
    """Notes every broken promise in the ledger."""
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
    """What is wrong with the batches: each must be whole, of the definition in force there, and overlap no other."""
    log = bucket.log
    anchors = [log.index(definition.anchor) for definition in bucket.definitions]
    given_up = [(log.index(gap.lost), log.index(gap.resumed)) for gap in account.gaps if gap.lost]
    behind = number_behind = 0
    for lead in sorted(bucket.leads.values(), key=lambda lead: name_of(lead.first)):
        start, stop = log.number(lead.first), log.index(lead.end)
        if start < behind:
            yield f"event {start} is in two batches"
        behind = stop
        numbers = [number for part in lead.parts.values() for number in part]
        if sorted(numbers) != log.writable(start, stop):
            yield f"the batch from {start} to {stop} holds {numbers}"
        in_gap = any(lost <= start < resumed for lost, resumed in given_up)
        if not in_gap and (problem := _parts(bucket, lead)):
            yield f"the batch from {start} to {stop} {problem}"
        newest = len(anchors) - 1
        if lead.number < number_behind or start < anchors[lead.number]:
            yield f"the batch from {start} to {stop} is of definition {lead.number}, out of its place"
        elif lead.number < newest and start >= anchors[newest]:
            yield f"the batch from {start} to {stop} is of definition {lead.number}, behind the anchor of {newest}"
        number_behind = lead.number


def _parts(bucket: Bucket, lead: Lead) -> str:
    for place, numbers in list(lead.parts.items())[1:]:
        there = bucket.parts.get((name_of(lead.first), place))
        if there != numbers:
            return f"has {there} in {place}, but its lead says {numbers}"
    return ""
