"""The checkpoint record: a round trip, and damage of any kind is noticed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigatoni_core.api.errors import CorruptCheckpointError, StateStoreError
from rigatoni_core.api.events import Checkpoint, Gap, Namespace, Position, ResumeToken, Stream, Timestamp, escaped
from rigatoni_core.api.identity import Identity
from rigatoni_core.api.records import dump_checkpoint, load_checkpoint, sealed, unseal

STREAM = Stream("p", "shop.orders")

positions = st.builds(
    Position,
    st.text().map(ResumeToken),
    st.text(max_size=20),
    st.none() | st.builds(Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.integers(0, 10**9),
)
ids = st.lists(st.text(), max_size=3).map(tuple)
identities = st.builds(Identity, st.text(), st.text(), st.none() | ids, ids)
namespaces = st.builds(Namespace, st.text(), st.none() | st.text())
gaps = st.builds(Gap, st.text(), st.none() | positions, positions, st.none() | namespaces)
checkpoints = st.builds(
    Checkpoint,
    positions,
    st.integers(0, 10**15),
    st.integers(0, 10**9),
    st.lists(gaps, max_size=3).map(tuple),
    st.none() | positions,
    identities,
)
texts = st.text().filter(lambda text: not any("\ud800" <= character <= "\udfff" for character in text))


@given(checkpoints)
def test_what_was_saved_is_loaded(checkpoint):
    assert load_checkpoint(STREAM, dump_checkpoint(STREAM, checkpoint), "record") == checkpoint


@given(st.binary(max_size=300))
def test_F4_garbage_is_a_corrupt_checkpoint_and_nothing_else(content):
    with pytest.raises(CorruptCheckpointError):
        load_checkpoint(STREAM, content, "record")


@given(st.data())
def test_F4_every_changed_byte_is_noticed(data):
    checkpoint = Checkpoint(Position(ResumeToken('{"_data":"82"}'), "f", Timestamp(1, 2), 3), 4, 5)
    content = bytearray(dump_checkpoint(STREAM, checkpoint))
    index = data.draw(st.integers(0, len(content) - 1))
    content[index] ^= data.draw(st.integers(1, 255))
    try:
        loaded = load_checkpoint(STREAM, bytes(content), "record")
    except StateStoreError:
        return
    assert loaded == checkpoint  # only white space was changed


@pytest.mark.parametrize("field", ["events", "fencing_token"])
def test_F4_a_number_that_is_none_is_a_corrupt_checkpoint_even_with_an_intact_checksum(field):
    record = json.loads(dump_checkpoint(STREAM, Checkpoint(Position(ResumeToken("t"), "f"))))
    assert unseal(record)
    with pytest.raises(CorruptCheckpointError):
        load_checkpoint(STREAM, json.dumps(sealed(record | {field: float("inf")})).encode(), "record")


@pytest.mark.parametrize("time", [[1 << 32, 0], [0, 1 << 32], [-1, 0], [1]])
def test_F4_a_cluster_time_that_is_none_is_a_corrupt_checkpoint(time):
    record = json.loads(dump_checkpoint(STREAM, Checkpoint(Position(ResumeToken("t"), "f"))))
    assert unseal(record)
    record["position"]["cluster_time"] = time
    with pytest.raises(CorruptCheckpointError):
        load_checkpoint(STREAM, json.dumps(sealed(record)).encode(), "record")


def test_a_record_of_another_stream_or_a_newer_format_is_refused():
    checkpoint = Checkpoint(Position(ResumeToken("t"), "f"))
    with pytest.raises(CorruptCheckpointError, match="belongs to the stream"):
        load_checkpoint(Stream("p", "shop.users"), dump_checkpoint(STREAM, checkpoint), "record")
    newer = json.loads(dump_checkpoint(STREAM, checkpoint))
    newer["format"] = 99
    with pytest.raises(StateStoreError, match="format 99"):
        load_checkpoint(STREAM, json.dumps(newer).encode(), "record")


@pytest.mark.parametrize("ordinal", [0, 3])
def test_a_record_of_format_1_is_read_with_an_unknown_deployment(ordinal):
    position = {
        "resume_token": '{"_data":"82"}',
        "cluster_time": [1, 2],
        "utc": "1970-01-01T00:00:01+00:00",
        "ordinal": ordinal,
        "fingerprint": "f",
        "deployment": "rs0",
    }
    record = {"format": 1, "pipeline": "p", "stream": "shop.orders", "position": position, "events": 4}
    record |= {"fencing_token": 5, "gaps": [{"cause": "c", "lost": None, "resumed": position}]}
    loaded = load_checkpoint(STREAM, json.dumps(sealed(record)).encode(), "record")
    assert (loaded.position.cluster_time, loaded.events, loaded.fencing_token) == (Timestamp(1, 2), 4, 5)
    assert loaded.delivered == (loaded.position if ordinal else None)
    assert loaded.identity == Identity("rs0")
    assert loaded.gaps[0].resumed == loaded.position


def test_a_record_without_its_deployment_is_a_corrupt_checkpoint():
    for wrong in (None, {}, {"name": "", "id": 1, "collections": None}, {"name": "", "id": "", "collections": [1]}):
        record = json.loads(dump_checkpoint(STREAM, Checkpoint(Position(ResumeToken("t"), "f"))))
        assert unseal(record)
        with pytest.raises(CorruptCheckpointError):
            load_checkpoint(STREAM, json.dumps(sealed(record | {"deployment": wrong})).encode(), "record")


def test_Z20_no_record_says_when_it_expires():
    record = json.loads(dump_checkpoint(STREAM, Checkpoint(Position(ResumeToken("t"), "f"))))
    assert not [key for key in record if "expire" in key or "ttl" in key]


@given(st.lists(texts, min_size=2, max_size=2, unique=True))
def test_A11_Z3_keys_are_distinct_and_confined(names):
    first, second = names
    assert Stream("p", first).key != Stream("p", second).key
    assert Stream(first, "s").key != Stream(second, "s").key
    for name in names:
        segment = escaped(name)
        assert "/" not in segment
        assert segment not in ("", ".", "..")
        assert not segment.startswith(".")
        assert len(segment.encode()) <= 200


def test_A11_long_names_stay_distinct():
    names = ["ü" * 120 + str(n) for n in range(50)]
    assert len({escaped(name) for name in names}) == 50


def test_tokens_are_in_no_repr():
    position = Position(ResumeToken('{"_data":"sentinel"}'), "f")
    assert "sentinel" not in repr(position) + repr(Checkpoint(position))
