"""Where the paths of an option lead: a state for each place in a document, found by names in raw BSON."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final

import attrs

from rigatoni_transforms.paths import ANY, Path

Element = tuple[int, bytes]
"""The type and the raw bytes of a value."""

Spelled = tuple[str, int, bytes]
"""A rule as `rigatoni_native.rewriter` takes it: a name, a number and bytes."""


@attrs.frozen(eq=False)
class Rule:
    """What is done with the values that a path names.

    Attributes:
        apply: Returns the new value, the given one to keep it, or None to remove it.
        constant: What `apply` returns for every value, if that is always the same.
        whole: Whether it replaces documents and arrays as a whole, so that names inside them are hidden, too.
        spelled: The rule in the notation of the accelerator, which may contain a key; None if it has no such rule.
    """

    apply: Callable[[int, bytes], Element | None]
    whole: bool = True
    constant: Element | None = None
    spelled: Spelled | None = attrs.field(default=None, repr=False)


KEEP: Final = Rule(lambda kind, value: (kind, value), whole=False, spelled=("keep", 0, b""))
"""Keeps the value."""

REMOVE: Final = Rule(lambda kind, value: None, spelled=("remove", 0, b""))
"""Removes the value, and every trace of its name."""


@attrs.define(eq=False)
class _Node:
    """A step of the paths, in the tree of all of them."""

    rank: tuple[bool, ...] = ()
    """Of each step up to here, whether it is `*`: the exact path comes first."""
    rule: Rule | None = None
    names: dict[bytes, "_Node"] = attrs.field(factory=dict)
    star: "_Node | None" = None

    def child(self, step: object) -> "_Node":
        if step is ANY:
            self.star = self.star or _Node((*self.rank, True))
            return self.star
        return self.names.setdefault(str(step).encode(), _Node((*self.rank, False)))


class State:
    """A place in a document, by what the paths can still match from there.

    `rule` applies to the value at this place. The states of the fields of a document are in `fields`, by their raw
    names, or else `other`; of the elements of an array in `elements`, by their raw index, or else `any_element`. None
    is a place that no path leads to.

    Arrays are transparent, as in MongoDB's queries: `lines.price` is the price in each document of the array `lines`.
    """

    def __init__(self, nodes: tuple[_Node, ...], known: dict[frozenset[_Node], "State"]) -> None:
        self._nodes = nodes
        self._known = known
        ruled = min((node for node in nodes if node.rule is not None), key=lambda node: node.rank, default=None)
        self.rule = ruled.rule if ruled is not None else None

    @cached_property
    def other(self) -> "State | None":
        """The state of every field without one of its own."""
        return self._of([node.star for node in self._nodes if node.star])

    @cached_property
    def fields(self) -> Mapping[bytes, "State | None"]:
        """The states of the fields that paths name."""
        return {name: self.field_named(name) for node in self._nodes for name in node.names}

    @cached_property
    def any_element(self) -> "State | None":
        """The state of every element without one of its own."""
        return self._of([*self._nodes, *(node.star for node in self._nodes if node.star)])

    @cached_property
    def elements(self) -> Mapping[bytes, "State | None"]:
        """The states of the elements that paths name."""
        return {name: self.element_at(name) for node in self._nodes for name in node.names if name.isdigit()}

    def field_named(self, name: bytes) -> "State | None":
        """Return the state of a field."""
        return self._of(self._below(name))

    def element_at(self, index: bytes) -> "State | None":
        """Return the state of an element."""
        return self._of([*self._nodes, *self._below(index)])

    def either(self, name: bytes) -> "State | None":
        """Return the state of a step of which it is not known whether it is a field or an element."""
        return self.element_at(name) if name.isdigit() else self.field_named(name)

    def joined(self, other: "State | None") -> "State":
        """Return the state of a place that may be either of the two."""
        joined = self if other is None else self._of([*self._nodes, *other._nodes])
        assert joined is not None
        return joined

    def _below(self, name: bytes) -> list[_Node]:
        found = [node.names.get(name) for node in self._nodes] + [node.star for node in self._nodes]
        return [node for node in found if node is not None]

    def _of(self, nodes: Iterable[_Node]) -> "State | None":
        key = frozenset(nodes)
        if key and key not in self._known:
            self._known[key] = State(tuple(key), self._known)
        return self._known.get(key)


def start_of(rules: Sequence[tuple[Path, Rule]]) -> State:
    """Return the state at the top of a document."""
    top = _Node()
    for path, rule in rules:
        node = top
        for step in path.steps:
            node = node.child(step)
        node.rule = rule
    return State((top,), {})
