"""How the scopes of streams relate: which collections several of them include, and which events."""

import re
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.events import Namespace

from rigatoni_mongodb.decoding import namespaces
from rigatoni_mongodb.scope import Watch

MAX_STATES = 100_000
"""How many combinations of places in several patterns are looked at."""

_OTHER = "\0"
"""Stands for every character that no pattern names; no name holds it."""


def shared(scope: Watch, others: Collection[Watch]) -> frozenset[frozenset[str]]:
    """For each possible collection of `scope`: the names of those others that include it. Each set once.

    Raises:
        ValueError: The patterns are too many to compare.
    """
    databases = {watch.database for watch in (scope, *others) if watch.database is not None}
    if scope.database is not None:
        databases = {scope.database}
    found = set[frozenset[str]]()
    if scope.database is None:  # a database that none of them names
        found.add(frozenset(other.name for other in others if other.database is None))
    for database in databases:
        there = [other for other in others if other.database in (None, database)]
        everywhere = frozenset(other.name for other in there if other.glob == "*")
        some = [other for other in there if other.glob != "*"]
        found |= {everywhere | names for names in _classes(scope.glob, some)}
    return frozenset(found)


def _classes(scope: str, others: Sequence[Watch]) -> Iterator[frozenset[str]]:
    """The sets of those others that include a collection of this scope."""
    literals = [other for other in others if other.collection is not None]
    patterns = [other for other in others if other.collection is None]
    for name in {scope} if "*" not in scope else {other.glob for other in literals}:
        if matches(scope, name):
            yield frozenset(other.name for other in others if matches(other.glob, name))
    if "*" in scope:
        for included in _combinations(scope, [other.glob for other in patterns]):
            yield frozenset(other.name for other, is_in in zip(patterns, included, strict=True) if is_in)


def _combinations(scope: str, globs: Sequence[str]) -> set[tuple[bool, ...]]:
    """Which of these patterns can match a name of `scope` at once: the product of their automata, as far as reached."""
    alphabet = {character for glob in (scope, *globs) for character in glob if character != "*"} | {_OTHER}
    start = tuple(_closed(glob, {0}) for glob in (scope, *globs))
    reached, left, found = {start}, [start], set[tuple[bool, ...]]()
    while left:
        state = left.pop()
        ends = [len(glob) in places for glob, places in zip((scope, *globs), state, strict=True)]
        if ends[0]:
            found.add(tuple(ends[1:]))
        for character in alphabet:
            after = tuple(_step(glob, places, character) for glob, places in zip((scope, *globs), state, strict=True))
            if after[0] and after not in reached:
                reached.add(after)
                left.append(after)
        if len(reached) > MAX_STATES:
            raise ValueError(f"{scope!r} and {len(globs)} other patterns are too many to compare")
    return found


@lru_cache(maxsize=4096)
def _step(glob: str, places: frozenset[int], character: str) -> frozenset[int]:
    """The places in a pattern after this character."""
    after = {at for at in places if at < len(glob) and glob[at] == "*"}
    after |= {at + 1 for at in places if at < len(glob) and glob[at] == character}
    return _closed(glob, after)


def _closed(glob: str, places: Collection[int]) -> frozenset[int]:
    """These places, and those behind each `*`, which may stand for nothing."""
    found = set(places)
    for at in sorted(places):
        while at < len(glob) and glob[at] == "*":
            at += 1
            found.add(at)
    return frozenset(found)


def included(scope: Watch, events: EventBatch) -> Collection[int]:
    """The indices of those events that a stream of this scope would have delivered, too.

    A rename belongs to both names. An event that names nothing is the end of a stream (`invalidate`), which each
    stream has for itself: it counts for every scope. One that is damaged counts for none.
    """
    found = []
    for index in range(len(events)):
        try:
            names = namespaces(events.raw(index))
        except ValueError:
            continue
        if not names or any(_includes(scope, name) for name in names):
            found.append(index)
    return found


def _includes(scope: Watch, name: Namespace) -> bool:
    if scope.database not in (None, name.database):
        return False
    if name.collection is None:  # the database was dropped: streams of single collections get no event
        return scope.collection is None
    return matches(scope.glob, name.collection)


def matches(glob: str, name: str) -> bool:
    """Whether a pattern matches this name."""
    return _expression(glob).fullmatch(name) is not None


@lru_cache(maxsize=4096)
def _expression(glob: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, glob.split("*"))), re.DOTALL)
