"""What was compressed is read back through the inner serializer."""

import tracemalloc

import attrs
import pytest
from rigatoni_compression.gzip import GzipSerializer
from rigatoni_compression.serializer import LARGEST
from rigatoni_compression.zstd import ZstdSerializer
from rigatoni_core.api.contracts import Deserializer, Serializer
from rigatoni_core.api.errors import UnreadableError
from rigatoni_testing.batches import batch_of, event_document

KINDS = [GzipSerializer, ZstdSerializer]
BATCH = batch_of([event_document(number) for number in range(300)])


@attrs.define(kw_only=True, eq=False)
class Reading(Serializer, Deserializer):
    """One document per file, which holds its content."""

    accepts = frozenset({"*"})
    media_type = "application/bson"
    suffix = ".bson"

    def serialize(self, events):
        return events.documents

    def deserialize(self, content):
        return [{"content": content}]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frames", [1, 3])
def test_every_frame_is_read(kind, frames):
    serializer = kind(inner=Reading())
    (document,) = serializer.deserialize(serializer.serialize(BATCH) * frames)
    assert document["content"] == bytes(BATCH.documents) * frames


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", [lambda data: data[:-7], lambda data: data[:40] + b"\xff" * 40 + data[80:]])
def test_damage_is_said(kind, damage):
    serializer = kind(inner=Reading())
    with pytest.raises(UnreadableError, match="damaged"):
        serializer.deserialize(damage(serializer.serialize(BATCH)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_kilobytes_that_hold_gigabytes_are_refused_in_bounded_memory(kind):
    serializer = kind(inner=Reading())
    compressor, block = serializer._compressor(), bytes(2**24)
    bomb = b"".join([*(compressor.compress(block) for _ in range(20)), compressor.flush()])
    assert len(bomb) < 20 * 2**24 / 100
    tracemalloc.start()
    with pytest.raises(UnreadableError, match="decompress to more than 256 MiB"):
        serializer.deserialize(bomb)
    assert tracemalloc.get_traced_memory()[1] < LARGEST + 2**26
    tracemalloc.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_an_inner_serializer_that_can_not_read_is_named(kind, inner):
    with pytest.raises(UnreadableError, match=r"\.bson cannot read"):
        kind(inner=inner).deserialize(b"")
