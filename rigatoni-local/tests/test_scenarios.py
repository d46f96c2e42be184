"""The destination's contract, scenario by scenario, on real files."""

import asyncio
import errno
import json
import os
import threading
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigatoni_core.api.errors import DefinitionChangedError, ForeignObjectError, RejectedEventsError
from rigatoni_core.api.events import Definition, Gap, Namespace, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.identity import Identity
from rigatoni_core.api.records import sealed, unseal
from rigatoni_local.destination import LocalDestination
from rigatoni_local.errors import LocalAccessError, LocalFullError
from rigatoni_objects.errors import UnfinishedBatchError
from rigatoni_objects.file_layout import stem
from rigatoni_objects.path_template import PathTemplate, Place
from rigatoni_testing.batches import START, STREAM, batch_of
from rigatoni_testing.serializers import TokenLines

WIDE = Stream("lake", "shop.*")
NOON = 1_700_049_600  # 2023-11-15 12:00:00 UTC
MIDNIGHT = 1_700_092_800  # 2023-11-16 00:00:00 UTC


def flat(files):
    return [token for tokens in files.values() for token in tokens]


def tokens_of(batch):
    return [batch.token_and_time(index)[0] for index in range(len(batch))]


async def test_H3_the_same_batch_twice_is_one_file(destination, definition, event, written):
    batch = batch_of(event(number) for number in range(5))
    await destination.begin(STREAM, definition, START)
    assert await destination.write_batch(batch) is None
    assert await destination.write_batch(batch) is None
    assert list(written(destination.path).values()) == [tokens_of(batch)]
    assert await destination.last_committed(STREAM) == batch.end


@pytest.mark.parametrize("other", [2, 4])
async def test_H3_an_earlier_or_later_end_is_fixed_by_the_first_writer(destination, definition, event, written, other):
    documents = [event(number) for number in range(5)]
    first = batch_of(documents[:3])
    await destination.begin(STREAM, definition, START)
    await destination.write_batch(first)
    assert await destination.write_batch(batch_of(documents[:other])) == first.end
    assert flat(written(destination.path)) == tokens_of(first)


async def test_H3_a_fixed_end_is_answered_before_anything_is_serialised(destination, definition, event):
    await destination.begin(STREAM, definition, START)
    first = batch_of([event(0)])
    await destination.write_batch(first)
    longer = batch_of([event(0), event(1, value="poison")])
    assert await destination.write_batch(longer) == first.end


async def test_H3_a_file_without_a_record_is_foreign_and_stays(destination, definition, event, written):
    batch = batch_of([event(0)])
    await destination.begin(STREAM, definition, START)
    stranger = destination.path / STREAM.key / f"{stem(batch.first)}.txt"
    stranger.write_text("mine\n")
    with pytest.raises(ForeignObjectError) as caught:
        await destination.write_batch(batch)
    assert caught.value.remedy
    assert stranger.read_text() == "mine\n"
    assert await destination.last_committed(STREAM) == START


def resealed(record, changes):
    """Return a record with changes and a matching checksum."""
    changed = json.loads(record.read_text()) | changes
    unseal(changed)
    return json.dumps(sealed(changed))


async def test_H3_an_altered_record_is_not_believed(destination, definition, event):
    batch = batch_of([event(0), event(1)])
    await destination.begin(STREAM, definition, START)
    await destination.write_batch(batch)
    (sidecar,) = (destination.path / STREAM.key / "_rigatoni" / "batches").rglob("*.json")
    token = json.loads(sidecar.read_text())["end"]["resume_token"]
    text = sidecar.read_text().replace(json.dumps(token), json.dumps(token.replace("1", "7")))
    assert text != sidecar.read_text()
    sidecar.write_text(text)
    for question in (destination.write_batch(batch), destination.last_committed(STREAM)):
        with pytest.raises(ForeignObjectError, match="is corrupt") as caught:
            await question
        assert "backup" in caught.value.remedy


async def test_H3_a_damaged_record_is_foreign_and_stays(destination, definition, event):
    batch = batch_of([event(0)])
    await destination.begin(STREAM, definition, START)
    await destination.write_batch(batch)
    (sidecar,) = (destination.path / STREAM.key / "_rigatoni" / "batches").rglob("*.json")
    sidecar.write_text("{}")
    with pytest.raises(ForeignObjectError):
        await destination.write_batch(batch)
    assert sidecar.read_text() == "{}"


@pytest.mark.parametrize(
    "content", ['{"format": 1e999}', '{"format": Infinity}', "[" * 5000, b"\xff".decode("latin-1")]
)
async def test_H3_a_record_that_is_no_json_of_ours_is_foreign(destination, definition, event, content):
    batch = batch_of([event(0)])
    await destination.begin(STREAM, definition, START)
    await destination.write_batch(batch)
    (sidecar,) = (destination.path / STREAM.key / "_rigatoni" / "batches").rglob("*.json")
    sidecar.write_text(content, encoding="latin-1")
    with pytest.raises(ForeignObjectError):
        await destination.last_committed(STREAM)


@pytest.mark.parametrize("field", ["events", "read", "definition"])
async def test_H3_a_number_that_is_none_makes_a_record_foreign(destination, definition, event, field):
    batch = batch_of([event(0)])
    await destination.begin(STREAM, definition, START)
    await destination.write_batch(batch)
    (sidecar,) = (destination.path / STREAM.key / "_rigatoni" / "batches").rglob("*.json")
    sidecar.write_text(resealed(sidecar, {field: float("inf")}))
    with pytest.raises(ForeignObjectError):
        await destination.last_committed(STREAM)


@pytest.mark.parametrize("path", ["../../stray.txt", "/stray.txt", "a/../../stray.txt", "", "a//b.txt", "./b.txt"])
async def test_H3_a_record_never_leads_out_of_the_streams_folder(destination, definition, event, tmp_path, path):
    batch = batch_of([event(0)])
    await destination.begin(STREAM, definition, START)
    await destination.write_batch(batch)
    (sidecar,) = (destination.path / STREAM.key / "_rigatoni" / "batches").rglob("*.json")
    (part,) = json.loads(sidecar.read_text())["parts"]
    (destination.path / STREAM.key / part["path"]).unlink()
    sidecar.write_text(resealed(sidecar, {"parts": [part | {"path": path}]}))
    with pytest.raises(ForeignObjectError):
        await destination.write_batch(batch)
    assert not list(destination.path.parent.rglob("stray.txt"))


@pytest.mark.parametrize("field", ["pipeline", "stream", "definition", "token"])
async def test_H3_an_intact_record_of_another_batch_is_foreign_and_stays(
    destination, definition, event, written, field
):
    batch = batch_of([event(0)])
    await destination.begin(STREAM, definition, START)
    await destination.write_batch(batch)
    (sidecar,) = (destination.path / STREAM.key / "_rigatoni" / "batches").rglob("*.json")
    first = json.loads(sidecar.read_text())["first"]
    changes = {"token": {"first": first | {"resume_token": "another"}}, "definition": {"definition": 7}}
    sidecar.write_text(changed := resealed(sidecar, changes.get(field, {field: "another"})))
    with pytest.raises(ForeignObjectError):
        await destination.write_batch(batch)
    assert sidecar.read_text() == changed
    assert flat(written(destination.path)) == tokens_of(batch)


async def test_Z9_equal_collections_and_one_millisecond_give_distinct_files(tmp_path, serializer, definition, event):
    async with LocalDestination(path=tmp_path, serializer=serializer, partition_by=("namespace",)) as destination:
        await destination.begin(WIDE, definition, START)
        both = [event(0, seconds=NOON, database="a"), event(1, seconds=NOON, database="b")]
        first = batch_of(both, stream=WIDE)
        assert await destination.write_batch(first) is None
        second = batch_of([event(2, seconds=NOON, database="a")], stream=WIDE, after=first.end)
        assert await destination.write_batch(second) is None
    found = sorted(str(path.parent.relative_to(tmp_path / WIDE.key)) for path in tmp_path.rglob("*.txt"))
    assert found == ["database=a/collection=orders"] * 2 + ["database=b/collection=orders"]


@pytest.mark.parametrize("name", ["shop.a.b.c", "shop.x/../y", "shop.ü name", "shop." + "n" * 120, "..", "*"])
async def test_A11_odd_names_stay_inside_the_folder(tmp_path, serializer, definition, event, name):
    stream = Stream("../..", name)
    database, _, collection = name.partition(".")
    batch = batch_of([event(0, database=database, collection=collection)], stream=stream)
    path = tmp_path / "deep" / "out"
    async with LocalDestination(path=path, serializer=serializer, partition_by=("namespace",)) as destination:
        await destination.begin(stream, definition, START)
        await destination.write_batch(batch)
        assert await destination.last_committed(stream) == batch.end
    assert [entry.name for entry in tmp_path.iterdir()] == ["deep"]
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["out"]
    assert len(list((path / stream.key).rglob("*.txt"))) == 1


positions = st.builds(
    Position,
    st.text(max_size=20).map(ResumeToken),
    st.just("f"),
    st.builds(Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.integers(0, 10**8 - 1),
)


@given(positions, positions)
def test_J6_names_sort_as_positions_do_and_are_distinct(one, other):
    if one.order != other.order:
        assert (stem(one) < stem(other)) == (one.order < other.order)
    assert (stem(one) == stem(other)) == (one.order == other.order and one.resume_token == other.resume_token)


NAMES = st.text(min_size=1, max_size=80)  # names are never empty in MongoDB


@given(st.lists(st.builds(Namespace, NAMES, st.none() | NAMES), min_size=2, max_size=2))
def test_A11_folders_of_namespaces_are_distinct_and_confined(namespaces):
    template = PathTemplate.of(("namespace", "hour"), "")
    folders = [template.folder(Place(Timestamp(NOON, 1), namespace)) for namespace in namespaces]
    for folder in folders:
        levels = folder.removesuffix("/").split("/")
        assert len(levels) == 4
        assert all(level not in ("", ".", "..") and "\0" not in level for level in levels)
    assert (folders[0] == folders[1]) == (namespaces[0] == namespaces[1])


async def test_H7_midnight_cuts_the_batch_and_each_event_is_in_its_own_partition(
    tmp_path, serializer, definition, event, written
):
    times = [MIDNIGHT - 2, MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + 1]
    rest = batch_of(event(number, seconds=time) for number, time in enumerate(times))
    all_tokens = tokens_of(rest)
    async with LocalDestination(path=tmp_path, serializer=serializer, partition_by=("day",)) as destination:
        await destination.begin(STREAM, definition, START)
        assert destination.split(rest) == 2
        assert await destination.write_batch(rest[:2]) is None
        assert destination.split(rest[2:]) == 2
        assert await destination.write_batch(rest[2:]) is None
    files = written(tmp_path / STREAM.key)
    assert {path.split("/")[0]: tokens for path, tokens in files.items()} == {
        "date=2023-11-15": all_tokens[:2],
        "date=2023-11-16": all_tokens[2:],
    }


async def test_J1_two_fresh_starts_at_once_have_one_anchor_and_lose_and_repeat_nothing(
    tmp_path, serializer, definition, event, written
):
    whole = batch_of(event(number) for number in range(10))
    early, late = START, whole[:3].end
    async with (
        LocalDestination(path=tmp_path, serializer=serializer) as one,
        LocalDestination(path=tmp_path, serializer=serializer) as other,
    ):
        assert await one.last_committed(STREAM) is None
        assert await other.last_committed(STREAM) is None
        assert await one.begin(STREAM, definition, early) == early
        assert await other.begin(STREAM, definition, late) == early
        assert await one.write_batch(whole[:4]) is None
        assert await other.write_batch(whole[:7]) == whole[:4].end
        assert await other.write_batch(whole[4:]) is None
        assert await one.write_batch(whole[4:6]) == whole.end
    assert flat(written(tmp_path)) == tokens_of(whole)


async def test_J2_a_lost_state_store_goes_on_from_the_newest_end(tmp_path, serializer, definition, event):
    whole = batch_of(event(number) for number in range(4))
    async with LocalDestination(path=tmp_path, serializer=serializer) as destination:
        await destination.begin(STREAM, definition, START)
        await destination.write_batch(whole[:2])
        await destination.write_batch(whole[2:])
    async with LocalDestination(path=tmp_path, serializer=serializer) as destination:
        newest = await destination.last_committed(STREAM)
        assert newest == whole.end
        assert await destination.begin(STREAM, definition, newest) == whole.end


async def test_J2_an_anchor_without_a_batch_is_where_a_lost_state_store_goes_on(tmp_path, serializer, definition):
    async with LocalDestination(path=tmp_path, serializer=serializer) as destination:
        await destination.begin(STREAM, definition, START)
    async with LocalDestination(path=tmp_path, serializer=serializer) as destination:
        assert await destination.last_committed(STREAM) == START


@pytest.mark.parametrize("change", ["filter", "serializer", "partitioning"])
async def test_J5_a_change_in_the_middle_of_a_transaction_goes_on_at_the_old_end_and_stops_the_old_instance(
    tmp_path, definition, event, written, change
):
    whole = batch_of(event(number, seconds=NOON, increment=1) for number in range(6))
    changed = attrs.evolve(definition, fingerprint="other") if change == "filter" else definition
    new_serializer = TokenLines(reject=change != "serializer")
    partition_by = ("hour",) if change == "partitioning" else ()
    async with (
        LocalDestination(path=tmp_path, serializer=TokenLines()) as old,
        LocalDestination(path=tmp_path, serializer=new_serializer, partition_by=partition_by) as new,
    ):
        await old.begin(STREAM, definition, START)
        await old.write_batch(whole[:2])
        stale = START  # the checkpoint may be older than the last batch
        resumed = await new.begin(STREAM, changed, stale)
        assert resumed == whole[:2].end
        with pytest.raises(DefinitionChangedError):
            await old.write_batch(whole[2:3])
        with pytest.raises(DefinitionChangedError):
            await old.begin(STREAM, definition, whole[:2].end)
        assert await new.write_batch(whole[2:]) is None
        assert await new.last_committed(STREAM) == whole.end
    files = written(tmp_path / STREAM.key)
    assert sorted(flat(files)) == sorted(tokens_of(whole))


async def test_J5_an_unfinished_batch_must_be_finished_with_the_old_configuration(
    tmp_path, serializer, definition, event, written
):
    batch = batch_of([event(0, collection="a"), event(1, collection="b")], stream=WIDE)
    changed = attrs.evolve(definition, fingerprint="other")
    options = {"path": tmp_path, "serializer": serializer, "partition_by": ("namespace",)}
    async with LocalDestination(**options) as destination:
        await destination.begin(WIDE, definition, START)
        await destination.write_batch(batch)
    whole = written(tmp_path)
    (tmp_path / max(whole)).unlink()  # as if it had been killed before its second file
    async with LocalDestination(**options) as destination:
        assert await destination.last_committed(WIDE) == START
        with pytest.raises(UnfinishedBatchError, match="the definition has changed") as caught:
            await destination.begin(WIDE, changed, START)
        assert "old configuration" in caught.value.remedy
    async with LocalDestination(**options) as destination:
        await destination.begin(WIDE, definition, START)
        await destination.write_batch(batch)
        assert written(tmp_path) == whole
    async with LocalDestination(**options) as destination:
        assert await destination.begin(WIDE, changed, START) == batch.end


async def test_J6_batches_cut_inside_a_transaction_are_listed_in_stream_order(destination, definition, event, written):
    whole = batch_of(event(number, seconds=NOON, increment=1) for number in range(12))
    await destination.begin(STREAM, definition, START)
    for start, stop in ((0, 1), (1, 3), (3, 10), (10, 12)):
        assert await destination.write_batch(whole[start:stop]) is None
    assert flat(written(destination.path)) == tokens_of(whole)


async def test_J7_a_batch_without_events_claims_its_position(destination, definition, event, written):
    whole = batch_of(event(number) for number in range(4))
    await destination.begin(STREAM, definition, START)
    assert await destination.write_batch(whole[:2].without({0, 1})) is None
    assert await destination.last_committed(STREAM) == whole[:2].end
    assert written(destination.path) == {}
    assert await destination.write_batch(whole) == whole[:2].end
    assert await destination.write_batch(whole[2:]) is None
    assert flat(written(destination.path)) == tokens_of(whole[2:])


async def test_J7_rejected_events_are_named_all_at_once_and_leave_nothing(
    tmp_path, serializer, definition, event, written
):
    documents = [event(n, collection="ab"[n % 2], value="poison" if n in (1, 4) else "good") for n in range(6)]
    batch = batch_of(documents, stream=WIDE)
    async with LocalDestination(path=tmp_path, serializer=serializer, partition_by=("namespace",)) as destination:
        await destination.begin(WIDE, definition, START)
        with pytest.raises(RejectedEventsError) as caught:
            await destination.write_batch(batch)
        assert set(caught.value.events) == {1, 4}
        assert await destination.last_committed(WIDE) == START
        assert await destination.write_batch(batch.without({1, 4})) is None
        assert await destination.last_committed(WIDE) == batch.end
    expected = [token for index, token in enumerate(tokens_of(batch)) if index not in (1, 4)]
    assert sorted(flat(written(tmp_path))) == sorted(expected)


async def test_J8_a_long_token_is_kept_whole_and_never_in_a_name(destination, definition, event):
    secret = "k" * 900
    batch = batch_of([event(0, _id={"_data": secret})])
    await destination.begin(STREAM, definition, START)
    assert await destination.write_batch(batch) is None
    assert await destination.write_batch(batch) is None
    assert await destination.last_committed(STREAM) == batch.end
    assert all("kkk" not in str(path) for path in destination.path.rglob("*"))


async def test_J12_a_killed_batch_is_completed_as_its_record_says(tmp_path, serializer, definition, event, written):
    batch = batch_of((event(number, collection="abc"[number % 3]) for number in range(6)), stream=WIDE)
    options = {"path": tmp_path, "serializer": serializer, "partition_by": ("namespace",)}
    async with LocalDestination(**options) as destination:
        await destination.begin(WIDE, definition, START)
        await destination.write_batch(batch)
    whole = written(tmp_path)
    assert len(whole) == 3
    for kept in range(3):
        for path in sorted(whole)[kept:]:
            (tmp_path / path).unlink(missing_ok=True)
        async with LocalDestination(**options) as other:
            assert await other.last_committed(WIDE) == START
            await other.begin(WIDE, definition, START)
            assert await other.write_batch(batch[:2]) == batch.end
            assert await other.write_batch(batch) is None
        assert written(tmp_path) == whole


async def test_J7_J12_a_killed_batch_with_rejected_events_is_completed_without_them(
    tmp_path, serializer, definition, event, written
):
    documents = [event(n, collection="abc"[n % 3], value="poison" if n == 2 else n) for n in range(6)]
    batch = batch_of(documents, stream=WIDE)
    options = {"path": tmp_path, "serializer": serializer, "partition_by": ("namespace",)}
    async with LocalDestination(**options) as destination:
        await destination.begin(WIDE, definition, START)
        await destination.write_batch(batch.without({2}))
    whole = written(tmp_path)
    (tmp_path / sorted(whole)[1]).unlink()
    async with LocalDestination(**options) as other:
        await other.begin(WIDE, definition, START)
        assert await other.write_batch(batch) is None  # the record lists event 2 as rejected: its dead letter exists
    assert written(tmp_path) == whole


async def test_a_gap_is_recorded_and_its_position_is_in_force(tmp_path, serializer, definition, event):
    whole = batch_of(event(number) for number in range(6))
    async with LocalDestination(path=tmp_path, serializer=serializer) as destination:
        await destination.begin(STREAM, definition, START)
        await destination.write_batch(whole[:2])
        gap = Gap(cause="the oplog is too short", lost=whole[:2].end, resumed=whole[:4].end)
        assert await destination.begin(STREAM, definition, gap.resumed, gap=gap) == gap.resumed
        assert await destination.last_committed(STREAM) == gap.resumed
        assert await destination.write_batch(whole[4:]) is None
        assert await destination.last_committed(STREAM) == whole.end
    record = (tmp_path / STREAM.key / "_rigatoni" / "definition-1.json").read_text()
    assert "the oplog is too short" in record


@pytest.mark.parametrize("call", ["write", "fsync", "link"])
async def test_a_full_disk_is_transient_and_leaves_no_temporary_file(
    destination, definition, event, written, monkeypatch, call
):
    batch = batch_of(event(number) for number in range(3))
    await destination.begin(STREAM, definition, START)

    def full(*_):  # a fake: no disk is full on demand
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(LocalFullError) as caught:
            await destination.write_batch(batch)
    assert caught.value.transient
    assert caught.value.remedy
    assert list((destination.path / STREAM.key / "_rigatoni" / "tmp").iterdir()) == []
    assert await destination.write_batch(batch) is None
    assert flat(written(destination.path)) == tokens_of(batch)


@pytest.mark.parametrize("path", ["out", "out/deeper"])
async def test_a_file_where_the_folder_should_be_is_an_error_for_people(tmp_path, serializer, path):
    (tmp_path / "out").write_text("")
    with pytest.raises(LocalAccessError) as caught:
        await LocalDestination(path=tmp_path / path, serializer=serializer).__aenter__()
    assert str(caught.value) == f"{tmp_path / 'out'} is a file, not a folder"
    assert not caught.value.transient
    assert caught.value.remedy


async def test_a_hanging_write_holds_up_no_other_stream_and_close_does_not_wait(
    tmp_path, serializer, definition, event, monkeypatch
):
    other_stream = attrs.evolve(STREAM, name="shop.users")
    real, hanging, go_on = os.link, threading.Event(), threading.Event()

    def hang(source, target):  # a fake: no disk hangs on demand
        if f"/{STREAM.key}/" in str(target):
            hanging.set()
            go_on.wait(10)
        real(source, target)

    async with LocalDestination(path=tmp_path, serializer=serializer) as destination:
        for stream in (STREAM, other_stream):
            await destination.begin(stream, definition, START)
        monkeypatch.setattr(os, "link", hang)
        hung = asyncio.create_task(destination.write_batch(batch_of([event(0)])))
        await asyncio.to_thread(hanging.wait, 10)
        async with asyncio.timeout(5):
            assert await destination.write_batch(batch_of([event(1)], stream=other_stream)) is None
            hung.cancel()
            with pytest.raises(asyncio.CancelledError):
                await hung
            await destination.close()
    go_on.set()


@pytest.mark.parametrize("partition_by", [("day", "hour"), ("namespace", "namespace"), ("year",)])
def test_partitions_that_make_no_sense_are_refused(serializer, partition_by):
    with pytest.raises(ValueError, match="partition_by"):
        LocalDestination(path=Path("out"), serializer=serializer, partition_by=partition_by)


async def test_the_deployment_is_on_record_from_the_first_start_on(tmp_path, serializer):
    one, other = Identity("rs0", "replica-set:1", ("a", "b")), Identity("rs0", "replica-set:2", ("c",))
    async with LocalDestination(path=tmp_path, serializer=serializer) as it:
        assert await it.recorded_identity(STREAM) == Identity()
        await it.begin(STREAM, Definition("f", {}, identity=one), START)
    async with LocalDestination(path=tmp_path, serializer=serializer) as it:
        assert await it.recorded_identity(STREAM) == one
        await it.begin(STREAM, Definition("changed", {}, identity=other), START)
        assert await it.recorded_identity(STREAM) == other


def test_the_metadata_says_the_level_and_its_conditions(serializer):
    metadata = LocalDestination(path=Path("out"), serializer=serializer, partition_by=("day",)).metadata()
    assert metadata.delivery is LocalDestination.delivery
    assert "partitioned by day" in metadata.description
    assert metadata.conditions
