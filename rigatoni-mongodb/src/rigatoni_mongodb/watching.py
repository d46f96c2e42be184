"""What is watched: a collection, a database or the deployment."""

from collections.abc import Sequence
from typing import Any

import attrs


@attrs.frozen
class Watch:
    """One stream's scope. `database` is None for the deployment, `collection` for a database or the deployment."""

    name: str
    database: str | None
    collection: str | None

    @classmethod
    def parse(cls, name: str) -> "Watch":
        """`shop.orders`, `shop.*` or `*`. Raises ValueError that says what is wrong with anything else."""
        if name == "*":
            return cls(name, None, None)
        database, dot, collection = name.partition(".")
        if not dot or not database or not collection:
            raise ValueError(f'watch: {name!r} is no namespace: write "database.collection", "database.*" or "*"')
        if any(character in '/\\ "$*<>:|?\0' for character in database):
            raise ValueError(
                f"watch: {name!r}: a database's name has none of the characters / \\ space \" $ * < > : | ?"
            )
        if collection == "*":
            return cls(name, database, None)
        if "*" in collection:
            raise ValueError(
                f'watch: {name!r}: patterns are not supported: watch "{database}.*" and select with '
                'pipeline = [{ "$match" = { "ns.coll" = { "$regex" = "..." } } }]'
            )
        return cls(name, database, collection)

    def overlaps(self, other: "Watch") -> bool:
        """Whether some event would belong to both."""
        if self.database is None or other.database is None:
            return True
        if self.database != other.database:
            return False
        return self.collection is None or other.collection is None or self.collection == other.collection

    @property
    def command_database(self) -> str:
        """Where the aggregate command is run (change-streams specification, "watch" helpers)."""
        return self.database or "admin"

    @property
    def command_target(self) -> str | int:
        """What the aggregate command is run on: a collection, or 1 for all of them."""
        return self.collection or 1

    @property
    def resource(self) -> dict[str, Any]:
        """The resource document of the privilege that is needed (MongoDB manual, "Change Streams", access control)."""
        return {"db": self.database or "", "collection": self.collection or ""}


def parse_watches(names: Sequence[str]) -> list[Watch]:
    """All watches of a pipeline. Raises ValueError where there is none, or where two overlap."""
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
