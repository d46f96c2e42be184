"""The snapshots of a pipeline, as their records at the destination tell: for the command `rigatoni snapshot`."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import PositionKeeper, RecordKeeper
from rigatoni_core.api.errors import ConfigurationError, DestinationError
from rigatoni_core.api.events import Stream
from rigatoni_core.api.snapshot_ledger import KeptLedger, Requested
from rigatoni_core.api.snapshot_records import EndRecord, Place
from rigatoni_core.api.snapshots import SnapshotRequest, Snapshotter

POLL = 2.0
"""Seconds between two looks of `wait`."""


async def _ask(question: Any, *arguments: Any) -> Any:
    return await question(*arguments)


@attrs.frozen
class Snapshots:
    """The snapshots of one stream.

    Attributes:
        stream: The stream.
        ledger: Their records.
        keeper: The destination, which has been entered.
    """

    stream: Stream
    ledger: KeptLedger
    keeper: PositionKeeper

    async def record_of(self, requested: Requested) -> Mapping[str, Any]:
        """Return what is known of a snapshot as plain JSON values."""
        number, request = requested.number, requested.request
        end, plan = await self.ledger.ended(number), await self.ledger.plan(number)
        record: dict[str, Any] = {
            "snapshot": f"{self.stream.name}#{number}",
            "stream": self.stream.name,
            "number": number,
            "state": end.state if end else "reading" if plan else "requested",
            "rows": end.rows if end else 0,
            "ranges": len(plan.plan.ranges) if plan else 0,
            "complete_ranges": 0,
            "collections": list(request.collections or (end.collections if end else ())),
            "reason": end.reason if end else "",
        }
        if end is None and await self.ledger.is_paused(number):
            record["state"] = "paused"
        for index in range(record["ranges"] if end is None and plan else 0):
            assert plan is not None
            position = await self.keeper.last_committed(self.stream.snapshot_range(number, index))
            if position is not None:
                place = Place.read(self.stream, position, plan.fingerprint)
                record["rows"] += place.rows
                record["complete_ranges"] += place.complete
        if end is not None and end.state == "done":
            record["complete_ranges"] = record["ranges"]
        return record

    async def open(self, number: int | None) -> int:
        """Return the number of a snapshot that has not ended: this one, or the oldest.

        Raises:
            DestinationError: There is none.
        """
        if number is None:
            current = await self.ledger.current()
            if current is not None:
                return current.number
        else:
            end = await self.ledger.ended(number)
            if end is not None:
                raise self._no_snapshot(f"{self.stream.name}#{number} has ended: {end.state}")
            if any(requested.number == number for requested in await self.ledger.requests()):
                return number
            raise self._no_snapshot(f"{self.stream.name}#{number}: no such snapshot")
        raise self._no_snapshot(f"{self.stream.name}: no snapshot is requested or being read")

    async def open_or_newest(self) -> int:
        """Return the number of the oldest snapshot that has not ended, or that of the newest if all have.

        Raises:
            DestinationError: The stream never had a snapshot.
        """
        current = await self.ledger.current()
        if current is not None:
            return current.number
        if requests := await self.ledger.requests():
            return requests[-1].number
        raise self._no_snapshot(f"{self.stream.name} never had a snapshot")

    async def wait(self, number: int) -> EndRecord:
        """Return how the snapshot ended, once it has.

        Raises:
            DestinationError: There is no such snapshot.
        """
        end = await self.ledger.ended(number)
        if end is None and not any(requested.number == number for requested in await self.ledger.requests()):
            raise self._no_snapshot(f"{self.stream.name}#{number}: no such snapshot")
        while end is None:
            await asyncio.sleep(POLL)
            end = await self.ledger.ended(number)
        return end

    def _no_snapshot(self, message: str) -> DestinationError:
        return DestinationError(message, remedy="List the snapshots with `rigatoni snapshot list`.")


def named(reference: str | None) -> tuple[str | None, int | None]:
    """Return the stream and the number of a reference such as `shop.orders#3` or `shop.orders`."""
    if reference is None:
        return None, None
    stream, mark, number = reference.rpartition("#")
    return (stream, int(number)) if mark and number.isdecimal() else (reference, None)


@asynccontextmanager
async def snapshots_of(configuration: PipelineConfiguration, stream: str | None) -> AsyncIterator[Sequence[Snapshots]]:
    """Open the destination and yield the snapshots of one stream, or of every stream.

    Raises:
        ConfigurationError: The destination keeps no records, or the pipeline has no such stream.
    """
    destination = configuration.destination
    if not (isinstance(destination, RecordKeeper) and isinstance(destination, PositionKeeper)):
        raise ConfigurationError(
            f"the destination of {configuration.name} keeps no records of snapshots",
            remedy='Use a destination that keeps records of snapshots, or mode = "initial", which needs no command.',
        )
    names = await configuration.source.streams()
    if stream is not None and stream not in names:
        raise ConfigurationError(
            f'{configuration.name} has no stream "{stream}"', remedy=f"Name one of its streams: {', '.join(names)}."
        )
    chosen = [Stream(configuration.name, name) for name in names if stream in (None, name)]
    async with destination:
        yield [Snapshots(each, KeptLedger(each, destination, _ask), destination) for each in chosen]


async def request_of(
    configuration: PipelineConfiguration,
    stream: Stream,
    *,
    collections: Sequence[str],
    filters: Mapping[str, str],
    lowest: str,
    highest: str,
) -> SnapshotRequest:
    """Return a request that the source has checked, and its server, too.

    Raises:
        ConfigurationError: The pipeline takes no snapshots, or the source or its server refuses the request.
        SourceError: The source cannot be read.
    """
    settings, source = configuration.settings, configuration.source
    if not settings.takes_snapshots or not isinstance(source, Snapshotter):
        raise ConfigurationError(
            f"{configuration.name} takes no snapshots",
            remedy='Set mode = "on_request" in [pipeline.snapshot], and restart the pipeline if it runs.',
        )
    request = SnapshotRequest(
        id=uuid.uuid4().hex,
        collections=tuple(collections) or settings.snapshot.collections,
        operation=settings.snapshot.operation,
        filters=filters,
        lowest=lowest,
        highest=highest,
    )
    source.check_snapshot(stream, request)
    async with source:
        await source.plan_snapshot(stream, request, ranges=1)  # a plan leaves nothing behind
    return request
