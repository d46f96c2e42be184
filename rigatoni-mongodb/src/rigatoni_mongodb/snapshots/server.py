"""What snapshots need of the source: the server, and the options that decide which events exist."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs
from rigatoni_core.api.events import Timestamp

from rigatoni_mongodb.cursor import ReplyCursor
from rigatoni_mongodb.driver import Driver


class OpenCursor(Protocol):
    """Opens cursors for snapshots."""

    async def __call__(
        self, database: str, command: dict[str, Any], *, primary: bool = False, max_await_time_ms: int | None = None
    ) -> ReplyCursor:
        """Run a command that opens a cursor: on the primary, or on the member that the source reads from."""


@attrs.frozen(kw_only=True)
class Server:
    """The server as snapshots see it.

    Attributes:
        driver: The connection.
        open: Opens cursors.
        now: Returns the deployment's operation time.
        sharded: Whether the deployment is sharded.
        stages: The source's pipeline.
        options: The options of `$changeStream` that events depend on.
    """

    driver: Driver
    open: OpenCursor
    now: Callable[[], Awaitable[Timestamp]]
    sharded: bool = False
    stages: Sequence[Mapping[str, Any]] = ()
    options: Mapping[str, Any] = attrs.field(factory=dict)
