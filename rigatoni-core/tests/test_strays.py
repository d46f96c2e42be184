"""The warning about positions that no stream watches."""

from types import SimpleNamespace

from rigatoni_core.api.events import Checkpoint, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.cli.strays import unwatched_advice


class Source:
    async def streams(self):
        return ["shop.orders"]


async def test_a_position_may_be_one_of_another_file_with_the_same_pipeline_name():
    async with MemoryStateStore() as state:
        position = Position(ResumeToken("t"), "f", Timestamp(1_700_000_000, 1), 1)
        await state.save_resume_token(Stream("p", "shop.users"), Checkpoint(position, 1, 0))
        (advice,) = await unwatched_advice(SimpleNamespace(name="p", source=Source(), state=state))
    assert advice.startswith("p no longer watches shop.users")
    assert advice.index("another file uses the same pipeline name") < advice.index("rigatoni state clear")
