"""Contract tests for listeners."""

from collections.abc import Callable
from contextlib import AsyncExitStack

from rigatoni_core.api import notices
from rigatoni_core.api.contracts import AsyncResource, Listener

from rigatoni_testing.contracts import watching
from rigatoni_testing.contracts.obligations import (
    Obligations,
    asynchronous,
    broken,
    check_component,
    check_constructor,
    promised,
)
from rigatoni_testing.notices import one_of_each

Make = Callable[[], Listener]


@asynchronous
class ListenerContract(Obligations):
    """Contract tests for listeners; the fixture `make` returns a function that creates a listener, not entered."""

    async def test_it_accepts_every_notice_without_raising_or_blocking(self, make: Make) -> None:
        async with AsyncExitStack() as stack:
            listener = make()
            if isinstance(listener, AsyncResource):
                await stack.enter_async_context(listener)
            for notice in one_of_each():
                with watching.no_io() as seen:
                    try:
                        listener.notify(notice)
                    except Exception as error:
                        broken(f"notify accepts a {type(notice).__name__}; it raised {error!r}")
                promised(not seen, f"notify({type(notice).__name__}) does not block, but did: {', '.join(seen)}")

    async def test_it_ignores_unknown_notices(self, make: Make) -> None:
        """A kind of notice from a newer version of core."""

        class Newer(notices.Notice):
            pass

        async with AsyncExitStack() as stack:
            listener = make()
            if isinstance(listener, AsyncResource):
                await stack.enter_async_context(listener)
            try:
                listener.notify(Newer(stream=one_of_each()[0].stream))
            except Exception as error:
                broken(f"notify ignores unknown kinds of notices; it raised {error!r}")

    async def test_it_closes_what_it_opened(self, make: Make) -> None:
        async def use() -> None:
            listener = make()
            if isinstance(listener, AsyncResource):
                async with listener:
                    listener.notify(one_of_each()[0])

        await use()
        before = watching.held()
        for _ in range(3):
            await use()
        promised(not (more := await watching.left_over(before)), f"__aexit__ closes what was opened; left: {more}")

    async def test_its_constructor_does_no_io(self, make: Make) -> None:
        check_constructor(make)

    async def test_its_text_shows_no_secret(self, make: Make) -> None:
        check_component(make())
