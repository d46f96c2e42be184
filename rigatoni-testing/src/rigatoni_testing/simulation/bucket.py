"""What a destination stores: a chain of objects that are created only if absent, or plain appended batches."""

from bisect import insort
from collections.abc import Mapping, Sequence

import attrs
from rigatoni_core.api.events import Gap, Position

from rigatoni_testing.simulation.log import EventLog

Name = tuple[int, int, int]
FOREIGN = "somebody else"


def name_of(first: Position) -> Name:
    """An object's name: cluster time and ordinal of its first event. Sorting names sorts the stream."""
    assert first.cluster_time is not None
    return first.cluster_time.seconds, first.cluster_time.increment, first.ordinal


@attrs.frozen(kw_only=True)
class DefinitionObject:
    """What defines a stream's objects of one number, and the position before the first of them."""

    fingerprint: str
    anchor: Position
    gap: Gap | None = None


@attrs.frozen(kw_only=True)
class Lead:
    """The object of a batch's first event, put first: it fixes where the batch ends and what its other parts are."""

    owner: str
    number: int
    first: Position
    end: Position
    parts: Mapping[str, Sequence[int]]  # place -> numbers of events; the lead's own comes first


@attrs.define
class Bucket:
    """One stream's objects. Each method is one request: atomic, and done once it returns."""

    log: EventLog
    definitions: list[DefinitionObject] = attrs.field(factory=list)
    leads: dict[Name, Lead] = attrs.field(factory=dict)
    parts: dict[tuple[Name, str], Sequence[int]] = attrs.field(factory=dict)
    _names: list[Name] = attrs.field(factory=list)

    def put_lead(self, lead: Lead) -> Lead | None:
        """Create the object if absent; the one that is there otherwise."""
        name = name_of(lead.first)
        found = self.leads.get(name)
        if found is None:
            self.leads[name] = lead
            insort(self._names, name)
        return found

    def put_part(self, first: Position, place: str, numbers: Sequence[int]) -> None:
        """Create another part of a batch if absent."""
        self.parts.setdefault((name_of(first), place), numbers)

    def put_definition(self, number: int, definition: DefinitionObject) -> bool:
        """Create the definition of this number if absent; False where somebody was quicker."""
        if number != len(self.definitions):
            return False
        self.definitions.append(definition)
        return True

    def tail(self) -> tuple[DefinitionObject | None, int, Lead | None]:
        """The newest definition, its number, and the newest complete batch."""
        newest = self.definitions[-1] if self.definitions else None
        leads = (self.leads[name] for name in reversed(self._names))
        return newest, len(self.definitions) - 1, next((lead for lead in leads if self.is_complete(lead)), None)

    def is_complete(self, lead: Lead) -> bool:
        """Whether all parts of a batch are there."""
        name = name_of(lead.first)
        return all((name, place) in self.parts for place in list(lead.parts)[1:])

    def put_foreign(self, lead: Lead) -> bool:
        """Somebody else creates an object; False where the name is taken."""
        return self.leads.setdefault(name_of(lead.first), lead) is lead

    def remove(self, lead: Lead) -> None:
        """The operator takes a foreign object away."""
        del self.leads[name_of(lead.first)]


@attrs.define
class Appended:
    """One stream's batches at a destination that keeps no chain: whatever is written is appended."""

    log: EventLog
    batches: list[Sequence[int]] = attrs.field(factory=list)
