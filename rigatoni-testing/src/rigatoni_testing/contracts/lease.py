"""Contract tests for lease keepers."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import attrs
from rigatoni_core.api.contracts import Lease, LeaseKeeper
from rigatoni_core.api.errors import LeaseLostError
from rigatoni_core.api.events import Stream

from rigatoni_testing.batches import STREAM
from rigatoni_testing.contracts.obligations import Obligations, asynchronous, bounded, promised, refused
from rigatoni_testing.contracts.state import checkpoint

Make = Callable[[], Any]
LONG = 300.0
SLOW = 0.2
"""Seconds for which the event loop is blocked while a store waits for its response."""


@asynchronous
class LeaseContract(Obligations):
    """Contract tests for state stores that keep leases.

    The fixture `make` returns a function without arguments that creates a store, not entered. All stores of one
    test share one place, like the instances of a pipeline.
    """

    async def test_a_lease_is_held_by_one_owner(self, make: Make) -> None:
        async with make() as store:
            promised(isinstance(store, LeaseKeeper), f"{type(store).__name__} derives from LeaseKeeper")
            asked = [store.acquire(STREAM, owner=f"owner {n}", ttl=LONG) for n in range(20)]
            granted = [lease for lease in await bounded(asyncio.gather(*asked), "acquire") if lease]
            promised(len(granted) == 1, f"one of 20 concurrent owners gets the lease, not {len(granted)}")
            promised(await store.acquire(STREAM, owner="late", ttl=LONG) is None, "a held lease is not granted again")
            other = await store.acquire(Stream("p", "other"), owner="late", ttl=LONG)
            promised(other is not None, "streams do not share a lease")

    async def test_fencing_tokens_grow_with_every_grant(self, make: Make) -> None:
        tokens = []
        async with make() as store:
            for owner in ("one", "two", "two", "one"):
                lease = await store.acquire(STREAM, owner=owner, ttl=LONG)
                promised(lease is not None, "a released lease can be acquired, also by its former owner")
                tokens.append(lease.fencing_token)
                if len(tokens) != 2:
                    await store.release(lease)
            promised(tokens == sorted(set(tokens)), f"each grant has a higher fencing token than any before: {tokens}")
            promised(tokens[0] > 0, "fencing tokens are above 0, which means no lease")

    async def test_fencing_tokens_grow_even_if_the_store_has_lost_its_data(self, make: Make) -> None:
        new = Stream("p", "new")  # to the store it is unknown, like every stream after its data was lost
        async with make() as store:
            for _ in range(5):
                lease = await store.acquire(STREAM, owner="one", ttl=LONG)
            await asyncio.sleep(0.05)
            later = await store.acquire(new, owner="one", ttl=LONG)
            promised(
                later.fencing_token > lease.fencing_token,
                "a fencing token is above the store's clock in milliseconds, so that tokens are never reused",
            )

    async def test_a_grant_is_above_the_stored_fencing_token(self, make: Make) -> None:
        cleared = Stream("p", "cleared")
        async with make() as store:
            for stream in (STREAM, cleared):
                await store.save_resume_token(stream, checkpoint(fencing_token=10**15))
            await store.clear_resume_token(cleared, fencing_token=10**15)
            for stream in (STREAM, cleared):
                lease = await store.acquire(stream, owner="one", ttl=LONG)
                promised(lease.fencing_token > 10**15, "a grant has a higher fencing token than any save or clear")

    async def test_a_store_without_a_record_takes_what_the_owner_saves(self, make: Make) -> None:
        async with make() as store:
            lease = await store.acquire(STREAM, owner="one", ttl=LONG)
            await store.save_resume_token(STREAM, checkpoint("again", fencing_token=lease.fencing_token))
            promised(await store.load_resume_token(STREAM) is not None, "a save under the lease is accepted")
            with refused(LeaseLostError, "a fencing token that was never granted saves nothing"):
                await store.save_resume_token(STREAM, checkpoint("lost", fencing_token=lease.fencing_token + 1))

    async def test_the_deadline_is_on_the_event_loops_clock_and_taken_before_asking(self, make: Make) -> None:
        async with make() as store:
            lease, began = await _slowly(store.acquire(STREAM, owner="one", ttl=LONG))
            promise = "the deadline is ttl seconds after the call began, on the event loop's clock"
            promised(began + LONG <= lease.deadline <= began + LONG + SLOW / 2, f"{promise}: acquire")
            renewed, began = await _slowly(store.renew(lease, ttl=2 * LONG))
            promised(began + 2 * LONG <= renewed.deadline <= began + 2 * LONG + SLOW / 2, f"{promise}: renew")
            promised(renewed.fencing_token == lease.fencing_token, "renew keeps the fencing token")

    async def test_a_stranger_neither_renews_nor_releases(self, make: Make) -> None:
        async with make() as store:
            lease = await store.acquire(STREAM, owner="one", ttl=LONG)
            stranger = attrs.evolve(lease, owner="two", fencing_token=lease.fencing_token + 1)
            with refused(LeaseLostError, "renewing a lease that is not held raises LeaseLostError"):
                await store.renew(stranger, ttl=LONG)
            await store.release(stranger)
            promised(
                await store.acquire(STREAM, owner="three", ttl=LONG) is None,
                "releasing a lease that is not held does not affect its holder",
            )

    async def test_a_lease_expires(self, make: Make) -> None:
        async with make() as store:
            lease = await store.acquire(STREAM, owner="one", ttl=0.1)

            async def taken_over() -> Any:
                while (taken := await store.acquire(STREAM, owner="two", ttl=LONG)) is None:
                    await asyncio.sleep(0.02)
                return taken

            taken = await bounded(taken_over(), "a lease that is not renewed expires")
            promised(taken.fencing_token > lease.fencing_token, "taking over raises the fencing token")
            with refused(LeaseLostError, "an expired lease cannot be renewed"):
                await store.renew(lease, ttl=LONG)

    async def test_a_grant_fences_off_the_owner_before(self, make: Make) -> None:
        promise = "once a lease was granted, saves under an earlier one raise LeaseLostError"
        async with make() as store:
            one = await store.acquire(STREAM, owner="one", ttl=LONG)
            await store.save_resume_token(STREAM, checkpoint("one", fencing_token=one.fencing_token))
            await store.release(one)
            two = await store.acquire(STREAM, owner="two", ttl=LONG)
            with refused(LeaseLostError, promise):
                await store.save_resume_token(STREAM, checkpoint("late", fencing_token=one.fencing_token))
            loaded = await store.load_resume_token(STREAM)
            promised(loaded.position.resume_token == "one", promise)
            await store.save_resume_token(STREAM, checkpoint("two", fencing_token=two.fencing_token))


async def _slowly(call: Coroutine[Any, Any, Lease]) -> tuple[Lease, float]:
    """Returns the call's result and start time; blocks the event loop so that the store's response is late."""
    began = asyncio.get_running_loop().time()
    task = asyncio.ensure_future(call)
    await asyncio.sleep(0)  # let it start
    time.sleep(SLOW)  # noqa: ASYNC251 - that is the point
    return await bounded(task, "a lease"), began
