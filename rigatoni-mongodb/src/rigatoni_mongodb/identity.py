"""What a deployment is recognized by, as far as the user of the connection may see it.

A plain reader may list the collections of a database with their UUIDs (MongoDB manual, role `read`). The id of a
replica set needs `replSetGetConfig`, that of a sharded cluster needs `find` on `config.version`: both are taken where
the user may read them. The name of a replica set proves nothing, and the key that signs cluster times is replaced every
90 days.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from rigatoni_core.api.events import Identity

from rigatoni_mongodb.catalog import Collection, collections_of, readable
from rigatoni_mongodb.driver import Driver
from rigatoni_mongodb.scope import Watch

_OWN = "admin"
"""Its collections are as old as the deployment; a role for all databases lists them."""

_OF_MEMBERS = ("local", "config")
"""Databases whose collections each member or cluster has for itself; few users may list them."""

_PROFILE = "system.profile"
"""A collection that each member has for itself."""

MAX_DATABASES = 50
"""Of a deployment stream, so many databases are looked through."""


@attrs.define
class IdentityTracker:
    """The deployment behind a driver, as it was seen by `behind` and since."""

    driver: Driver
    name: str
    id: str = ""
    _collections: dict[str, tuple[str, ...]] = attrs.field(factory=dict, init=False)  # by database, where listed
    _former: dict[str, None] = attrs.field(factory=dict, init=False)  # seen before, and gone

    @classmethod
    async def behind(cls, driver: Driver, hello: Mapping[str, Any], watches: Sequence[Watch]) -> "IdentityTracker":
        """Look at the deployment that sent this reply to `hello`. Raises PyMongo's errors, but no missing rights."""
        name = hello.get("setName")
        if name is not None:
            config = await readable(driver.command("replSetGetConfig")) or {}
            kind, id_ = "replica-set", config.get("config", {}).get("settings", {}).get("replicaSetId")
        else:
            version = await readable(driver.calls(driver.client["config"]["version"].find_one)) or {}
            kind, id_ = "cluster", version.get("clusterId")
        tracker = cls(driver, str(name or "sharded"), f"{kind}:{id_}" if id_ else "")
        await tracker.look(*watches)
        await tracker._list(_OWN)
        return tracker

    async def look(self, *watches: Watch) -> None:
        """List the collections around these streams. Those that were seen before stay known as former ones."""
        databases = {watch.database for watch in watches}
        if None in databases:
            names = await readable(self.driver.calls(self.driver.client.list_database_names)) or []
            databases |= set(sorted(names)[:MAX_DATABASES])
        for database in sorted(databases - {None, *_OF_MEMBERS}, key=str):
            assert database is not None
            await self._list(database)

    def identity(self, watch: Watch) -> Identity:
        """What to recognize the deployment of this stream by, the most lasting collections first."""
        databases = (watch.database,) if watch.database else sorted(self._collections)
        listed = [self._collections[name] for name in dict.fromkeys((_OWN, *databases)) if name in self._collections]
        collections = tuple(id_ for ids in listed for id_ in ids) if listed else None
        return Identity(self.name, self.id, collections, tuple(self._former))

    async def _list(self, database: str) -> None:
        collections = await collections_of(self.driver, database)
        if collections is not None:
            found = tuple(sorted(str(each.uuid) for each in collections if _lasts(each)))
            gone = set(self._collections.get(database, ())).difference(found)
            self._former |= dict.fromkeys(gone)
            self._collections[database] = found


def _lasts(collection: Collection) -> bool:
    return collection.namespace.collection != _PROFILE and collection.uuid is not None
