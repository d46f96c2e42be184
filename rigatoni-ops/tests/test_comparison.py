"""What is said of a document, by the events that the destination holds of it."""

import pytest
from rigatoni_core.api.events import Namespace, Timestamp
from rigatoni_ops.comparison import Change, Comparison

NOW = Timestamp(9, 0)


def change(operation, seconds, content=None, token=None):
    return Change(
        token=token or f"{operation} {seconds}".encode(),
        time=Timestamp(seconds, 0),
        operation=operation,
        namespace=Namespace("shop", "orders"),
        key=b"key",
        is_row=operation == "read",
        content=content,
    )


ROW, INSERT, DELTA = change("read", 5, b"5"), change("insert", 3, b"3"), change("update", 6)


@pytest.mark.parametrize(
    ("events", "document", "verdict"),
    [
        ([ROW, INSERT], b"5", "equal"),  # by time, not by arrival
        ([ROW, change("update", 5, b"other")], b"5", "equal"),  # a row comes after the changes of its time
        ([INSERT, change("delete", 4)], b"3", "missing"),
        ([INSERT], b"4", "different"),
        ([INSERT], None, "extra"),
        ([INSERT, change("delete", 10)], None, "changed_since"),
        ([INSERT, change("replace", 10, b"10")], b"10", "changed_since"),
        ([INSERT, DELTA], b"6", "partial"),
        ([INSERT, DELTA, change("replace", 7, b"7")], b"7", "equal"),
        ([DELTA], b"6", "missing"),  # its base
        ([INSERT, change("delete", 4), DELTA], b"6", "missing"),
        ([], b"1", "missing"),
    ],
)
def test_the_events_of_a_document_decide_what_is_said_of_it(events, document, verdict):
    assert verdicts(events, document) == {verdict: 1}


def verdicts(events, document, *, complete=True, before=None):
    with Comparison.opened() as comparison:
        if document is not None:
            comparison.found(change("read", 9, document))
        for event in events:
            comparison.apply(event, NOW)
        if before:
            comparison.forget(before)
        counts, _ = comparison.verdicts(complete=complete, show=0)
    return {verdict: count for verdict, count in counts.items() if count}


def test_what_an_incomplete_destination_does_not_know_is_not_missing():
    assert verdicts([], b"1", complete=False) == {"unknown": 1}
    assert verdicts([DELTA], b"6", complete=False) == {"partial": 1}


def test_an_event_that_occurs_twice_is_reported_and_applied_once():
    assert verdicts([INSERT, change("delete", 4), INSERT], None) == {"doubled": 1}


def test_what_is_older_than_a_newer_snapshot_is_void():
    assert verdicts([INSERT], b"3", before=Timestamp(4, 0)) == {"missing": 1}
    assert verdicts([INSERT], None, before=Timestamp(4, 0)) == {}
    assert verdicts([ROW], b"5", before=Timestamp(5, 0)) == {"equal": 1}
