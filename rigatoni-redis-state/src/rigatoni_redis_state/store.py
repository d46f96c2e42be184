"""The state store `redis`: checkpoints, and leases, so that several instances can share the streams of a pipeline."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from types import TracebackType
from typing import Annotated, Any, Self

import attrs
from rigatoni_core.api.contracts import (
    ConfigLinter,
    Diagnosable,
    Finding,
    Lease,
    LeaseKeeper,
    Membership,
    StateInspector,
    StateStore,
    StreamLister,
)
from rigatoni_core.api.errors import CorruptCheckpointError, LeaseLostError
from rigatoni_core.api.events import Checkpoint, Position, Stream
from rigatoni_core.api.options import Secret
from rigatoni_core.api.records import StateRecord, dump_checkpoint, dump_cleared, listed_stream, load_record
from rigatoni_core.api.settings import Settings

from rigatoni_redis_state import scripts
from rigatoni_redis_state.advice import advice
from rigatoni_redis_state.connection import Client, Endpoint
from rigatoni_redis_state.diagnosis import look
from rigatoni_redis_state.errors import RedisReplicationError, RedisStateError, translated
from rigatoni_redis_state.scripts import Keys

REPLICATION_TIMEOUT_MS = 2000
"""The limit for `wait_replicas`, in milliseconds. It is below the socket timeout."""


def _check_prefix(instance: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if "{" in value or "}" in value or not value.isprintable():
        raise ValueError("prefix must not contain braces (they mark hash tags of a cluster) or control characters")


def _not_negative(instance: object, attribute: "attrs.Attribute[Any]", value: int) -> None:
    if value < 0:
        raise ValueError(f"{attribute.name} must not be negative: {value}")


@attrs.define(kw_only=True, eq=False)
class RedisStateStore(StateStore, StreamLister, LeaseKeeper, Membership, StateInspector, ConfigLinter, Diagnosable):
    """Checkpoints and leases in Redis 6.2 and newer, or Valkey. Only leases expire.

    A save is rejected once a later lease was granted, even if the new owner has not saved yet. The server decides how
    durable a save is: see `wait_replicas`, and the page about Redis for what a failover may undo.
    """

    url: Annotated[
        Secret,
        "Address of Redis: redis://user:password@host:6379/0, rediss:// for TLS, unix://; redis-py's query options",
    ]
    sentinels: Annotated[
        Secret | None,
        "Sentinels that report the master: redis://host:26379,host:26379; the host in url names the service",
    ] = None
    cluster: Annotated[bool, "Whether url names nodes of a Redis Cluster: redis://host:6379,host:6379"] = False
    prefix: Annotated[str, "Prefix of every key"] = attrs.field(default="rigatoni:", validator=_check_prefix)
    wait_replicas: Annotated[int, "Replicas that must confirm a save or a lease; not available with cluster"] = (
        attrs.field(default=0, validator=_not_negative)
    )

    _endpoint: Endpoint = attrs.field(init=False, repr=False)
    _client: Client | None = attrs.field(init=False, default=None, repr=False)
    _stack: AsyncExitStack = attrs.field(init=False, factory=AsyncExitStack, repr=False)
    _advice: tuple[str, ...] = attrs.field(init=False, default=(), repr=False)
    _connections: asyncio.Semaphore = attrs.field(init=False, repr=False)
    _corrupt: set[str] = attrs.field(init=False, factory=set, repr=False)

    def __attrs_post_init__(self) -> None:
        self._endpoint = Endpoint(self.url, self.sentinels, self.cluster)
        self._connections = asyncio.Semaphore(self._endpoint.max_connections)
        if self.cluster and self.wait_replicas:
            raise ValueError("wait_replicas and cluster exclude each other: set min-replicas-to-write on the servers")

    async def __aenter__(self) -> Self:
        """Connect, and check on a separate key that every necessary command is permitted."""
        await self._open()
        try:
            await self._run(scripts.PROBE, [f"{self.prefix}probe"], [], "use the store")
            await self._check_settings()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Connect without writing anything. See `StateInspector`."""
        await self._open()
        try:
            await self._check_settings()
            yield
        finally:
            await self._close()

    async def holder(self, stream: Stream) -> str | None:
        """Return the owner of the stream's lease. See `StateInspector`."""
        async with self._request(f"read the lease of {stream}") as client:
            held: Any = await client.get(self._keys(stream).lease)
        return held.decode().partition(" ")[2] if held else None

    def advice(self, settings: Settings) -> tuple[str, ...]:
        """Warn about server settings that put checkpoints at risk, once the store is entered. See `ConfigLinter`."""
        return self._advice

    def checks(
        self, settings: Settings, positions: Mapping[Stream, Position | None]
    ) -> Mapping[str, Callable[[], Awaitable[Sequence[Finding]]]]:
        """Return a check of the servers: memory, disk and replicas. See `Diagnosable`."""

        async def servers() -> Sequence[Finding]:
            async with self._request("read the server's state") as client:
                return await look(client, self.wait_replicas)

        return {"servers": servers}

    # --- checkpoints

    async def save_resume_token(self, stream: Stream, checkpoint: Checkpoint) -> None:
        """Replace the stream's record. See `StateStore`."""
        await self._replace(stream, checkpoint.fencing_token, dump_checkpoint(stream, checkpoint), "save")

    async def load_resume_token(self, stream: Stream) -> Checkpoint | None:
        """Return the stream's checkpoint. See `StateStore`."""
        record = await self._record(stream)
        return record.checkpoint if record else None

    async def clear_resume_token(self, stream: Stream, *, fencing_token: int = 0) -> None:
        """Replace the stream's record by one without a position. See `StateStore`."""
        with suppress(CorruptCheckpointError):  # _replace keeps a copy of a record that is known to be corrupt
            await self._record(stream)
        await self._replace(stream, fencing_token, dump_cleared(stream, fencing_token), "clear")

    async def cleared_under(self, stream: Stream) -> int | None:
        """Return the fencing token of a record without a position. See `StateStore`."""
        record = await self._record(stream)
        return record.fencing_token if record and record.checkpoint is None else None

    async def streams(self, pipeline: str | None = None) -> Sequence[Stream]:
        """Return the streams of all records, on every node of a cluster. See `StreamLister`."""
        pattern, found = scripts.checkpoints(self.prefix, pipeline), set[str]()
        async with self._request("list the checkpoints") as client:
            async for key in client.scan_iter(match=pattern, count=1000):
                found.add(key.decode())  # SCAN may return a key more than once
        listed = await asyncio.gather(*map(self._listed, sorted(found)))
        return sorted(stream for stream in listed if stream)

    async def _listed(self, key: str) -> Stream | None:
        async with self._request("list the checkpoints") as client:
            content: Any = await client.get(key)
        if content is None:  # removed since the listing
            return None
        return listed_stream(scripts.stream_key(self.prefix, key), content, f"the key {key}")

    async def _record(self, stream: Stream) -> StateRecord | None:
        key = self._keys(stream).checkpoint
        async with self._request(f"load the checkpoint of {stream}") as client:
            content: Any = await client.get(key)
        self._corrupt.discard(stream.key)
        if content is None:
            return None
        try:
            return load_record(stream, content, f"the key {key}")
        except CorruptCheckpointError:
            self._corrupt.add(stream.key)
            raise

    async def _replace(self, stream: Stream, fencing_token: int, record: bytes, verb: str) -> None:
        keys = self._keys(stream)
        fence = await self._run(
            scripts.SAVE,
            [keys.checkpoint, keys.fence, keys.lease, keys.corrupt],
            [fencing_token, record, int(stream.key in self._corrupt)],
            f"{verb} the checkpoint of {stream}",
            replicated=True,
        )
        if fence is not None:
            raise LeaseLostError(f"{stream} has another owner: its fencing token is {fence}, ours is {fencing_token}")
        self._corrupt.discard(stream.key)

    # --- leases

    async def acquire(self, stream: Stream, *, owner: str, ttl: float) -> Lease | None:
        """Return the lease, or None while another owner holds it. See `LeaseKeeper`."""
        keys, deadline = self._keys(stream), _now() + ttl
        token = await self._run(
            scripts.ACQUIRE,
            [keys.lease, keys.fence, keys.wanted, keys.checkpoint],
            [owner, _ms(ttl)],
            f"acquire the lease of {stream}",
            replicated=True,
        )
        return Lease(stream, owner, token, deadline) if token else None

    async def renew(self, lease: Lease, *, ttl: float) -> Lease:
        """Return the lease with a later deadline. See `LeaseKeeper`."""
        keys, deadline = self._keys(lease.stream), _now() + ttl
        what, arguments = f"renew the lease of {lease.stream}", [_text(lease), _ms(ttl), lease.fencing_token]
        if not await self._run(scripts.RENEW, [keys.lease, keys.fence], arguments, what):
            raise LeaseLostError(f"{lease.owner} no longer holds the lease of {lease.stream}")
        return attrs.evolve(lease, deadline=deadline)

    async def release(self, lease: Lease) -> None:
        """Release the lease. See `LeaseKeeper`."""
        key = self._keys(lease.stream).lease
        await self._run(scripts.RELEASE, [key], [_text(lease)], f"release the lease of {lease.stream}")

    async def heartbeat(self, pipeline: str, *, owner: str, ttl: float) -> int:
        """Return the number of running instances of the pipeline. See `Membership`."""
        key = scripts.instances(self.prefix, pipeline)
        found = await self._run(
            scripts.PRESENT, [key], [owner, round(ttl * 1000)], f"count the instances of {pipeline}"
        )
        return int(found)

    async def request_handover(self, stream: Stream, *, ttl: float) -> None:
        """Record that an instance waits for the stream. See `Membership`."""
        async with self._request(f"request the handover of {stream}") as client:
            await client.set(self._keys(stream).wanted, 1, px=_ms(ttl))

    async def handover_requested(self, stream: Stream) -> bool:
        """Return whether an instance waits for the stream. See `Membership`."""
        async with self._request(f"check for requests of {stream}") as client:
            return await client.get(self._keys(stream).wanted) is not None

    # --- the connection

    def _keys(self, stream: Stream) -> Keys:
        return Keys.of(self.prefix, stream)

    @asynccontextmanager
    async def _request(self, what: str) -> AsyncIterator[Client]:
        """Yield the client once a connection is free, and translate redis-py's exceptions.

        `what` is the operation, as a phrase that follows "cannot".
        """
        if self._client is None:
            raise RedisStateError(f"cannot {what}: the store is not entered", remedy="Use it in an `async with` block.")
        async with self._connections:
            with translated(what, str(self._endpoint)):
                yield self._client

    async def _check_settings(self) -> None:
        async with self._request("read the server's settings") as client:
            self._advice = await advice(client)

    async def _open(self) -> None:
        try:
            self._client = await self._endpoint.open(self._stack)
        except BaseException:
            await self._close()
            raise

    async def _close(self) -> None:
        self._client = None
        with translated("close the connections", str(self._endpoint)):
            await self._stack.aclose()

    async def _run(
        self, script: str, keys: list[str], arguments: list[Any], what: str, *, replicated: bool = False
    ) -> Any:
        """Run a script and return its result. With `replicated`, wait until `wait_replicas` replicas confirm it."""
        async with self._request(what) as client:
            if not (replicated and self.wait_replicas):
                return await client.eval(script, len(keys), *keys, *arguments)
            async with client.pipeline(transaction=False) as both:  # WAIT counts the writes of its own connection
                both.eval(script, len(keys), *keys, *arguments)
                both.wait(self.wait_replicas, REPLICATION_TIMEOUT_MS)
                result, replicas = await both.execute(raise_on_error=False)  # its errors would quote the script
            for failure in (result, replicas):
                if isinstance(failure, Exception):
                    raise failure
        if replicas < self.wait_replicas:
            raise RedisReplicationError(
                f"cannot {what} safely in Redis at {self._endpoint}: "
                f"{replicas} of {self.wait_replicas} replicas confirmed it"
            )
        return result


def _now() -> float:
    return asyncio.get_running_loop().time()


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _text(lease: Lease) -> str:
    """Return the lease as it is stored on the server."""
    return f"{lease.fencing_token} {lease.owner}"
