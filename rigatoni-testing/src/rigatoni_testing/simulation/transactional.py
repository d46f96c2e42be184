"""A model of a transactional destination: a read and a commit are two requests, and a commit compares and swaps."""

from collections.abc import Mapping
from typing import ClassVar

import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Delivery, Destination, DestinationMetadata, TransactionalKeeper
from rigatoni_core.api.events import Definition, Gap, Position, Stream
from rigatoni_core.api.identity import Identity
from rigatoni_core.api.stream_record import StreamRecord

from rigatoni_testing.simulation.bucket import Appended
from rigatoni_testing.simulation.ledger import Ledger
from rigatoni_testing.simulation.network import Network
from rigatoni_testing.simulation.schedule import (
    OF_THE_CHAIN,
    ObjectLayout,
    Schedule,
    Server,
    WorldEvent,
    random_schedule,
)


def transactional_schedule(seed: int) -> Schedule:
    """Return a full schedule for `TransactionalDestination`, without incidents that only objects have."""
    schedule = random_schedule(seed)
    of_objects = {*OF_THE_CHAIN} - {WorldEvent.STATE_LOST, WorldEvent.STATE_RESTORED}
    happenings = tuple(each for each in schedule.happenings if each.event not in of_objects)
    return attrs.evolve(
        schedule,
        keeps_chain=False,
        layout=ObjectLayout.ONE,
        carries_records=True,
        folds_case=False,
        happenings=happenings,
    )


@attrs.define(kw_only=True, eq=False)
class TransactionalDestination(Destination, TransactionalKeeper):
    """One commit holds rows and record, and is refused if the record has changed since it was read."""

    appended: Mapping[str, Appended]
    network: Network
    ledger: Ledger
    _left: dict[str, StreamRecord] = attrs.field(factory=dict, init=False)

    delivery: ClassVar[Delivery] = Delivery.TRANSACTIONAL

    async def write_batch(self, events: EventBatch) -> Position | None:
        """See `Destination`."""
        stream = events.stream
        with self.ledger.writing(self.network, events, rejects=True):
            while True:
                held = self._left[stream.key].expect(await self._read(stream))
                if held.holds(events):
                    break
                if (end := held.end_within(events)) is not None:
                    return end
                if await self._commit(stream, held, held.after(events), events=events):
                    break
        self.ledger.written(self.network, events)
        return None

    async def last_committed(self, stream: Stream) -> Position | None:
        """See `PositionKeeper`."""
        held = await self._read(stream)
        return held.position if held is not None else None

    async def recorded_identity(self, stream: Stream) -> Identity:
        """See `PositionKeeper`."""
        held = await self._read(stream)
        return held.identity if held is not None else Identity()

    async def begin(
        self, stream: Stream, definition: Definition, position: Position, *, gap: Gap | None = None
    ) -> Position:
        """See `TransactionalKeeper`."""
        while True:
            held = await self._read(stream)
            record = StreamRecord.begun(stream, held, definition, position, gap)
            if record is held or await self._commit(stream, held, record, gap=gap):
                self._left[stream.key] = record
                return record.position

    async def commit_idle(self, stream: Stream, position: Position) -> None:
        """See `TransactionalKeeper`."""
        while True:
            held = self._left[stream.key].expect(await self._read(stream))
            if await self._commit(stream, held, held.at(position)):
                return

    def metadata(self) -> DestinationMetadata:
        """See `Destination`."""
        return DestinationMetadata("a model of a table", self.delivery)

    async def _read(self, stream: Stream) -> StreamRecord | None:
        table = self.appended[stream.key]
        return await self.network.request(Server.DESTINATION, f"read of the record of {stream}", lambda: table.record)

    async def _commit(
        self,
        stream: Stream,
        base: StreamRecord | None,
        record: StreamRecord,
        *,
        events: EventBatch | None = None,
        gap: Gap | None = None,
    ) -> bool:
        """Return whether the commit was made; also noted where its response was lost."""
        table = self.appended[stream.key]

        def commit() -> bool:
            if table.record is not base:
                return False
            table.record = record
            self.ledger.commits(stream, record, events, gap)
            return True

        made = await self.network.request(Server.DESTINATION, f"commit of {stream} to {record.position}", commit)
        if made:
            self._left[stream.key] = record
        return made
