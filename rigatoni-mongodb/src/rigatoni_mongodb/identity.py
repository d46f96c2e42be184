"""Identifies a deployment, as far as the privileges of the connection's user allow.

The role `read` may list the collections of a database with their UUIDs (MongoDB manual, "Built-In Roles"). The id of a
replica set needs `replSetGetConfig`, that of a sharded cluster `find` on `config.version`; both are used if readable.
The name of a replica set proves nothing, and the key that signs cluster times is replaced every 90 days.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from rigatoni_core.api.identity import Identity

from rigatoni_mongodb.catalog import Catalog, Collection, collections_of, readable
from rigatoni_mongodb.driver import Driver
from rigatoni_mongodb.scope import Watch

_OWN = "admin"
"""The database whose collections are as old as the deployment; a role for all databases may list them."""

_OF_MEMBERS = ("local", "config")
"""Databases that belong to each member or cluster; few users may list them."""

_PROFILE = "system.profile"
"""A collection that belongs to each member."""

MAX_DATABASES = 50
"""The number of databases listed for a stream of the whole deployment."""


@attrs.define
class IdentityTracker:
    """The deployment of a driver, as listed by `behind` and since."""

    driver: Driver
    name: str
    id: str = ""
    _collections: dict[str, tuple[str, ...]] = attrs.field(factory=dict, init=False)  # by database, where listed
    _former: dict[str, None] = attrs.field(factory=dict, init=False)  # listed before, since dropped
    _catalogs: dict[Watch, Catalog] = attrs.field(factory=dict, init=False)  # compared last; of streams of several

    @classmethod
    async def behind(cls, driver: Driver, hello: Mapping[str, Any], watches: Sequence[Watch]) -> "IdentityTracker":
        """Identify the deployment that sent this `hello`. Raises PyMongo's errors, except for missing privileges."""
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
        """List the collections of these streams' databases. Dropped ones remain known as former collections."""
        databases = {watch.database for watch in watches}
        if None in databases:
            names = await readable(self.driver.calls(self.driver.client.list_database_names)) or []
            databases |= set(sorted(names)[:MAX_DATABASES])
        for database in sorted(databases - {None, *_OF_MEMBERS}, key=str):
            assert database is not None
            await self._list(database)

    def recall(self, watch: Watch, recorded: Identity) -> None:
        """Take the catalog that was compared before this process started, unless a later one is known."""
        if watch not in self._catalogs and (catalog := Catalog.of_record(recorded)) is not None:
            self._catalogs[watch] = catalog

    def compared(self, watch: Watch) -> Catalog | None:
        """Return the catalog of a stream that was compared last; None for a stream of one collection."""
        return self._catalogs.get(watch)

    def remember(self, watch: Watch, catalog: Catalog) -> None:
        """Take a catalog whose differences were reported. A stream of one collection shows them by its events."""
        if watch.collection is None:
            self._catalogs[watch] = catalog

    def identity(self, watch: Watch) -> Identity:
        """Return the identity of this stream's deployment, the longest-lived collections first."""
        databases = (watch.database,) if watch.database else sorted(self._collections)
        listed = [self._collections[name] for name in dict.fromkeys((_OWN, *databases)) if name in self._collections]
        collections = tuple(id_ for ids in listed for id_ in ids) if listed else None
        identity = Identity(self.name, self.id, collections, tuple(self._former))
        return catalog.recorded_in(identity) if (catalog := self._catalogs.get(watch)) else identity

    async def _list(self, database: str) -> None:
        collections = await collections_of(self.driver, database)
        if collections is not None:
            found = tuple(sorted(str(each.uuid) for each in collections if _lasts(each)))
            gone = set(self._collections.get(database, ())).difference(found)
            self._former |= dict.fromkeys(gone)
            self._collections[database] = found


def _lasts(collection: Collection) -> bool:
    return collection.namespace.collection != _PROFILE and collection.uuid is not None
