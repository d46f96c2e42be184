"""A changed serializer in one folder is announced: readers find files of two kinds."""

from rigatoni_core.api.bus import listening
from rigatoni_core.api.contracts import Listener
from rigatoni_core.api.events import Definition
from rigatoni_core.api.notices import SerializerChanged
from rigatoni_local.destination import LocalDestination
from rigatoni_testing.batches import START, STREAM
from rigatoni_testing.serializers import TokenLines


class Recorder(Listener):
    def __init__(self):
        self.notices = []

    def notify(self, notice):
        self.notices.append(notice)

    def of(self, kind):
        return [notice for notice in self.notices if isinstance(notice, kind)]


class OtherLines(TokenLines):
    """Another kind of file."""


async def begin(path, serializer, fingerprint="fingerprint"):
    heard = Recorder()
    with listening([heard]):
        async with LocalDestination(path=path, serializer=serializer) as destination:
            await destination.begin(STREAM, Definition(fingerprint, {}), START)
            await destination.begin(STREAM, Definition(fingerprint, {}), START)
    return heard.of(SerializerChanged)


async def test_a_changed_serializer_is_announced_once_and_in_words(tmp_path):
    assert not await begin(tmp_path, TokenLines())
    (notice,) = await begin(tmp_path, OtherLines())
    assert "TokenLines" in notice.reason
    assert "OtherLines" in notice.reason
    assert not await begin(tmp_path, OtherLines())
    assert not await begin(tmp_path, OtherLines(), "another definition")
