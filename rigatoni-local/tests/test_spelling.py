"""The spelling of partition values in force: an old definition keeps its own, a new one uses Hive's."""

import json

import pytest
from rigatoni_core.api.events import Definition
from rigatoni_local.destination import LocalDestination
from rigatoni_objects.file_layout import FileLayout
from rigatoni_testing.batches import START, STREAM, batch_of, event_document
from rigatoni_testing.serializers import TokenLines

DEFINITION = Definition("fingerprint", {})
EVENTS = [event_document(number, fullDocument={"city": "München"}) for number in range(4)]


class FirstVersion(LocalDestination):
    """Writes as version 0.1.0 did."""

    def __attrs_post_init__(self):
        super().__attrs_post_init__()
        self.layout = FileLayout(self.serializer, self.partition_by, spelling="percent")


async def write(destination, batch):
    async with destination:
        after = await destination.begin(STREAM, DEFINITION, START)
        assert await destination.write_batch(batch) is None
    return after


def folders(path):
    return {file.parent.relative_to(path / STREAM.key).as_posix() for file in path.rglob("*.txt")}


def definitions(path):
    return [json.loads(file.read_text())["layout"] for file in sorted(path.rglob("definition-*.json"))]


@pytest.fixture
def make(tmp_path):
    def made(kind=LocalDestination, *, partition_by=("field:city",)):
        return kind(path=tmp_path, serializer=TokenLines(), partition_by=partition_by)

    return made


async def test_a_stream_of_the_first_version_is_continued_in_its_folders(make, tmp_path):
    whole = batch_of(EVENTS)
    await write(make(FirstVersion), whole[:2])
    destination = make()
    async with destination:
        await destination.begin(STREAM, DEFINITION, whole[:2].end)
        destination.prepare(whole[2:])
        assert await destination.write_batch(whole[2:]) is None
    assert folders(tmp_path) == {"city=M%C3%BCnchen"}
    (layout,) = definitions(tmp_path)
    assert "spelling" not in layout


async def test_a_new_definition_of_that_stream_has_the_spelling_of_hive(make, tmp_path):
    whole = batch_of(EVENTS)
    await write(make(FirstVersion), whole[:2])
    destination = make(partition_by=("day", "field:city"))
    async with destination:
        assert await destination.begin(STREAM, DEFINITION, whole[:2].end) == whole[:2].end
        assert await destination.write_batch(whole[2:]) is None
    assert folders(tmp_path) == {"city=M%C3%BCnchen", "date=2023-11-14/city=München"}
    assert [layout.get("spelling") for layout in definitions(tmp_path)] == [None, "hive"]


async def test_a_batch_that_was_begun_with_the_old_spelling_is_completed_with_it(make, tmp_path):
    documents = [event_document(n, fullDocument={"city": "MK"[n % 2] + "ünchen"}) for n in range(4)]
    await write(make(FirstVersion), batch_of(documents))
    (lost,) = tmp_path.rglob("city=K*/*.txt")
    lost.unlink()
    await write(make(), batch_of(documents))
    assert lost.exists()
    assert folders(tmp_path) == {"city=M%C3%BCnchen", "city=K%C3%BCnchen"}
