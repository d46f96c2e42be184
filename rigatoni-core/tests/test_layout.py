"""The description of a layout: what a later version compares, whatever defaults have changed since."""

from typing import Annotated

import attrs
from rigatoni_core.contracts import Serializer
from rigatoni_core.layout import Layout, described
from rigatoni_core.options import Secret


@attrs.define(kw_only=True)
class Inner(Serializer):
    """A serializer with options of several types."""

    media_type = "text/plain"
    suffix = ".txt"
    mode: Annotated[str, "How"] = "relaxed"
    columns: Annotated[tuple[str, ...], "Which"] = ("a", "b")
    key: Annotated[Secret | None, "A secret"] = None

    def serialize(self, events):
        return b""


@attrs.define(kw_only=True)
class Outer(Inner):
    """A serializer around another one."""

    inner: Annotated[Serializer, "The inner one"] = attrs.field(factory=Inner)
    level: Annotated[int, "How much"] = 3


def recorded(serializer):
    return Layout(serializer).described()


def test_every_option_is_recorded_at_its_default_too_and_no_secret():
    record = described(Outer(key=Secret("sentinel")))
    assert record["level"] == 3
    assert record["inner"] == {"type": f"{__name__.partition('.')[0]}.Inner", "mode": "relaxed", "columns": ["a", "b"]}
    assert "sentinel" not in repr(record)
    assert "key" not in record


def test_a_changed_default_of_a_later_version_is_noticed():
    then = recorded(Outer())
    assert Layout(Outer()).matches(then)
    then["serializer"]["level"] = 1  # the default of the version that wrote the record
    assert not Layout(Outer()).matches(then)
    then = recorded(Outer())
    then["serializer"]["inner"]["mode"] = "plain"
    assert not Layout(Outer()).matches(then)


def test_a_record_that_leaves_defaults_out_still_means_the_same():
    kind = __name__.partition(".")[0]
    old = {"serializer": {"type": f"{kind}.Outer"}, "partition_by": []}
    assert Layout(Outer()).matches(old)
    assert not Layout(Outer(level=4)).matches(old)
    assert not Layout(Outer(inner=Inner(mode="plain"))).matches(old)
    old["serializer"]["inner"] = {"type": f"{kind}.Inner", "mode": "plain"}
    assert Layout(Outer(inner=Inner(mode="plain"))).matches(old)


def test_an_option_that_exists_no_more_or_another_partition_is_another_layout():
    then = recorded(Outer())
    assert not Layout(Outer(), ("day",)).matches(then)
    assert not Layout(Inner()).matches(then)
    then["serializer"]["gone"] = 1
    assert not Layout(Outer()).matches(then)
