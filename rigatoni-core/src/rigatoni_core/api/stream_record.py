"""What a transactional destination holds of one stream, and the rule by which it takes batches.

Every transactional destination keeps this record where the commit of rows can replace it: a row of a table, a property,
a message. The rule is here once; a destination adds how its commit is refused if the record has changed since.
"""

import json
from collections.abc import Mapping
from typing import Any, Self

import attrs

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.errors import DefinitionChangedError, DestinationError, LeaseLostError
from rigatoni_core.api.events import Definition, Gap, Position, Stream
from rigatoni_core.api.identity import Identity, identity_record, read_identity
from rigatoni_core.api.records import position_record, read_position, sealed, unseal

FORMAT = 1
"""The record's format version. Newer formats are refused."""


@attrs.frozen
class StreamRecord:
    """The position of one stream and the definition that its rows follow.

    Attributes:
        stream: The stream.
        delivered: The end of the last batch, or where the stream began or skipped a gap.
        position: Where the stream resumes: `delivered`, or a later place that it reached since without any event.
        number: Grows with each definition and each gap, so that an owner with an older one is refused.
        fingerprint: The definition's.
        details: The definition's, for people.
        identity: The deployment that the position belongs to.
    """

    stream: Stream
    delivered: Position
    position: Position
    number: int
    fingerprint: str
    details: Mapping[str, Any]
    identity: Identity

    @classmethod
    def begun(
        cls, stream: Stream, held: Self | None, definition: Definition, position: Position, gap: Gap | None = None
    ) -> Self:
        """Return the record to commit when a stream begins: `held` itself, unless something has changed.

        Args:
            stream: The stream.
            held: The record that the destination holds, if any: its position is in force.
            definition: What the stream is now.
            position: Where it begins if nothing is held, or with a gap.
            gap: What is skipped.
        """
        if held is not None and gap is None:
            if held.fingerprint == definition.fingerprint:
                return held
            position = held.position
        number = held.number + 1 if held is not None else 0
        identity = definition.identity
        return cls(stream, position, position, number, definition.fingerprint, definition.details, identity)

    def expect(self, held: Self | None) -> Self:
        """Compare this record, the one that this run left at the destination, with the one that it holds now.

        Args:
            held: The record that the destination holds now; None if it holds none.

        Returns:
            `held`, if this run may continue.

        Raises:
            DefinitionChangedError: Another instance runs the stream with a newer definition.
            LeaseLostError: The position was moved in another way: the worker enters again and takes the new one.
        """
        if held is not None and held.number > self.number and held.fingerprint != self.fingerprint:
            raise DefinitionChangedError(f"{self.stream}: the destination holds a newer definition of the stream")
        if held is None or held.number != self.number or held.delivered.order < self.delivered.order:
            raise LeaseLostError(
                f"{self.stream}: the destination does not hold the position that this run left there; it was removed, "
                "restored, or moved by another instance"
            )
        return held

    def holds(self, events: EventBatch) -> bool:
        """Return whether all of the batch is committed already, by this run or another one.

        A chunk of a snapshot is, only if its end is the same: another reading of it may have another end.

        Args:
            events: The batch.
        """
        if events.stream.of_snapshot is not None:
            return events.end.resume_token == self.delivered.resume_token
        return events.end.order <= self.delivered.order

    def end_within(self, events: EventBatch) -> Position | None:
        """Return where the batch must end if its first events are committed already; None if it may be written.

        Args:
            events: The batch.
        """
        return self.delivered if events.first.order < self.delivered.order else None

    def after(self, events: EventBatch) -> Self:
        """Return the record to commit with the rows of the batch.

        Args:
            events: The batch.
        """
        return attrs.evolve(self, delivered=events.end, position=events.end)

    def at(self, position: Position) -> Self:
        """Return the record to commit for an idle advance: `self` if it holds a later position.

        Args:
            position: The position of the idle stream.
        """
        return self if position.order < self.position.order else attrs.evolve(self, position=position)

    def dump(self) -> str:
        """Return the record as one line of checksummed JSON in ASCII."""
        record = {
            "format": FORMAT,
            "pipeline": self.stream.pipeline,
            "stream": self.stream.name,
            "position": position_record(self.position),
            "delivered": position_record(self.delivered),
            "definition": {"number": self.number, "fingerprint": self.fingerprint, "details": dict(self.details)},
            "deployment": identity_record(self.identity),
        }
        return json.dumps(sealed(record))

    @classmethod
    def load(cls, stream: Stream, text: str, where: str) -> Self:
        """Read the record of a stream.

        Args:
            stream: The stream that the record must belong to.
            text: The record.
            where: Its place, for messages.

        Raises:
            DestinationError: It was damaged, belongs to another stream, or was written by a newer rigatoni-core.
        """
        try:
            record = json.loads(text)
            intact, version = unseal(record), record["format"]
            if isinstance(version, int) and version > FORMAT:
                remedy = "Upgrade rigatoni-core: the record was written by a newer one."
                raise DestinationError(f"{where} has record format {version}, later than {FORMAT}", remedy=remedy)
            if not intact or (record["pipeline"], record["stream"]) != (stream.pipeline, stream.name):
                raise ValueError("its checksum or its stream does not match")
            delivered, position = read_position(record["delivered"]), read_position(record["position"])
            number, fingerprint, details = (record["definition"][key] for key in ("number", "fingerprint", "details"))
            return cls(stream, delivered, position, number, fingerprint, details, read_identity(record["deployment"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise DestinationError(
                f"{where} is not the position record of {stream}: {error}",
                remedy="Restore the record from a backup of the destination. If there is none, remove it and the "
                "stream's rows; the stream then begins at its checkpoint.",
            ) from None
