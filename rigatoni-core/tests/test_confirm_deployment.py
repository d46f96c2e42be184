"""`rigatoni state confirm-deployment`: what is saved where the ids prove another deployment."""

import asyncio
from types import SimpleNamespace

from rigatoni_core.api.events import Stream
from rigatoni_core.api.identity import Identity
from rigatoni_core.cli.state.position_changes import confirmed_deployment
from rigatoni_core.cli.state.repairs import Look
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import Bucket, BucketDestination, FlakyStateStore, Log, ScriptedSource

STREAM = Stream("p", "a.b")
ONE, OTHER = Identity("rs0", "replica-set:a", ("1",)), Identity("rs0", "replica-set:b", ("1", "2"))


def test_J9_another_id_is_another_history_so_the_stream_resumes_at_now_with_a_gap_on_record():
    async def main():
        log, state, bucket = Log(), FlakyStateStore(), Bucket()
        log.grow(5)

        async def run(**source):
            destination = BucketDestination(bucket=bucket)
            source = ScriptedSource(logs={"a.b": log}, **source)
            report = await Pipeline(name="p", source=source, destination=destination, state=state).run(once=True)
            return report.workers["a.b"].error

        assert await run(start=0, identity=ONE) is None
        log.grow(5)  # the other deployment's, which this stream has never read
        assert await run(identity=OTHER) is not None
        saved = state._checkpoints["p/a.b"]
        components = SimpleNamespace(
            source=ScriptedSource(logs={"a.b": log}, identity=OTHER), destination=BucketDestination(bucket=bucket)
        )
        after = await confirmed_deployment().make(Look(components, STREAM, saved))
        assert after.position == saved.position
        assert after.open_gap is not None
        assert after.open_gap.resumed.resume_token == "mark:10"
        state._checkpoints["p/a.b"] = after
        asyncio.get_running_loop().call_later(0, log.grow, 3)
        assert await run(identity=OTHER) is None
        assert bucket.tokens(STREAM) == log.tokens[:5] + log.tokens[10:]
        confirmed = state._checkpoints["p/a.b"]
        assert (confirmed.gaps, confirmed.open_gap) == (after.gaps, None)
        assert await run(identity=OTHER) is None
        assert await run(identity=ONE) is not None

    run_virtual(main())


def test_J9_a_deployment_that_is_recognized_needs_no_confirmation():
    async def main():
        look = Look(SimpleNamespace(source=ScriptedSource(logs={}), destination=None), STREAM, None)
        assert await confirmed_deployment().make(look) is None

    run_virtual(main())
