"""The checks by name, whose failures are this plugin's errors."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import attrs
from pymongo.errors import PyMongoError
from rigatoni_core.api.contracts import Finding
from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.events import Position, Stream

from rigatoni_mongodb.diagnosis import collections, oplog, server
from rigatoni_mongodb.diagnosis.examined import Examined

Check = Callable[[], Awaitable[Sequence[Finding]]]


@attrs.frozen
class Checks:
    """The checks of one source.

    Attributes:
        examined: The source.
        positions: Where its streams would resume.
        translate: Returns this plugin's error for an exception of PyMongo, and the check that it ended.
    """

    examined: Examined
    positions: Mapping[Stream, Position | None]
    translate: Callable[[PyMongoError, str], RigatoniError]

    @property
    def by_name(self) -> dict[str, Check]:
        """The checks. Each raises `RigatoniError` if the server is unavailable."""
        examined = self.examined
        checks: dict[str, Check] = {
            "server": partial(server.kind_and_version, examined),
            "oplog headroom": partial(oplog.headroom, examined, self.positions),
            "members": partial(server.members, examined),
            "clock": partial(server.clock, examined),
            "collections": partial(collections.kinds, examined),
            "images": partial(collections.images, examined),
            "look-ups": partial(collections.look_ups, examined),
        }
        return {name: partial(self._translated, name, check) for name, check in checks.items()}

    async def _translated(self, name: str, check: Check) -> Sequence[Finding]:
        try:
            return await check()
        except PyMongoError as error:
            raise self.translate(error, name) from error
