"""Making one batch durable.

Besides `single_event_writer`, the only module that calls a destination's `write_batch`.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.bus import publish
from rigatoni_core.api.contracts import Destination
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.events import Position
from rigatoni_core.api.notices import BatchWritten, Notice
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.rejection_policy import RejectionPolicy
from rigatoni_core.engine.time_limit import time_limit
from rigatoni_core.engine.transforming import Transformed, Transforming


class Delivery:
    """The delivery of one batch; each call is one attempt.

    Args:
        batch: The batch.
        destination: What it is written to.
        rejections: Decides about the events that the destination rejects.
        transforming: Applies the stream's transforms first, if it has any.
        settings: `write_timeout` bounds the time without progress.
        check: Raises `LeaseLostError` once the lease is no longer held; called right before each write.
        written: Makes the notice that the batch is durable.
    """

    def __init__(
        self,
        batch: EventBatch,
        *,
        destination: Destination,
        rejections: RejectionPolicy,
        settings: Settings,
        check: Callable[[], None],
        transforming: Transforming | None = None,
        written: Callable[..., Notice] = BatchWritten,
    ) -> None:
        self._batch = batch
        self._written = written
        self._transforming = transforming
        self._transformed = None if transforming is not None else Transformed(batch)
        self._destination = destination
        self._rejections = rejections
        self._settings = settings
        self._check = check
        self._attempt = 0

    async def __call__(self) -> Position | None:
        """Make the batch durable, or return the other end that an earlier run fixed for it.

        If a transform or the destination rejects events, the rejection policy handles them first, and then the rest is
        written.
        """
        self._attempt += 1
        stream, found = self._batch.stream, self._destination.already_written_count(self._batch.stream)
        started = asyncio.get_running_loop().time()
        made, rejected = await self._transform()
        rest = made.batch
        while True:
            try:
                end = await self._write(rest)
                break
            except RejectedEventsError as error:
                rejected |= {rest.indices[index]: reason for index, reason in error.events.items()}
                await self._rejections.settle(made, rejected, self._attempt)
                rest = rest.without(error.events)
        if end is None:
            self._rejections.delivered(rest.as_read, rejected)
            publish(
                self._written(
                    stream=stream,
                    events=len(rest),
                    bytes=rest.nbytes,
                    end=self._batch.end,
                    seconds=asyncio.get_running_loop().time() - started,
                    found=self._destination.already_written_count(stream) > found,
                )
            )
        return end

    async def _transform(self) -> tuple[Transformed, dict[int, Exception]]:
        """What the destination gets, and what was rejected on the way there."""
        if self._transformed is None and self._transforming is not None:
            self._transformed = await self._transforming(self._batch)
        made, rejected = self._transformed, dict[int, Exception]()
        assert made is not None
        for rejections in made.rejections:
            rejected |= rejections.events
            await self._rejections.settle(made, rejected, self._attempt, plugin=rejections.plugin)
        return made, rejected

    async def _write(self, batch: EventBatch) -> Position | None:
        self._check()
        who = f"the destination, given a batch of {batch.stream},"
        progress = partial(self._destination.progress, batch.stream)
        async with time_limit(self._settings.write_timeout, who, progress):
            end = await self._destination.write_batch(batch)
            if end is None:
                await self._destination.flush()
            return end
