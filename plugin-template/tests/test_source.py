"""The source keeps its contract."""

from functools import partial

import pytest
from rigatoni_core.api.errors import PositionLostError
from rigatoni_core.api.events import Position, ResumeToken, Stream
from rigatoni_template.source import TemplateSource
from rigatoni_testing.contracts import Origin, PluginContract, SourceContract


class TestTemplateSource(SourceContract):
    @pytest.fixture
    def origin(self, tmp_path):
        path = tmp_path / "changes.ndjson"
        path.write_text('{"before": true}\n')

        async def change(count):
            with path.open("a") as file:
                file.writelines('{"n": 1}\n' for _ in range(count))

        return Origin(partial(TemplateSource, path=path, poll_interval=0.01), "lines", change)


class TestPlugin(PluginContract):
    distribution = "rigatoni-template"


async def test_a_file_that_was_cut_off_is_a_lost_position(tmp_path):
    (tmp_path / "file").write_text("{}\n")
    source = TemplateSource(path=tmp_path / "file")
    with pytest.raises(PositionLostError):
        await anext(source.read(Stream("p", "lines"), after=Position(ResumeToken("100"), "lines")))
