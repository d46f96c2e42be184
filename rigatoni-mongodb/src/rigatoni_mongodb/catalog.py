"""Lists the collections of a deployment with their UUIDs, as far as the user may."""

from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar
from uuid import UUID

import attrs
from pymongo.errors import OperationFailure
from rigatoni_core.api.events import Namespace, Timestamp
from rigatoni_core.api.identity import Identity

from rigatoni_mongodb.driver import Driver
from rigatoni_mongodb.error_codes import UNAVAILABLE, is_resumable
from rigatoni_mongodb.scope import Watch

T = TypeVar("T")

MOST_RECORDED = 200
"""Collections of a stream that its checkpoint records with their UUIDs: about 70 bytes each, in every save."""

_INTERNAL = ("admin", "config", "local")
"""The server's own databases; streams do not read them."""


@attrs.frozen
class Collection:
    """A collection as `listCollections` describes it; `uuid` is None if the server does not report it."""

    namespace: Namespace
    uuid: UUID | None
    options: Mapping[str, Any]


@attrs.frozen
class Catalog:
    """The collections of a stream's scope, listed between two operation times of the deployment."""

    collections: tuple[Collection, ...]
    begin: Timestamp
    end: Timestamp

    @classmethod
    def of_record(cls, identity: Identity) -> "Catalog | None":
        """Return the catalog that `recorded_in` put into an identity; None without one."""
        if not identity.listed:
            return None
        names = ((Namespace(*name.split(".", 1)), id_) for name, id_ in identity.listed)
        time = Timestamp(*identity.listed_at)
        return cls(tuple(Collection(name, UUID(id_), {}) for name, id_ in names), time, time)

    def recorded_in(self, identity: Identity) -> Identity:
        """Return the identity with this catalog, or without one if it has more than `MOST_RECORDED` collections."""
        listed = tuple((str(name), str(uuid)) for name, uuid in self.uuids.items())
        time = (self.begin.seconds, self.begin.increment)
        return attrs.evolve(identity, listed=listed if len(listed) <= MOST_RECORDED else (), listed_at=time)

    @property
    def uuids(self) -> dict[Namespace, UUID]:
        """The UUID of each collection that has one."""
        return {each.namespace: each.uuid for each in self.collections if each.uuid is not None}


async def readable(response: Awaitable[T]) -> T | None:
    """Return the response; None if the user lacks the privilege or the server the feature. Raises temporary errors."""
    try:
        return await response
    except OperationFailure as error:
        if is_resumable(error) or error.code in UNAVAILABLE:
            raise
        return None


async def collections_of(
    driver: Driver, database: str, *, name: str | dict[str, str] | None = None, session: Any = None
) -> list[Collection] | None:
    """List the collections of a database, without views and time series.

    Args:
        driver: The connection.
        database: The database's name.
        name: A condition on the collection's name; default: all collections.
        session: The session to use; default: a new one.

    Returns:
        None if the user may not list them. The role `read` may.

    Raises:
        PyMongoError: The server is temporarily unavailable.
    """
    wanted = {"type": "collection"} | ({"name": name} if name else {})
    listing = driver.client[database].list_collections
    cursor = await readable(driver.calls(listing, session=session, filter=wanted))
    documents = await readable(driver.calls(cursor.to_list)) if cursor is not None else None
    return None if documents is None else [_collection(database, each) for each in documents]


async def catalog_of(driver: Driver, watch: Watch) -> Catalog | None:
    """List the collections of a stream's scope, without the server's own.

    Returns:
        None if the user may not list them, or the server does not report its operation time.

    Raises:
        PyMongoError: The server is temporarily unavailable.
    """
    session = driver.client.start_session(causal_consistency=False)
    found: list[Collection] = []
    try:
        begin = await _time(driver, session)  # before: a listing may be older than the time in its reply
        for database in [watch.database] if watch.database else await _databases(driver):
            listed = await collections_of(driver, database, name=watch.collections, session=session)
            if listed is None:
                return None
            found += listed
        end = await _time(driver, session)
    finally:
        await driver.calls(session.end_session)
    if begin is None or end is None:
        return None
    own = tuple(each for each in found if not str(each.namespace.collection).startswith("system."))
    return Catalog(own, begin, end)


async def _time(driver: Driver, session: Any) -> Timestamp | None:
    """Return the deployment's operation time."""
    await driver.calls(driver.client.admin.command, "ping", session=session)
    time = session.operation_time
    return Timestamp(time.time, time.inc) if time is not None else None


async def _databases(driver: Driver) -> list[str]:
    names = await readable(driver.calls(driver.client.list_database_names)) or []
    return [name for name in names if name not in _INTERNAL]


def _collection(database: str, description: Mapping[str, Any]) -> Collection:
    value = description.get("info", {}).get("uuid")  # a Binary, or another type if the client is configured so
    uuid = value if isinstance(value, UUID) or value is None else UUID(bytes=bytes(value))
    return Collection(Namespace(database, description["name"]), uuid, description.get("options", {}))
