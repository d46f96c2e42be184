"""The source's driver: PyMongo's async client by default, or a client that the program owns, including Motor's."""

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import OperationFailure
from rigatoni_core.api.executor import DaemonExecutor

from rigatoni_mongodb.client_limits import Turns

Client = AsyncMongoClient[Any] | MongoClient[Any]


def client_of(client: Any) -> Client:
    """Return PyMongo's client, async or not, or the blocking one inside Motor's.

    Raises TypeError for anything else.
    """
    drivers = (AsyncMongoClient, MongoClient)  # getattr on them returns a database of any name
    inner = client if isinstance(client, drivers) else getattr(client, "delegate", None)
    if not isinstance(inner, drivers):
        raise TypeError(f"{type(client).__name__} is not a client of PyMongo or Motor")
    return inner


def hosts_of_client(client: Client) -> str:
    """Return the hosts of a client's deployment as in a URI."""
    servers = client.topology_description.server_descriptions()
    return ",".join(f"{host}:{port}" if port else host for host, port in servers)


class Calls:
    """Calls methods of the driver's objects: awaits them, or runs blocking ones on a separate thread.

    A blocking call continues after its cancellation; the next call waits for its end. Each call takes a turn, so that
    none starves in a small pool of connections.
    """

    def __init__(self, turns: Turns, *, blocking: bool) -> None:
        self._turns = turns
        self._lane = DaemonExecutor("rigatoni-mongodb") if blocking else None

    async def __call__(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a method of the driver, in order, and return its result."""
        async with self._turns:
            if self._lane is None:
                return await method(*args, **kwargs)
            return await self._lane.run(partial(method, *args, **kwargs))

    def close(self) -> None:
        """Stop the thread of a blocking client, if there is one."""
        if self._lane is not None:
            self._lane.close()


@attrs.define
class Driver:
    """A client, how to call it, and whether to close it."""

    client: Client
    is_ours: bool
    turns: Turns = attrs.field(factory=Turns)
    calls: Calls = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.calls = self.new_calls()

    def new_calls(self) -> Calls:
        """Return separate calls for long waits, such as those of a cursor, which block no others."""
        return Calls(self.turns, blocking=isinstance(self.client, MongoClient))

    async def command(self, name: str) -> dict[str, Any]:
        """Return the response to a command on the database `admin`. Raises PyMongo's own errors."""
        response: dict[str, Any] = await self.calls(self.client.admin.command, name)
        return response

    async def version(self) -> str:
        """Return the server's version, such as "5.0.7"; empty if it is not reported. Raises PyMongo's own errors."""
        try:
            return str((await self.command("buildInfo")).get("version", ""))
        except OperationFailure:
            return ""

    async def operation_time(self) -> Any:
        """Return the deployment's operation time as a BSON timestamp, or None. Raises PyMongo's own errors."""
        session = self.client.start_session(causal_consistency=False)
        try:
            await self.calls(self.client.admin.command, "ping", session=session)
            return session.operation_time
        finally:
            await self.calls(session.end_session)

    async def close(self) -> None:
        """Close the client unless the program owns it."""
        if self.is_ours:
            await self.calls(self.client.close)
        self.calls.close()
