"""The destination's contract, scenario by scenario, on a real server."""

import asyncio
import json

import attrs
import pytest
from rigatoni_core.api.errors import DefinitionChangedError, ForeignObjectError, RejectedEventsError
from rigatoni_core.api.events import Definition, Gap, Stream
from rigatoni_core.api.identity import Identity
from rigatoni_objects.errors import DefinitionSettlingError, KeyTooLongError, UnfinishedBatchError
from rigatoni_objects.file_layout import stem
from rigatoni_testing.batches import START, STREAM, batch_of
from rigatoni_testing.serializers import TokenLines

WIDE = Stream("lake", "shop.*")
NOON = 1_700_049_600  # 2023-11-15 12:00:00 UTC
MIDNIGHT = 1_700_092_800  # 2023-11-16 00:00:00 UTC
FOLDER = f"{STREAM.key}/"


def flat(objects):
    return [token for tokens in objects.values() for token in tokens]


def tokens_of(batch):
    return [batch.token_and_time(index)[0] for index in range(len(batch))]


def lead(batch):
    return f"{FOLDER}{stem(batch.first)}.txt"


async def test_H3_the_same_batch_twice_is_one_object(place, destination, definition, event):
    batch = batch_of(event(number) for number in range(5))
    async with destination() as it:
        await it.begin(STREAM, definition, START)
        assert await it.write_batch(batch) is None
        assert await it.write_batch(batch) is None
        assert await it.last_committed(STREAM) == batch.end
    assert list(place.written().values()) == [tokens_of(batch)]


@pytest.mark.parametrize("partition_by", [(), ("field:value",)])
@pytest.mark.parametrize("other", [2, 4])
async def test_H3_an_earlier_or_later_end_is_fixed_by_the_first_writer(
    place, destination, definition, event, other, partition_by
):
    documents = [event(number) for number in range(5)]
    first = batch_of(documents[:3])
    async with destination(partition_by=partition_by) as it:
        await it.begin(STREAM, definition, START)
        await it.write_batch(first)
        assert await it.write_batch(batch_of(documents[:other])) == first.end
    assert flat(place.written()) == tokens_of(first)


async def test_H3_after_an_adopted_object_the_next_is_looked_for_before_it_is_serialised(
    destination, definition, event
):
    whole = batch_of(event(number) for number in range(4))
    async with destination() as one, destination() as other:
        for it in (one, other):
            await it.begin(STREAM, definition, START)
        for start in range(3):
            await one.write_batch(whole[start : start + 1])
        for start in range(3):  # longer batches with rejected events: their content does not matter
            poisoned = batch_of([event(n, value="poison" if n else n) for n in range(start, 4)])
            attrs_of_first = whole[start : start + 1]
            assert poisoned.first.order == attrs_of_first.first.order
            assert await other.write_batch(poisoned) == attrs_of_first.end
            assert await other.write_batch(attrs_of_first) is None


@pytest.mark.parametrize("metadata", [{}, {"rigatoni-record": "{}"}, {"rigatoni-record-at": "_rigatoni/gone"}])
async def test_H3_a_foreign_object_under_the_name_stays(place, destination, definition, event, metadata):
    batch = batch_of([event(0)])
    async with destination() as it:
        await it.begin(STREAM, definition, START)
        place.put(lead(batch), b"mine", Metadata=metadata)
        with pytest.raises(ForeignObjectError) as caught:
            await it.write_batch(batch)
    assert caught.value.remedy
    assert place.get(lead(batch)) == b"mine"


@pytest.mark.parametrize("field", ["pipeline", "stream", "definition", "token"])
async def test_H3_an_intact_record_of_another_batch_is_foreign_and_stays(place, destination, definition, event, field):
    batch = batch_of([event(0)])
    async with destination() as it:
        await it.begin(STREAM, definition, START)
        await it.write_batch(batch)
        record = json.loads(place.head(lead(batch))["Metadata"]["rigatoni-record"])
        if field == "token":
            record["first"]["resume_token"] = "another"
        else:
            record[field] = 7 if field == "definition" else "another"
        place.put(lead(batch), b"theirs", Metadata={"rigatoni-record": json.dumps(record)})
        with pytest.raises(ForeignObjectError):
            await it.write_batch(batch)
    assert place.get(lead(batch)) == b"theirs"


async def test_H3_a_foreign_object_of_a_split_batch_stays(place, destination, definition, event):
    batch = batch_of([event(0, value="a"), event(1, value="b")], stream=WIDE)
    async with destination(folder_template="{field:_id}") as it:
        await it.begin(WIDE, definition, START)
        foreign = f"{WIDE.key}/1/{stem(batch.first)}.txt"
        place.put(foreign, b"mine")
        for _ in range(2):
            with pytest.raises(ForeignObjectError):
                await it.write_batch(batch)
    assert place.get(foreign) == b"mine"


async def test_Z9_equal_collections_and_one_millisecond_give_distinct_objects(place, destination, definition, event):
    async with destination(partition_by=("namespace",)) as it:
        await it.begin(WIDE, definition, START)
        both = [event(0, seconds=NOON, database="a"), event(1, seconds=NOON, database="b")]
        first = batch_of(both, stream=WIDE)
        assert await it.write_batch(first) is None
        second = batch_of([event(2, seconds=NOON, database="a")], stream=WIDE, after=first.end)
        assert await it.write_batch(second) is None
    folders = [key.rpartition("/")[0] for key in place.written(f"{WIDE.key}/")]
    assert folders == ["database=a/collection=orders"] * 2 + ["database=b/collection=orders"]


@pytest.mark.parametrize("name", ["shop.a.b.c", "shop.x/../y", "shop.ü name", "shop." + "n" * 120, "..", "*"])
async def test_A11_odd_names_stay_below_the_prefix(place, destination, definition, event, name):
    stream = Stream("../..", name)
    database, _, collection = name.partition(".")
    batch = batch_of([event(0, database=database, collection=collection)], stream=stream)
    async with destination(prefix="deep/out", partition_by=("namespace",)) as it:
        await it.begin(stream, definition, START)
        await it.write_batch(batch)
        assert await it.last_committed(stream) == batch.end
    keys = list(place)
    assert all(key.startswith(f"deep/out/{stream.key}/") or "/_rigatoni-probe/" in key for key in keys)
    assert all(len(key.encode()) <= 1024 for key in keys)
    assert len(place.written()) == 1


async def test_H7_keys_that_could_be_too_long_are_refused_before_anything_is_written(place, destination, definition):
    stream = Stream("p" * 200, "shop.*")
    async with destination(
        prefix="/".join(["x" * 100] * 3), partition_by=("namespace", "hour", "field:a", "field:b")
    ) as it:
        with pytest.raises(KeyTooLongError) as caught:
            await it.begin(stream, definition, START)
    assert caught.value.remedy
    assert not [key for key in place if stream.key in key]


async def test_H7_midnight_cuts_the_batch_and_each_event_is_in_its_own_partition(place, destination, definition, event):
    times = [MIDNIGHT - 2, MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + 1]
    whole = batch_of(event(number, seconds=time) for number, time in enumerate(times))
    async with destination(partition_by=("day",)) as it:
        await it.begin(STREAM, definition, START)
        assert it.split(whole) == 2
        assert await it.write_batch(whole) == whole[:2].end  # the destination itself splits a batch, too
        assert await it.write_batch(whole[:2]) is None
        assert await it.write_batch(whole[2:]) is None
        assert await it.last_committed(STREAM) == whole.end
    assert {key.split("/")[0]: tokens for key, tokens in place.written(FOLDER).items()} == {
        "date=2023-11-15": tokens_of(whole)[:2],
        "date=2023-11-16": tokens_of(whole)[2:],
    }


async def test_J1_two_fresh_starts_at_once_have_one_anchor_and_lose_and_repeat_nothing(
    place, destination, definition, event
):
    whole = batch_of(event(number) for number in range(10))
    early, late = START, whole[:3].end
    async with destination() as one, destination() as other:
        assert await one.last_committed(STREAM) is None
        assert await other.last_committed(STREAM) is None
        assert await one.begin(STREAM, definition, early) == early
        assert await other.begin(STREAM, definition, late) == early
        assert await one.write_batch(whole[:4]) is None
        assert await other.write_batch(whole[:7]) == whole[:4].end
        assert await other.write_batch(whole[4:]) is None
        assert await one.write_batch(whole[4:6]) == whole.end
    assert flat(place.written()) == tokens_of(whole)


async def test_J1_many_fresh_starts_race_for_one_anchor(destination, definition, event):
    whole = batch_of(event(number) for number in range(8))
    anchors = [whole[: n + 1].end for n in range(6)]
    entered = [await destination(conditional_put=True).__aenter__() for _ in anchors]
    for it in entered:
        assert await it.last_committed(STREAM) is None
    begun = await asyncio.gather(*(it.begin(STREAM, definition, a) for it, a in zip(entered, anchors, strict=True)))
    for it in entered:
        await it.close()
    assert len(set(begun)) == 1
    assert begun[0] in anchors


async def test_J2_a_lost_state_store_goes_on_from_the_newest_end(destination, definition, event):
    whole = batch_of(event(number) for number in range(4))
    async with destination() as it:
        await it.begin(STREAM, definition, START)
        assert await it.last_committed(STREAM) == START
        await it.write_batch(whole[:2])
        await it.write_batch(whole[2:])
    async with destination() as it:
        newest = await it.last_committed(STREAM)
        assert newest == whole.end
        assert await it.begin(STREAM, definition, newest) == whole.end


@pytest.mark.parametrize("change", ["filter", "serializer", "partitioning", "template"])
async def test_J5_a_change_in_the_middle_of_a_transaction_goes_on_at_the_old_end_and_stops_the_old_instance(
    place, destination, definition, event, change
):
    whole = batch_of(event(number, seconds=NOON, increment=1) for number in range(6))
    changed = attrs.evolve(definition, fingerprint="other") if change == "filter" else definition
    options = {
        "serializer": {"serializer": TokenLines(reject=False)},
        "partitioning": {"partition_by": ("hour",)},
        "template": {"folder_template": "{field:_id}"},
    }
    async with destination() as old, destination(**options.get(change, {})) as new:
        await old.begin(STREAM, definition, START)
        await old.write_batch(whole[:2])
        assert await new.begin(STREAM, changed, START) == whole[:2].end  # the checkpoint may be older than the objects
        with pytest.raises(DefinitionChangedError):
            await old.write_batch(whole[2:3])
        with pytest.raises(DefinitionChangedError):
            await old.begin(STREAM, definition, whole[:2].end)
        assert await new.write_batch(whole[2:]) is None
        assert await new.last_committed(STREAM) == whole.end
    assert sorted(flat(place.written())) == sorted(tokens_of(whole))


@pytest.mark.parametrize("way", ["from several objects to one", "from one object to several"])
async def test_J2_J5_the_state_is_lost_right_after_a_change(destination, definition, event, way):
    whole = batch_of((event(number, collection="ab"[number % 2]) for number in range(4)), stream=WIDE)
    before, after = {"partition_by": ("namespace",)}, {}
    if way == "from one object to several":
        before, after = after, before
    async with destination(**before) as old:
        await old.begin(WIDE, definition, START)
        await old.write_batch(whole[:2])
    async with destination(**after) as new:
        assert await new.begin(WIDE, definition, START) == whole[:2].end
    for end in (whole[:2].end, whole.end):
        async with destination(**after) as new:
            assert await new.last_committed(WIDE) == end
            assert await new.begin(WIDE, definition, end) == end
            assert await new.write_batch(whole[2:]) is None


async def test_J5_a_change_waits_until_requests_of_the_old_definition_have_ended(place, destination, definition, event):
    whole = batch_of(event(number) for number in range(4))
    changed = attrs.evolve(definition, fingerprint="other")
    async with destination() as old, destination(settle_time=0.4) as new:
        await old.begin(STREAM, definition, START)
        await old.write_batch(whole[:2])
        with pytest.raises(DefinitionSettlingError) as caught:
            await new.begin(STREAM, changed, whole[:2].end)
        assert caught.value.transient
        assert 0 < caught.value.retry_after <= 0.4
        with pytest.raises(DefinitionSettlingError) as paused:  # the change is still pending
            await old.write_batch(whole[2:3])
        assert paused.value.transient
        await asyncio.sleep(caught.value.retry_after)
        assert await new.begin(STREAM, changed, whole[:2].end) == whole[:2].end
        assert await new.write_batch(whole[2:]) is None
    assert flat(place.written()) == tokens_of(whole)


async def test_J5_a_change_that_was_given_up_leaves_a_stream_that_goes_on(place, destination, definition, event):
    whole = batch_of(event(number) for number in range(4))
    async with destination() as old, destination(settle_time=60.0) as new:
        await old.begin(STREAM, definition, START)
        await old.write_batch(whole[:2])
        with pytest.raises(DefinitionSettlingError):
            await new.begin(STREAM, attrs.evolve(definition, fingerprint="other"), START)
        with pytest.raises(DefinitionSettlingError):
            await old.write_batch(whole[2:])
        assert await old.begin(STREAM, definition, whole[:2].end) == whole[:2].end  # like a worker that resumes
        assert await old.write_batch(whole[2:]) is None
        assert await old.last_committed(STREAM) == whole.end
    assert flat(place.written()) == tokens_of(whole)


async def test_J5_J12_an_unfinished_batch_of_the_old_definition_is_finished_by_the_old_one(
    place, destination, definition, event
):
    whole = batch_of((event(number, collection="ab"[number % 2]) for number in range(4)), stream=WIDE)
    changed = attrs.evolve(definition, fingerprint="other")
    async with destination(partition_by=("namespace",)) as old:
        await old.begin(WIDE, definition, START)
        await old.write_batch(whole[:2])
    lost = next(key for key in place if "collection=b" in key)
    content, metadata = place.get(lost), place.head(lost)["Metadata"]
    place.delete(lost)
    async with destination(partition_by=("namespace",)) as new:
        with pytest.raises(UnfinishedBatchError) as caught:
            await new.begin(WIDE, changed, START)
        assert "old configuration" in caught.value.remedy
    async with destination(partition_by=("namespace",)) as old:
        assert await old.begin(WIDE, definition, START) == START
        assert await old.write_batch(whole[:2]) is None
        assert (place.get(lost), place.head(lost)["Metadata"]) == (content, metadata)
        with pytest.raises(DefinitionSettlingError):
            await old.write_batch(whole[2:])
    async with destination(partition_by=("namespace",)) as new:
        assert await new.begin(WIDE, changed, START) == whole[:2].end
        assert await new.write_batch(whole[2:]) is None
    assert sorted(flat(place.written())) == sorted(tokens_of(whole))


async def test_J5_a_late_request_of_the_old_definition_is_not_silent(destination, definition, event):
    """The one assumption of a change is broken on purpose: the check misses the mark."""
    whole = batch_of(event(number) for number in range(4))
    async with destination() as old, destination(partition_by=("day",)) as new:
        await old.begin(STREAM, definition, START)
        await old.write_batch(whole[:1])
        await new.begin(STREAM, definition, whole[:1].end)
        chain = old._chains[STREAM.key]
        chain._is_closed = lambda _: False
        assert await old.write_batch(whole[1:3]) is None
        del chain._is_closed
        with pytest.raises(DefinitionChangedError, match="duplicated"):
            await old.write_batch(whole[3:])


async def test_J6_objects_cut_inside_one_transaction_are_listed_in_stream_order(place, destination, definition, event):
    whole = batch_of(event(number, seconds=NOON, increment=5) for number in range(12))
    async with destination() as it:
        await it.begin(STREAM, definition, START)
        position = START
        for start in range(0, 12, 5):
            part = batch_of((whole.raw(n).tobytes() for n in range(start, min(start + 5, 12))), after=position)
            await it.write_batch(part)
            position = part.end
    assert flat(place.written()) == tokens_of(whole)


@pytest.mark.parametrize("options", [{}, {"partition_by": ("namespace",)}])
async def test_J7_a_batch_of_rejected_events_claims_its_position(place, destination, definition, event, options):
    batch = batch_of((event(number, value="poison") for number in range(3)), stream=WIDE)
    async with destination(**options) as it:
        await it.begin(WIDE, definition, START)
        with pytest.raises(RejectedEventsError) as caught:
            await it.write_batch(batch)
        assert set(caught.value.events) == {0, 1, 2}
        empty = batch.without({0, 1, 2})
        assert await it.write_batch(empty) is None
        assert await it.last_committed(WIDE) == batch.end
        assert await it.begin(WIDE, definition, START) == START  # an old checkpoint
        assert await it.write_batch(batch[:2]) == batch.end
    assert flat(place.written()) == []


async def test_J7_J12_a_killed_batch_with_rejected_events_is_completed_without_them(
    place, destination, definition, event
):
    documents = [event(n, collection="abc"[n % 3], value="poison" if n == 2 else n) for n in range(6)]
    batch = batch_of(documents, stream=WIDE)
    async with destination(partition_by=("namespace",)) as it:
        await it.begin(WIDE, definition, START)
        await it.write_batch(batch.without({2}))
    whole = place.written()
    place.delete(sorted(whole)[1])
    async with destination(partition_by=("namespace",)) as other:
        await other.begin(WIDE, definition, START)
        assert await other.write_batch(batch) is None  # the record lists event 2 as rejected: its dead letter exists
    assert place.written() == whole


@pytest.mark.parametrize("options", [{}, {"partition_by": ("namespace",)}])
async def test_J8_a_long_token_is_kept_whole_and_never_in_a_key(place, destination, definition, event, options):
    batch = batch_of([event(0, _id={"_data": "k" * 900}), event(1, _id={"_data": "k" * 901})], stream=WIDE)
    async with destination(**options) as it:
        await it.begin(WIDE, definition, START)
        assert await it.write_batch(batch) is None
    async with destination(**options) as it:
        assert await it.last_committed(WIDE) == batch.end
        await it.begin(WIDE, definition, START)
        assert await it.write_batch(batch[:1]) == batch.end
        assert await it.write_batch(batch) is None
    assert all("kkk" not in key for key in place)
    assert len([key for key in place if "/_rigatoni/records/" in key]) == 1


async def test_J12_a_killed_batch_is_completed_as_its_lead_says(place, destination, definition, event):
    batch = batch_of((event(number, collection="abc"[number % 3]) for number in range(6)), stream=WIDE)
    async with destination(partition_by=("namespace",)) as it:
        await it.begin(WIDE, definition, START)
        await it.write_batch(batch)
    whole = place.written()
    assert len(whole) == 3
    for kept in range(3):
        for key in sorted(whole)[kept:]:
            place.delete(key)
        async with destination(partition_by=("namespace",)) as other:
            assert await other.last_committed(WIDE) == START
            await other.begin(WIDE, definition, START)
            assert await other.write_batch(batch[:2]) == batch.end
            assert await other.write_batch(batch) is None
        assert place.written() == whole


async def test_J12_events_that_say_something_else_when_read_again_stay_where_they_were(
    place, destination, definition, event
):
    """A looked-up document may have changed in between: the lead records which events are still missing."""
    countries = ["DE", "IT", "DE", "FR"]
    batch = batch_of(event(n, fullDocument={"country": country}) for n, country in enumerate(countries))
    again = batch_of(event(n, fullDocument={"country": "XX"}) for n in range(4))
    async with destination(partition_by=("field:country",)) as it:
        await it.begin(STREAM, definition, START)
        await it.write_batch(batch)
        whole = place.written()
        place.delete(next(key for key in whole if "country=DE" in key))
        assert await it.write_batch(again) is None
    assert place.written() == whole


async def test_a_gap_is_recorded_and_its_position_is_in_force(place, destination, definition, event):
    whole = batch_of(event(number) for number in range(6))
    async with destination(settle_time=60.0) as it:
        await it.begin(STREAM, definition, START)
        await it.write_batch(whole[:2])
        gap = Gap(cause="the oplog is too short", lost=whole[:2].end, resumed=whole[:4].end)
        assert await it.begin(STREAM, definition, gap.resumed, gap=gap) == gap.resumed
        assert await it.last_committed(STREAM) == gap.resumed
        assert await it.write_batch(whole[4:]) is None
        assert await it.last_committed(STREAM) == whole.end
    assert b"the oplog is too short" in place.get(f"{FOLDER}_rigatoni/definition-1.json")


async def test_the_deployment_is_on_record_from_the_first_start_on(destination):
    one, other = Identity("rs0", "replica-set:1", ("a", "b")), Identity("rs0", "replica-set:2", ("c",))
    async with destination() as it:
        assert await it.recorded_identity(STREAM) == Identity()
        await it.begin(STREAM, Definition("f", {}, identity=one), START)
    async with destination() as it:
        assert await it.recorded_identity(STREAM) == one
        await it.begin(STREAM, Definition("changed", {}, identity=other), START)
        assert await it.recorded_identity(STREAM) == other


async def test_a_damaged_definition_is_foreign_and_stays(place, destination, definition):
    place.put(f"{FOLDER}_rigatoni/definition-0.json", b"garbage")
    async with destination() as it:
        with pytest.raises(ForeignObjectError):
            await it.last_committed(STREAM)
    assert place.get(f"{FOLDER}_rigatoni/definition-0.json") == b"garbage"
