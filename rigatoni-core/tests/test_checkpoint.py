"""The checkpoint: what a save costs, and when it records what the deployment is recognized by."""

import attrs
from rigatoni_core.api.events import Checkpoint, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.identity import Identity
from rigatoni_core.api.settings import Settings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.checkpoint import CheckpointKeeper
from rigatoni_testing.clock import run_virtual

STREAM = Stream("p", "a.b")


def at(number):
    return Position(ResumeToken(f"t{number}"), "fingerprint", Timestamp(1_700_000_000, number), 1)


@attrs.define
class Deployment:
    """Counts how often it is asked who it is."""

    identity: Identity = attrs.field(factory=lambda: Identity("rs0", "", ("1",)))
    asked: int = 0

    def __call__(self):
        self.asked += 1
        return self.identity


async def keeper(store, deployment):
    made = CheckpointKeeper(STREAM, store, Settings(idle_advance_interval=10), lambda: None, deployment)
    await made.load()
    await made.anchor(at(0))
    return made


def test_saves_after_events_do_not_ask_for_the_deployment():
    """The answer takes as long as the rest of a save."""

    async def run():
        deployment = Deployment()
        checkpoint = await keeper(MemoryStateStore(), deployment)
        asked = deployment.asked
        for number in range(1, 20):
            await checkpoint.advance(at(number), 1)
        assert deployment.asked == asked

    run_virtual(run())


def test_an_idle_advance_and_the_end_of_a_run_record_the_deployment_as_it_is_now():
    async def run():
        store, deployment = MemoryStateStore(), Deployment()
        checkpoint = await keeper(store, deployment)
        deployment.identity = Identity("rs0", "", ("1", "2"))
        await checkpoint.advance(at(1), 1)
        assert (await store.load_resume_token(STREAM)).identity.collections == ("1",)
        await checkpoint.advance(at(2), 0)
        await checkpoint.close()
        assert (await store.load_resume_token(STREAM)).identity.collections == ("1", "2")

    run_virtual(run())


def test_a_save_carries_the_token_of_the_lease_and_changes_nothing_else():
    async def run():
        store, token = MemoryStateStore(), 1
        checkpoint = CheckpointKeeper(STREAM, store, Settings(), lambda: token)
        await checkpoint.load()
        await checkpoint.anchor(at(0))
        await checkpoint.advance(at(1), 3)
        expected = Checkpoint(at(1), events=3, delivered=at(1), fencing_token=1)
        assert await store.load_resume_token(STREAM) == expected

    run_virtual(run())
