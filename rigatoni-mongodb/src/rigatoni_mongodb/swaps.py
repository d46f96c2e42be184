"""Finds collections that were replaced under their name, by their UUIDs. See `renames` for what is lost then.

The stream's own events show most renames (`renames`). Scans of the catalog find the others: those within a database
stream, and those that a stage of the user's pipeline hides. A scan costs one `listCollections` per minute. Only if a
UUID has changed since the last scan, a change stream of drops and renames over that time shows what happened. Scans are
therefore independent of the stream's progress, and never delay it.
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
"""Seconds between two scans of a stream's collections."""

DEPLOYMENT_LOOK_INTERVAL = 600.0
"""The same for a stream of the whole deployment, which lists every database."""

_LOOK_LIMIT = 600.0
"""Seconds after which a scan is abandoned; the next one also covers its time."""

_FIRST_SCAN_LIMIT = 1.0
"""Seconds that reading waits for the first scan, which usually takes three round trips."""

_MOVED_IN = "{source} was renamed to {target}: the server sent no events for its existing documents"
_REPLACED = (
    "{source} was renamed to {target} and replaced it: the server sent no deletes for the old documents of {target}, "
    "and sent the new ones as those of {source}"
)
_UNREPORTED = "{target} was replaced by another collection of that name, and the server sent no events for it"
_REMEDY = ". Copy {target} from MongoDB to the destination once."

Changes = Callable[[Timestamp, Timestamp], Awaitable[list[ChangeEvent]]]


class SwapDetector:
    """Finds the collections of one stream for whose documents the server sent no events.

    Args:
        watch: What the stream watches.
        definition: The stream's, for positions.
        catalog: Lists the collections of the scope; None if the user may not.
        changes: Returns the drops and renames in the scope between two cluster times, in order.
        sharded: Whether the deployment is sharded: resharding changes a collection's UUID without loss.
        filtered: Whether the user's stages may hide renames from the stream.
        compared: The catalog that was compared last, by an earlier run; None if there is none.
        remember: Takes a catalog once the differences from the one before were reported.
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
        compared: Catalog | None = None,
        remember: Callable[[Catalog], None] = lambda _: None,
    ) -> None:
        self._watch = watch
        self._definition = definition
        self._catalog = catalog
        self._changes = changes
        self._sharded = sharded
        self._filtered = filtered
        self._interval = LOOK_INTERVAL if watch.database else DEPLOYMENT_LOOK_INTERVAL
        self._last = compared  # of the last scan
        self._remember = remember
        self._compared: Catalog | None = None  # of a scan whose gaps `found` has returned
        self._look: asyncio.Task[list[Gap]] | None = None
        self._next_look = float("-inf")
        self._reported: set[str] = set()  # tokens of renames

    def resume(self, position: Position) -> None:
        """Start the next scan's comparison at this position, if the stream's filter may hide renames."""
        time = position.cluster_time
        if self._filtered and time is not None and self._last is None:
            self._last = Catalog((), time, time)

    async def first_scan(self) -> None:
        """Start a scan and wait for it, but not long: a run may end before the next reply.

        It finds what was replaced while nothing read the stream, if an earlier run recorded its collections.
        """
        self._scan()
        if self._look is not None:
            await asyncio.wait([self._look], timeout=_FIRST_SCAN_LIMIT)

    def found(self, documents: Segment) -> tuple[Gap, ...]:
        """Return the gaps in a reply, and those that a scan has found since the last call. Never waits."""
        gaps = self._new(self._moved_in(event) for event in renames_in(documents, self._watch)) if documents else []
        if self._look is not None and self._look.done():
            look, self._look = self._look, None
            gaps += self._new(look.result())
            self._compared = self._last
        self._scan()
        return tuple(gaps)

    def reported(self) -> None:
        """Note that the gaps which `found` returned were passed on, so that no later run looks for them again."""
        compared, self._compared = self._compared, None
        if compared is not None:
            self._remember(compared)

    def _scan(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._look is None and now >= self._next_look:
            self._next_look = now + self._interval
            self._look = asyncio.create_task(self._compare())

    def look_soon(self) -> None:
        """Scan at the next reply, since the stream was invalidated."""
        self._next_look = float("-inf")

    async def close(self) -> None:
        """Cancel a running scan."""
        look, self._look = self._look, None
        if look is not None:
            look.cancel()
            await asyncio.wait([look])

    async def _compare(self) -> list[Gap]:
        """Scan the catalog and compare it with the last scan. After an error the next scan compares again."""
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
        gaps = [*self._explained(before, changes)]
        explained = {name for event in changes for name in (event.namespace, target_of(event)) if name}
        replaced = [name for name, uuid in after.items() if before.get(name, uuid) != uuid]
        place = Position(time_token(now.end), self._definition.fingerprint, now.end, 0)
        others = [name for name in replaced if name not in explained and Namespace(name.database) not in explained]
        return gaps if self._sharded else [*gaps, *(_gap(_UNREPORTED, name, name, place) for name in others)]

    def _explained(self, before: Mapping[Namespace, UUID], changes: Iterable[ChangeEvent]) -> Iterator[Gap]:
        """Yield the gaps that drops and renames explain; `before` are the collections of the last scan."""
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
        """Return the position right after this event. It does not depend on who found it, so a gap is recorded once."""
        definition = self._definition
        return Position(event.resume_token, definition.fingerprint, event.cluster_time, 1)

    def _new(self, gaps: Iterable[Gap]) -> list[Gap]:
        """Return the gaps not reported before."""
        new = [gap for gap in gaps if gap.resumed.resume_token not in self._reported]
        self._reported.update(gap.resumed.resume_token for gap in new)
        return new


def _gap(cause: str, source: Namespace | None, target: Namespace, place: Position) -> Gap:
    return Gap((cause + _REMEDY).format(source=source, target=target), place, place, target)
