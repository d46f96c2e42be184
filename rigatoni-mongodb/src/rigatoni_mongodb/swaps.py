"""Collections that were replaced under their name, found by their UUIDs. See `renames` for what is lost then.

The stream's own events show most renames (`renames`). Looks at the catalog find the others: those inside a database
stream, and those that a stage of the user's pipeline hides. A look costs one `listCollections` a minute. Only if a UUID
differs from the look before, the server is asked for what happened in between, by a change stream of drops and renames
over that time. So the looks know what happened whatever the stream has read, and they never delay it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from uuid import UUID

from pymongo.errors import OperationFailure, PyMongoError
from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.events import ChangeEvent, Definition, Gap, Namespace, Operation, Position, Timestamp
from rigatoni_core.api.segments import Segment

from rigatoni_mongodb.catalog import Catalog
from rigatoni_mongodb.error_codes import LOST
from rigatoni_mongodb.renames import renames_in, target_of
from rigatoni_mongodb.resume import time_token
from rigatoni_mongodb.scope import Watch

LOOK_INTERVAL = 60.0
"""Seconds between two looks at the collections of a stream."""

DEPLOYMENT_LOOK_INTERVAL = 600.0
"""The same for a stream of the whole deployment, each of whose databases is listed."""

_LOOK_LIMIT = 600.0
"""Seconds after which a look is abandoned; the next one covers its time too."""

_MOVED_IN = "{source} was renamed to {target}: the documents that it had then arrived by no event"
_REPLACED = (
    "{source} was renamed to {target} and replaced it: no event tells which documents {target} had, and those that it "
    "has now arrived as those of {source}"
)
_UNTOLD = "{target} was replaced by another collection of that name, and no event tells how"
_REMEDY = ". Copy {target} from MongoDB to the destination once."

Changes = Callable[[Timestamp, Timestamp], Awaitable[list[ChangeEvent]]]


class SwapDetector:
    """Finds the collections of one stream whose documents arrived by no event.

    Args:
        watch: What the stream watches.
        definition: The stream's, for positions.
        catalog: Lists the collections of the scope; None if the user may not.
        changes: Returns the drops and renames in the scope between two cluster times, in order.
        sharded: Whether the deployment is sharded: resharding gives a collection another UUID, and loses nothing.
        filtered: Whether stages of the user may hide renames from the stream.
    """

    def __init__(
        self,
        watch: Watch,
        definition: Definition,
        catalog: Callable[[], Awaitable[Catalog | None]],
        changes: Changes,
        *,
        sharded: bool,
        filtered: bool,
    ) -> None:
        self._watch = watch
        self._definition = definition
        self._catalog = catalog
        self._changes = changes
        self._sharded = sharded
        self._filtered = filtered
        self._interval = LOOK_INTERVAL if watch.database else DEPLOYMENT_LOOK_INTERVAL
        self._last: Catalog | None = None  # as of the last look
        self._look: asyncio.Task[list[Gap]] | None = None
        self._next_look = float("-inf")
        self._reported: set[str] = set()  # tokens of renames

    def resume(self, position: Position) -> None:
        """The stream resumes here: what its filter hides was not looked at since."""
        time = position.cluster_time
        if self._filtered and time is not None:
            self._last = Catalog((), time, time)

    def found(self, documents: Segment) -> tuple[Gap, ...]:
        """The gaps that a reply shows, and those that a look has found since the last call. Never waits."""
        gaps = self._new(self._moved_in(event) for event in renames_in(documents, self._watch)) if documents else []
        if self._look is not None and self._look.done():
            look, self._look = self._look, None
            gaps += self._new(look.result())
        now = asyncio.get_running_loop().time()
        if self._look is None and now >= self._next_look:
            self._next_look = now + self._interval
            self._look = asyncio.create_task(self._compare())
        return tuple(gaps)

    def look_soon(self) -> None:
        """The stream was invalidated: look at the next reply, whenever the last look was."""
        self._next_look = float("-inf")

    async def close(self) -> None:
        """End a look that is under way."""
        look, self._look = self._look, None
        if look is not None:
            look.cancel()
            await asyncio.wait([look])

    async def _compare(self) -> list[Gap]:
        """Look at the catalog, and compare it with the look before. What cannot be compared now waits for the next."""
        try:
            async with asyncio.timeout(_LOOK_LIMIT):
                catalog, last = await self._catalog(), self._last
                if catalog is None or last is None:
                    self._last = catalog
                    return []
                gaps = await self._gaps_between(last, catalog)
        except (PyMongoError, RigatoniError, TimeoutError, ValueError):
            return []
        self._last = catalog
        return gaps

    async def _gaps_between(self, last: Catalog, now: Catalog) -> list[Gap]:
        before, after = last.uuids, now.uuids
        if all(before.get(namespace) == uuid for namespace, uuid in after.items()):
            return []
        try:
            changes = await self._changes(last.begin, now.end)
        except OperationFailure as error:
            if error.code not in LOST:
                raise
            changes = []
        gaps = [*self._told(before, changes)]
        told = {name for event in changes for name in (event.namespace, target_of(event)) if name}
        replaced = [name for name, uuid in after.items() if before.get(name, uuid) != uuid]
        place = Position(time_token(now.end), self._definition.fingerprint, now.end, 0)
        untold = [name for name in replaced if name not in told and Namespace(name.database) not in told]
        return gaps if self._sharded else [*gaps, *(_gap(_UNTOLD, name, name, place) for name in untold)]

    def _told(self, before: Mapping[Namespace, UUID], changes: Iterable[ChangeEvent]) -> Iterator[Gap]:
        """The gaps that drops and renames explain; `before` are the collections that existed at first."""
        existing = set(before)
        for event in changes:
            target = target_of(event)
            if target and self._watch.includes(target):
                if not self._watch.includes(event.namespace):
                    yield self._moved_in(event)
                elif target in existing:
                    yield _gap(_REPLACED, event.namespace, target, self._place(event))
                existing.add(target)
            if event.operation == Operation.DROP_DATABASE and event.namespace:
                existing = {name for name in existing if name.database != event.namespace.database}
            existing.discard(event.namespace or Namespace(""))

    def _moved_in(self, event: ChangeEvent) -> Gap:
        target = target_of(event)
        assert target is not None
        return _gap(_MOVED_IN, event.namespace, target, self._place(event))

    def _place(self, event: ChangeEvent) -> Position:
        """Right after this event. The same however the event was found, so that its gap is recorded once."""
        definition = self._definition
        return Position(event.resume_token, definition.fingerprint, event.cluster_time, 1)

    def _new(self, gaps: Iterable[Gap]) -> list[Gap]:
        """Those that were not reported before."""
        new = [gap for gap in gaps if gap.resumed.resume_token not in self._reported]
        self._reported.update(gap.resumed.resume_token for gap in new)
        return new


def _gap(cause: str, source: Namespace | None, target: Namespace, place: Position) -> Gap:
    return Gap((cause + _REMEDY).format(source=source, target=target), place, place, target)
