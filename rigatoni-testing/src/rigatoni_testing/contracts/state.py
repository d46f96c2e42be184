"""Contract tests for state stores."""

import asyncio
from collections.abc import Callable

import attrs
from rigatoni_core.api.contracts import StateInspector, StateStore, StreamLister
from rigatoni_core.api.errors import LeaseLostError
from rigatoni_core.api.events import Checkpoint, Gap, Namespace, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.identity import Identity

from rigatoni_testing.batches import STREAM
from rigatoni_testing.contracts import watching
from rigatoni_testing.contracts.obligations import (
    Obligations,
    asynchronous,
    bounded,
    check_component,
    check_constructor,
    promised,
    refused,
)

Make = Callable[[], StateStore]


def checkpoint(token: str = "t", *, events: int = 1, fencing_token: int = 0) -> Checkpoint:
    """Return a checkpoint with this token.

    Args:
        token: The resume token of its position.
        events: The number of delivered events.
        fencing_token: The fencing token.
    """
    return Checkpoint(Position(ResumeToken(token), "f", Timestamp(1_700_000_000, 1), 1), events, fencing_token)


@asynchronous
class StateStoreContract(Obligations):
    """Contract tests for state stores; the fixture `make` returns a function that creates a store, not entered."""

    async def test_a_saved_checkpoint_is_loaded_unchanged(self, make: Make) -> None:
        lost, resumed = checkpoint("lost").position, checkpoint("resumed").position
        gap = Gap("cause", lost, resumed)
        gaps = (gap, attrs.evolve(gap, namespace=Namespace("a", "b.c")))
        rich = attrs.evolve(checkpoint("ü" * 20_000, events=2**53 + 1, fencing_token=7), gaps=gaps)
        rich = attrs.evolve(rich, position=attrs.evolve(rich.position, ordinal=3), delivered=lost)
        rich = attrs.evolve(rich, identity=Identity("rs0", "replica-set:a", ("1", "2")))
        async with make() as store:
            promised(await store.load_resume_token(STREAM) is None, "a stream that was never saved has no checkpoint")
            for saved in (rich, attrs.evolve(rich, position=attrs.evolve(rich.position, cluster_time=None))):
                await bounded(store.save_resume_token(STREAM, saved), "save_resume_token")
                loaded = await bounded(store.load_resume_token(STREAM), "load_resume_token")
                promised(loaded == saved, f"a loaded checkpoint equals the saved one: {saved!r}, not {loaded!r}")

    async def test_a_save_replaces_the_one_before_and_outlives_the_store(self, make: Make) -> None:
        async with make() as store:
            for token in ("old", "new"):
                await store.save_resume_token(STREAM, checkpoint(token))
            durable = store.durable
            promised(await store.load_resume_token(STREAM) == checkpoint("new"), "a save replaces the record")
        async with make() as store:
            loaded = await store.load_resume_token(STREAM)
            promised(not durable or loaded == checkpoint("new"), "what a durable store saved outlives it")

    async def test_streams_do_not_share_a_record(self, make: Make) -> None:
        names = [("p", "a.b"), ("p/a", "b"), ("p", "a/b"), ("p", "*"), ("p", ".."), ("ü p", "n" * 240), ("p", "A.b")]
        streams = [Stream(*name) for name in names]
        async with make() as store:
            for number, stream in enumerate(streams):
                await store.save_resume_token(stream, checkpoint(events=number))
            for number, stream in enumerate(streams):
                loaded = await store.load_resume_token(stream)
                promised(loaded == checkpoint(events=number), f"each stream has its own record, also {stream}")

    async def test_clear_forgets_and_may_find_nothing(self, make: Make) -> None:
        other = Stream("p", "other")
        async with make() as store:
            await store.clear_resume_token(STREAM)
            await store.save_resume_token(STREAM, checkpoint())
            await store.save_resume_token(other, checkpoint("other"))
            await store.clear_resume_token(STREAM)
            promised(await store.load_resume_token(STREAM) is None, "clear_resume_token forgets the checkpoint")
            promised(await store.load_resume_token(other) == checkpoint("other"), "it does not affect other streams")

    async def test_only_the_fence_saves_and_clears(self, make: Make) -> None:
        promise = "save and clear with a fencing token that is not the stored one raise LeaseLostError, change nothing"
        async with make() as store:
            await store.save_resume_token(STREAM, checkpoint("new", fencing_token=5))
            for token in (4, 6, 0):
                with refused(LeaseLostError, promise):
                    await store.save_resume_token(STREAM, checkpoint("other", fencing_token=token))
                with refused(LeaseLostError, promise):
                    await store.clear_resume_token(STREAM, fencing_token=token)
            promised(await store.load_resume_token(STREAM) == checkpoint("new", fencing_token=5), promise)
            await store.save_resume_token(STREAM, checkpoint("newer", fencing_token=5))
            promised(
                await store.load_resume_token(STREAM) == checkpoint("newer", fencing_token=5), "the stored token saves"
            )

    async def test_a_clear_is_remembered_with_its_fencing_token(self, make: Make) -> None:
        promise = "cleared_under returns the fencing token of the clear, until a checkpoint is saved"
        async with make() as store:
            promised(await store.cleared_under(STREAM) is None, "a stream that was never saved was never cleared")
            await store.save_resume_token(STREAM, checkpoint(fencing_token=5))
            promised(await store.cleared_under(STREAM) is None, promise)
            await store.clear_resume_token(STREAM, fencing_token=5)
            promised(await store.load_resume_token(STREAM) is None, "a cleared stream has no checkpoint")
            promised(await store.cleared_under(STREAM) == 5, promise)
            for token in (4, 6):
                with refused(LeaseLostError, "a clear keeps the fencing token: other tokens still cannot save"):
                    await store.save_resume_token(STREAM, checkpoint("late", fencing_token=token))
            durable = store.durable
        async with make() as store:
            promised(not durable or await store.cleared_under(STREAM) == 5, "a clear outlives a durable store")
            await store.save_resume_token(STREAM, checkpoint(fencing_token=5))
            promised(await store.cleared_under(STREAM) is None, promise)

    async def test_it_lists_stored_streams(self, make: Make) -> None:
        pairs = [("p", "b.*"), ("p", "a.b"), ("p.q", "ü/~.%"), ("q", "n" * 240), ("p", "cleared")]
        streams = [Stream(*pair) for pair in pairs]
        async with make() as store:
            if not isinstance(store, StreamLister):
                return
            promised(not await store.streams(), "a new store lists no streams")
            for stream in streams:
                await store.save_resume_token(stream, checkpoint())
            await store.clear_resume_token(streams[-1])
            await _check_list(store, streams[:-1])
            durable = store.durable
        if durable and isinstance(looker := make(), StateInspector):
            async with looker.looking():
                assert isinstance(looker, StreamLister)
                await _check_list(looker, streams[:-1])

    async def test_concurrent_saves_leave_one_complete_record(self, make: Make) -> None:
        async with make() as store:
            saves = [checkpoint(str(number) * 5_000, events=number) for number in range(20)]
            await bounded(asyncio.gather(*(store.save_resume_token(STREAM, save) for save in saves)), "20 saves")
            promised(
                await store.load_resume_token(STREAM) in saves, "after concurrent saves exactly one is stored, complete"
            )

    async def test_a_cancelled_save_never_overtakes_a_later_one(self, make: Make) -> None:
        async with make() as store:
            await store.save_resume_token(STREAM, checkpoint("before"))
            for steps in range(6):
                save = asyncio.ensure_future(store.save_resume_token(STREAM, checkpoint("cancelled")))
                for _ in range(steps):
                    await asyncio.sleep(0)
                save.cancel()
                await asyncio.gather(save, return_exceptions=True)
                await bounded(store.save_resume_token(STREAM, checkpoint(f"later {steps}")), "a later save")
                loaded = await store.load_resume_token(STREAM)
                promised(
                    loaded == checkpoint(f"later {steps}"), "a save that was cancelled never overtakes a later one"
                )

    async def test_it_closes_what_it_opened(self, make: Make) -> None:
        async def use() -> None:
            async with make() as store:
                await store.save_resume_token(STREAM, checkpoint())

        await use()  # warm up: threads and caches that a library creates once are not leaks
        before = watching.held()
        for _ in range(3):
            await use()
        promised(not (more := await watching.left_over(before)), f"__aexit__ closes what was opened; left: {more}")

    async def test_its_constructor_does_no_io(self, make: Make) -> None:
        check_constructor(make)

    async def test_its_text_shows_no_secret(self, make: Make) -> None:
        check_component(make())


async def _check_list(store: StreamLister, held: list[Stream]) -> None:
    listed = list(await bounded(store.streams(), "streams"))
    promised(listed == sorted(held), f"streams lists every stream that was not cleared, in order: {listed}")
    listed = list(await store.streams("p"))
    promised(listed == sorted(stream for stream in held if stream.pipeline == "p"), f"and those of one: {listed}")
