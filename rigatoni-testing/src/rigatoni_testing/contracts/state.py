"""What a state store promises."""

import asyncio
from collections.abc import Callable

import attrs
from rigatoni_core.api.contracts import StateStore
from rigatoni_core.api.errors import LeaseLostError
from rigatoni_core.api.events import Checkpoint, Gap, Identity, Position, ResumeToken, Stream, Timestamp

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
    """A checkpoint by its token's text."""
    return Checkpoint(Position(ResumeToken(token), "f", Timestamp(1_700_000_000, 1), 1), events, fencing_token)


@asynchronous
class StateStoreContract(Obligations):
    """The fixture `make` is a function without arguments: a new store, not entered, in this test's own place."""

    async def test_what_was_saved_is_loaded_to_the_last_field(self, make: Make) -> None:
        lost, resumed = checkpoint("lost").position, checkpoint("resumed").position
        rich = attrs.evolve(
            checkpoint("ü" * 20_000, events=2**53 + 1, fencing_token=7), gaps=(Gap("cause", lost, resumed),)
        )
        rich = attrs.evolve(rich, position=attrs.evolve(rich.position, ordinal=3), delivered=lost)
        rich = attrs.evolve(rich, identity=Identity("rs0", "replica-set:a", ("1", "2")))
        async with make() as store:
            promised(await store.load_resume_token(STREAM) is None, "a stream that was never saved has no checkpoint")
            for saved in (rich, attrs.evolve(rich, position=attrs.evolve(rich.position, cluster_time=None))):
                await bounded(store.save_resume_token(STREAM, saved), "save_resume_token")
                loaded = await bounded(store.load_resume_token(STREAM), "load_resume_token")
                promised(loaded == saved, f"a checkpoint comes back equal in every field: {saved!r}, not {loaded!r}")

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
                promised(loaded == checkpoint(events=number), f"each stream has a record of its own, {stream} too")

    async def test_clear_forgets_and_may_find_nothing(self, make: Make) -> None:
        other = Stream("p", "other")
        async with make() as store:
            await store.clear_resume_token(STREAM)
            await store.save_resume_token(STREAM, checkpoint())
            await store.save_resume_token(other, checkpoint("other"))
            await store.clear_resume_token(STREAM)
            promised(await store.load_resume_token(STREAM) is None, "clear_resume_token forgets the checkpoint")
            promised(await store.load_resume_token(other) == checkpoint("other"), "it leaves other streams alone")

    async def test_an_older_fencing_token_changes_nothing(self, make: Make) -> None:
        promise = "with a higher fencing token stored, save and clear raise LeaseLostError and change nothing"
        async with make() as store:
            await store.save_resume_token(STREAM, checkpoint("new", fencing_token=5))
            with refused(LeaseLostError, promise):
                await store.save_resume_token(STREAM, checkpoint("old", fencing_token=4))
            with refused(LeaseLostError, promise):
                await store.clear_resume_token(STREAM, fencing_token=4)
            promised(await store.load_resume_token(STREAM) == checkpoint("new", fencing_token=5), promise)
            for token in (5, 6):
                await store.save_resume_token(STREAM, checkpoint("newer", fencing_token=token))
            promised(
                await store.load_resume_token(STREAM) == checkpoint("newer", fencing_token=6),
                "the same or a higher fencing token saves",
            )

    async def test_of_many_saves_at_once_one_is_there_whole(self, make: Make) -> None:
        async with make() as store:
            saves = [checkpoint(str(number) * 5_000, events=number) for number in range(20)]
            await bounded(asyncio.gather(*(store.save_resume_token(STREAM, save) for save in saves)), "20 saves")
            promised(await store.load_resume_token(STREAM) in saves, "saves at once leave one of them, whole")

    async def test_a_cancelled_save_never_overtakes_a_later_one(self, make: Make) -> None:
        async with make() as store:
            await store.save_resume_token(STREAM, checkpoint("before"))
            for steps in range(6):
                save = asyncio.ensure_future(store.save_resume_token(STREAM, checkpoint("cancelled")))
                for _ in range(steps):
                    await asyncio.sleep(0)
                save.cancel()
                await asyncio.gather(save, return_exceptions=True)
                await bounded(store.save_resume_token(STREAM, checkpoint(f"later {steps}")), "a save after that")
                loaded = await store.load_resume_token(STREAM)
                promised(
                    loaded == checkpoint(f"later {steps}"), "a save that was cancelled never overtakes a later one"
                )

    async def test_it_closes_what_it_opened(self, make: Make) -> None:
        async def use() -> None:
            async with make() as store:
                await store.save_resume_token(STREAM, checkpoint())

        await use()  # what is made once for all (a library's threads, caches) is no leak
        before = watching.held()
        for _ in range(3):
            await use()
        promised(not (more := await watching.left_over(before)), f"__aexit__ closes what was opened; left: {more}")

    async def test_its_constructor_does_no_io(self, make: Make) -> None:
        check_constructor(make)

    async def test_its_text_shows_no_secret(self, make: Make) -> None:
        check_component(make())
