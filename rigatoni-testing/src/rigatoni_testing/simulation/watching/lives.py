"""One run of a pipeline, drawn at random, and the process that lives and dies in it."""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs

T = TypeVar("T")


class DiedError(Exception):
    """The process is dead: nothing that it asks for happens any more."""


SCOPES = ("a", "b", "c", "ab", "bc", "abc", "abcd")
"""What one stream may watch: collections, patterns, a database."""


@attrs.frozen
class Life:
    """One run: what it watches, what happens before it, and how it ends.

    Attributes:
        watch: The streams, each named by the letters of its collections.
        transactions: What is written before the run: the collections of the events of one cluster time each.
        dies_at: The request at which the process dies; None if it ends when it has caught up.
        dies_writing: Whether it dies at the first put of events from that request on, not at the request.
        took_effect: Whether the last request of a process that dies takes effect at once; else a put may come later.
        lags: Whether saves fail after the first one, so that the checkpoint lags behind.
    """

    watch: tuple[str, ...]
    transactions: tuple[str, ...] = ()
    dies_at: int | None = None
    dies_writing: bool = False
    took_effect: bool = True
    lags: bool = False


def random_lives(seed: int) -> Sequence[Life]:
    """A few lives; the same seed always gives the same."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    return [_random_life(chance) for _ in range(chance.randrange(2, 6))]


def _random_life(chance: random.Random) -> Life:
    watch, free = list[str](), set("abcd")
    for scope in chance.sample(SCOPES, len(SCOPES)):  # the streams of one pipeline do not overlap
        if set(scope) <= free and (not watch or chance.random() < 0.5):
            watch.append(scope)
            free -= set(scope)
    sizes = [chance.choice([1, 1, 2, 3]) for _ in range(chance.randrange(6))]
    return Life(
        tuple(watch),
        tuple("".join(chance.choices("abcd", k=size)) for size in sizes),
        dies_at=chance.choice([None, chance.randrange(1, 120)]),
        dies_writing=chance.random() < 0.3,
        took_effect=chance.random() < 0.5,
        lags=chance.random() < 0.4,
    )


@attrs.define
class Process:
    """One run's process, which may die at one of its requests."""

    life: Life
    requests: int = 0
    dead: bool = False

    def request(self, effect: Callable[[], T], late: Callable[[Callable[[], T]], None] | None = None) -> T:
        """Do what is asked for, unless the process is dead. `late` notes the effect of a put that will come later."""
        self.requests += 1
        if self.dead:
            raise DiedError
        life = self.life
        if life.dies_at is None or self.requests < life.dies_at or (life.dies_writing and late is None):
            return effect()
        self.dead = True
        if life.took_effect:
            effect()
        elif late:
            late(effect)
        raise DiedError
