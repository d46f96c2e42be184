import gzip
import io
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from rigatoni_compression.gzip import GzipSerializer
from rigatoni_compression.zstd import ZstdSerializer
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Serializer
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_testing.batches import batch_of, event_document

BATCH = batch_of([event_document(number, note="x" * (number % 50)) for number in range(1000)])
CONTENT = bytes(BATCH.documents)

KINDS = {"gzip": GzipSerializer, "zstd": ZstdSerializer}
ENDINGS = {"gzip": ".gz", "zstd": ".zst"}
LEVELS = [*(("gzip", level) for level in range(4)), *(("zstd", level) for level in (1, 2, 3, 19))]
PROGRAMS = [name for name in KINDS if shutil.which(name)]  # gzip is part of every Unix, zstd of many


def read(kind: str, data: bytes) -> bytes:
    """What a reader that knows nothing of us finds, to the end of the file."""
    if kind == "gzip":
        return gzip.decompress(data)
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True) as reader:
        return reader.read()


@pytest.mark.parametrize(("kind", "level"), LEVELS)
def test_every_level_is_read_back(kind, level, inner):
    data = KINDS[kind](inner=inner, level=level).serialize(BATCH)
    assert len(data) < len(CONTENT) / 2
    assert read(kind, data) == CONTENT


@pytest.mark.parametrize("kind", KINDS)
def test_is_named_after_what_it_holds(kind, inner):
    serializer = KINDS[kind](inner=inner)
    assert serializer.suffix == f".bson{ENDINGS[kind]}"
    assert serializer.media_type == "application/bson"
    assert serializer.content_encoding == kind
    assert serializer.compressed is True


@pytest.mark.parametrize("kind", KINDS)
def test_same_batch_same_bytes(kind, inner):
    assert KINDS[kind](inner=inner).serialize(BATCH) == KINDS[kind](inner=inner).serialize(BATCH)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_share_a_serializer(kind, inner):
    serializer = KINDS[kind](inner=inner)
    batches = [BATCH[start : start + 100] for start in range(0, 1000, 100)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(serializer.serialize, batches * 20))
    assert [read(kind, data) for data in results] == [bytes(batch.documents) for batch in batches] * 20


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_command_reads_it(program, inner):
    data = KINDS[program](inner=inner).serialize(BATCH)
    found = subprocess.run([program, "--decompress", "--stdout"], input=data, capture_output=True, check=True)
    assert found.stdout == CONTENT


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_without_events_is_a_complete_empty_file(kind, inner):
    data = KINDS[kind](inner=inner).serialize(batch_of([]))
    assert data
    assert read(kind, data) == b""


@pytest.mark.parametrize("kind", KINDS)
def test_files_can_be_concatenated(kind, inner):
    serializer = KINDS[kind](inner=inner)
    joined = b"".join(serializer.serialize(BATCH[start : start + 500]) for start in (0, 500))
    assert read(kind, joined) == CONTENT


def test_gzip_header_holds_no_time_and_no_name(inner):
    header = GzipSerializer(inner=inner).serialize(BATCH)[:10]
    assert header[:4] == b"\x1f\x8b\x08\x00"  # no flags: no name, no comment
    assert header[4:8] == bytes(4)  # no time


def test_zstd_frame_notices_damage(inner):
    data = bytearray(ZstdSerializer(inner=inner).serialize(BATCH))
    assert zstandard.get_frame_parameters(bytes(data)).has_checksum
    data[-1] ^= 1
    with pytest.raises(zstandard.ZstdError, match="checksum"):
        zstandard.ZstdDecompressor().decompress(bytes(data), max_output_size=len(CONTENT))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_never_compresses_twice(kind, other, inner):
    with pytest.raises(ValueError, match="which is already compressed"):
        KINDS[kind](inner=KINDS[other](inner=inner))


@pytest.mark.parametrize("kind", KINDS)
def test_needs_a_serializer_inside(kind):
    with pytest.raises(ValueError, match="inner must be a serializer"):
        KINDS[kind](inner="json")


@pytest.mark.parametrize(("kind", "level"), [("gzip", -1), ("gzip", 4), ("zstd", 0), ("zstd", 23)])
def test_refuses_levels_that_do_not_exist(kind, level, inner):
    with pytest.raises(ValueError, match=f"level is {level}; it must be between"):
        KINDS[kind](inner=inner, level=level)


@attrs.define(kw_only=True, eq=False)
class Given(Serializer):
    """Gives what it was told to give, or raises it."""

    content: bytes | memoryview | Exception
    accepts = frozenset({"*"})
    media_type = "application/octet-stream"
    suffix = ".bin"

    def serialize(self, events: EventBatch) -> bytes | memoryview:
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


@pytest.mark.parametrize("kind", KINDS)
def test_rejected_events_come_through(kind):
    rejected = RejectedEventsError({3: ValueError("no")})
    with pytest.raises(RejectedEventsError) as caught:
        KINDS[kind](inner=Given(content=rejected)).serialize(BATCH)
    assert caught.value is rejected


@pytest.mark.parametrize("kind", KINDS)
@given(content=st.binary(max_size=5000) | st.text(max_size=200).map(lambda text: text.encode() * 50))
def test_any_content_is_read_back(kind, content):
    for form in (content, memoryview(content)):
        assert read(kind, KINDS[kind](inner=Given(content=form)).serialize(BATCH)) == content
