"""A changed `watch` misses nothing and repeats nothing, or is refused in words."""

import pytest


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["{db}.orders"], ["{db}.*"]),
        (["{db}.*"], ["{db}.orders"]),
        (["{db}.ord*"], ["{db}.ord_*", "{db}.orders"]),
        (["{db}.orders", "{db}.users"], ["{db}.*"]),
    ],
    ids=["widened", "narrowed", "respelled", "merged"],
)
def test_changes_made_while_watch_was_changed_are_delivered_or_the_run_is_refused(case, database, before, after):
    """b03: the new stream began at now, and nothing said so."""

    def named(watch):
        return [each.format(db=database.name) for each in watch]

    changed = case(named(before))
    changed.must_run_once()
    database.orders.insert_one({"_id": 1})
    changed.must_run_once()
    database.orders.insert_many([{"_id": number} for number in range(2, 7)])  # while it is stopped
    changed.write(watch=named(after))
    done = changed.once()
    if done.returncode != 0:
        assert before[0].format(db=database.name) in done.stderr  # it names the old stream
        assert changed.ids() == [1]
        changed.write(watch=named(before))
        changed.must_run_once()
        assert changed.ids() == list(range(1, 7))
        return
    database.orders.insert_one({"_id": 7})
    changed.must_run_once()
    assert changed.ids() == list(range(1, 8))
    changed.write(watch=named(before))  # and back again
    database.orders.insert_one({"_id": 8})
    changed.must_run_once()
    assert changed.ids() == list(range(1, 9))
