"""The driver behind the source: PyMongo's async client by default, or a client that the program owns, Motor's too."""

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import OperationFailure
from rigatoni_core.api.executor import DaemonExecutor

from rigatoni_mongodb.client_limits import Turns

Client = AsyncMongoClient[Any] | MongoClient[Any]


def client_of(given: Any) -> Client:
    """The client that a program owns: PyMongo's, async or not, or the one that blocks inside Motor's.

    Raises TypeError for anything else.
    """
    drivers = (AsyncMongoClient, MongoClient)  # they answer to every name with a database of that name
    inner = given if isinstance(given, drivers) else getattr(given, "delegate", None)
    if not isinstance(inner, drivers):
        raise TypeError(f"{type(given).__name__} is no client of PyMongo or Motor")
    return inner


def hosts_of_client(client: Client) -> str:
    """Where a client looks for its deployment, as a URI says it."""
    servers = client.topology_description.server_descriptions()
    return ",".join(f"{host}:{port}" if port else host for host, port in servers)


class Calls:
    """How methods of a driver's objects are called: awaited, or on a thread of their own where they block.

    So all else is written once. A call that blocks goes on after it was cancelled; the next one waits for its end.
    Each call takes a turn, so that none starves where the pool of connections is small.
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
        """Stop the threads of a synchronous client."""
        if self._lane is not None:
            self._lane.close()


@attrs.define
class Driver:
    """A client, how to call it, and whether it is ours to close."""

    client: Client
    is_ours: bool
    turns: Turns = attrs.field(factory=Turns)
    calls: Calls = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.calls = self.new_calls()

    def new_calls(self) -> Calls:
        """For what may wait long, such as a cursor: calls that hold up nothing else."""
        return Calls(self.turns, blocking=isinstance(self.client, MongoClient))

    async def command(self, name: str) -> dict[str, Any]:
        """The answer of a command of the database `admin`. Raises PyMongo's own errors."""
        answer: dict[str, Any] = await self.calls(self.client.admin.command, name)
        return answer

    async def version(self) -> str:
        """The server's version, such as "5.0.7"; empty if it does not tell. Raises PyMongo's own errors."""
        try:
            return str((await self.command("buildInfo")).get("version", ""))
        except OperationFailure:
            return ""

    async def operation_time(self) -> Any:
        """The deployment's operation time as it says it, or None. Raises PyMongo's own errors."""
        session = self.client.start_session(causal_consistency=False)
        try:
            await self.calls(self.client.admin.command, "ping", session=session)
            return session.operation_time
        finally:
            await self.calls(session.end_session)

    async def close(self) -> None:
        """Close the client, if it is ours."""
        if self.is_ours:
            await self.calls(self.client.close)
        self.calls.close()
