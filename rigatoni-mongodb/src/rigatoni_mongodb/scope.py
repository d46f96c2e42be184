"""The scope of a stream: a collection, a pattern of collections, a database or the deployment."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import attrs
from rigatoni_core.api.events import Namespace

_INTERNAL = ("admin", "config", "local")
"""Databases without change streams (MongoDB manual, "Change Streams"), like collections named `system.…`."""


@attrs.frozen
class Watch:
    """One stream's scope.

    `database` is None for the deployment, `collection` for anything but a single collection. `pattern` matches names
    of collections, with `*` for any characters including dots; the server filters such a database stream.
    """

    name: str
    database: str | None
    collection: str | None
    pattern: str | None = None

    @classmethod
    def parse(cls, name: str) -> "Watch":
        """Parse `shop.orders`, `shop.ord_*`, `shop.*` or `*`. Raises ValueError for other names."""
        if name == "*":
            return cls(name, None, None)
        database, dot, collection = name.partition(".")
        if not dot or not database or not collection:
            raise ValueError(f'watch: {name!r} is not a namespace: write "database.collection", "database.*" or "*"')
        if any(character in '/\\ "$*<>:|?\0' for character in database):
            raise ValueError(f'watch: {name!r}: a database name must not contain / \\ space " $ * < > : | ?')
        if database in _INTERNAL:
            raise ValueError(f"watch: {name!r}: the database {database} belongs to MongoDB itself: watch another one")
        if collection.startswith("system."):
            raise ValueError(f'watch: {name!r} belongs to MongoDB itself: watch another collection, or "{database}.*"')
        if collection == "*":
            return cls(name, database, None)
        if "*" in collection:
            return cls(name, database, None, collection)
        return cls(name, database, collection)

    def overlaps(self, other: "Watch") -> bool:
        """Return whether an event could belong to both."""
        if self.database is None or other.database is None:
            return True
        if self.database != other.database:
            return False
        return _meet(self.glob, other.glob)

    def includes(self, namespace: Namespace | None) -> bool:
        """Return whether events of this collection belong to the scope."""
        if namespace is None or namespace.collection is None:
            return False
        if self.database is None:
            return True
        if self.database != namespace.database or self.collections is None:
            return self.database == namespace.database
        if isinstance(self.collections, str):
            return self.collections == namespace.collection
        return re.match(self.collections["$regex"], namespace.collection) is not None

    @property
    def collections(self) -> str | dict[str, str] | None:
        """The collections, as a condition on their name; None for all. A name may contain any character but NUL.

        The pattern ends with a lookahead, since `$` also matches before a final line feed.
        """
        if self.pattern is None:
            return self.collection
        return {"$regex": "^" + r"[\s\S]*".join(map(re.escape, self.pattern.split("*"))) + r"(?![\s\S])"}

    @property
    def stages(self) -> list[dict[str, Any]]:
        """The stages with which the server selects the events of this scope.

        A pattern also selects renames to a matching name, the drop of the database, which names no collection, and the
        invalidate that may follow.
        """
        if self.pattern is None:
            return []
        named = [{"ns.coll": self.collections}, {"to.coll": self.collections}]
        return [{"$match": {"$or": [*named, {"operationType": {"$in": ["dropDatabase", "invalidate"]}}]}}]

    @property
    def glob(self) -> str:
        """The `pattern` of any scope; a single collection's name has no `*`, see `parse`."""
        return self.pattern or self.collection or "*"

    @property
    def command_database(self) -> str:
        """The database of the aggregate command (change-streams specification, "watch" helpers)."""
        return self.database or "admin"

    @property
    def command_target(self) -> str | int:
        """The target of the aggregate command: a collection, or 1 for all of them."""
        return self.collection or 1

    @property
    def resource(self) -> dict[str, Any]:
        """The resource document of the required privilege (MongoDB manual, "Change Streams", access control)."""
        return {"db": self.database or "", "collection": self.collection or ""}


def parse_watches(names: Sequence[str]) -> list[Watch]:
    """Parse all watches of a pipeline. Raises ValueError if there is none, or if two overlap."""
    if not names:
        raise ValueError("watch: name at least one collection, database or the deployment")
    watches: list[Watch] = []
    for name in names:
        watch = Watch.parse(name)
        for other in watches:
            if watch.overlaps(other):
                raise ValueError(f"watch: {other.name!r} and {watch.name!r} overlap: events would be delivered twice")
        watches.append(watch)
    return watches


@lru_cache(maxsize=4096)
def _meet(one: str, other: str) -> bool:
    """Return whether some name matches both patterns, in which `*` stands for any characters."""
    if not one or not other:
        return not (one or other).strip("*")
    if one[0] == "*":
        return _meet(one[1:], other) or _meet(one, other[1:])
    if other[0] == "*":
        return _meet(one, other[1:]) or _meet(one[1:], other)
    return one[0] == other[0] and _meet(one[1:], other[1:])
