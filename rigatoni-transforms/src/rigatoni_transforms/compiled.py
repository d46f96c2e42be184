"""The rules of `select` and `mask` for the accelerator, which applies them to all events of a batch at once."""

from array import array
from collections.abc import Mapping, Sequence
from typing import Final

import attrs
from rigatoni_bson.accelerator import Rewriter, documents_for, find_accelerator
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.segments import Segment

from rigatoni_transforms.matching import Spelled, State

_ACCELERATOR = find_accelerator()
_MOST: Final = 4096
"""States; the paths of options have a few. Many stars in paths can have more, which are not worth their memory."""

_Steps = tuple[list[tuple[bytes, int]], int | None]
"""The numbers of the states of steps: by name, and of all others."""


@attrs.frozen
class CompiledRules:
    """Rewrites batches as `Closure` rewrites events, byte for byte."""

    _rewriter: Rewriter

    @classmethod
    def of(cls, top: State, *, keeps_others: bool, collections: Sequence[str]) -> "CompiledRules | None":
        """Return the rules; None without the accelerator, with rules that it lacks, or with too many states.

        Args:
            top: The state at the top of documents.
            keeps_others: Whether values that no path leads to stay.
            collections: The collections whose events are changed; all if there are none.
        """
        states = _table(top) if _ACCELERATOR is not None else None
        if _ACCELERATOR is None or states is None:
            return None
        return cls(_ACCELERATOR.rewriter(states, keeps_others, list(collections) or None))

    def rewritten(self, events: EventBatch) -> tuple[EventBatch, Sequence[int]]:
        """Return the events after the rules, and the indices of those that are unchanged and left to the closure."""
        segments, left, first = [], list[int](), 0
        for segment in events.segments:
            made = self._rewriter.rewrite(*documents_for(segment))
            if made is not None:
                documents, offsets, skipped = made
                left += [first + index for index in skipped]
                segment = Segment(memoryview(documents), array("Q", offsets))
            segments.append(segment)
            first += len(segment)
        is_same = all(one is other for one, other in zip(segments, events.segments, strict=True))
        return events if is_same else events.with_segments(segments), left


def _table(top: State) -> list[tuple[Spelled | None, _Steps, _Steps]] | None:
    """Return the reachable states in the notation of the accelerator; None if it lacks a rule or there are too many."""
    numbers = {top: 0}
    reached = [top]

    def number(state: State | None) -> int | None:
        if state is None:
            return None
        if state not in numbers:
            numbers[state] = len(reached)
            reached.append(state)
        return numbers[state]

    def steps(named: Mapping[bytes, State | None], other: State | None) -> _Steps:
        found = ((name, number(state)) for name, state in named.items())
        return [(name, place) for name, place in found if place is not None], number(other)

    rows = []
    for state in reached:  # grows
        rule = state.rule.spelled if state.rule is not None else None
        if len(reached) > _MOST or (state.rule is not None and rule is None):
            return None
        rows.append((rule, steps(state.fields, state.other), steps(state.elements, state.any_element)))
    return rows
