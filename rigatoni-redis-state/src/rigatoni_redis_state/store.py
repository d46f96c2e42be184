"""The state store `redis`: checkpoints, and the leases by which several instances share a pipeline's streams."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from types import TracebackType
from typing import Annotated, Any, Self

import attrs
from rigatoni_core.api.contracts import (
    ConfigLinter,
    Lease,
    LeaseKeeper,
    Membership,
    StateInspector,
    StateStore,
    StreamLister,
)
from rigatoni_core.api.errors import CorruptCheckpointError, LeaseLostError
from rigatoni_core.api.events import Checkpoint, Stream
from rigatoni_core.api.options import Secret
from rigatoni_core.api.records import StateRecord, dump_checkpoint, dump_cleared, listed_stream, load_record
from rigatoni_core.api.settings import Settings

from rigatoni_redis_state import scripts
from rigatoni_redis_state.advice import advice
from rigatoni_redis_state.connection import Client, Endpoint
from rigatoni_redis_state.errors import RedisReplicationError, RedisStateError, translated
from rigatoni_redis_state.scripts import Keys

REPLICATION_TIMEOUT_MS = 2000
"""How long a write waits for replicas, where `wait_replicas` asks for any; shorter than an answer may take."""


def _check_prefix(instance: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if "{" in value or "}" in value or not value.isprintable():
        raise ValueError("prefix must not hold braces (they are a cluster's hash tags) or control characters")


def _not_negative(instance: object, attribute: "attrs.Attribute[Any]", value: int) -> None:
    if value < 0:
        raise ValueError(f"{attribute.name} must not be negative: {value}")


@attrs.define(kw_only=True, eq=False)
class RedisStateStore(StateStore, StreamLister, LeaseKeeper, Membership, StateInspector, ConfigLinter):
    """Checkpoints and leases in Redis 6.2 and newer, or Valkey. Nothing but a lease ever expires.

    A save is refused once a later lease was granted, whether its owner has saved anything yet or not. It is as durable
    as the server keeps it: see `wait_replicas` and the page about Redis for what a failover may undo.
    """

    url: Annotated[
        Secret,
        "Where Redis is: redis://user:password@host:6379/0, rediss:// for TLS, unix://; redis-py's query options",
    ]
    sentinels: Annotated[
        Secret | None, "Who names the master: redis://host:26379,host:26379; the host in url is then the service's name"
    ] = None
    cluster: Annotated[bool, "Whether url names nodes of a Redis Cluster: redis://host:6379,host:6379"] = False
    prefix: Annotated[str, "What every key begins with"] = attrs.field(default="rigatoni:", validator=_check_prefix)
    wait_replicas: Annotated[int, "Replicas that must have a save or a lease before it counts; not with a cluster"] = (
        attrs.field(default=0, validator=_not_negative)
    )

    _endpoint: Endpoint = attrs.field(init=False, repr=False)
    _client: Client | None = attrs.field(init=False, default=None, repr=False)
    _stack: AsyncExitStack = attrs.field(init=False, factory=AsyncExitStack, repr=False)
    _advice: tuple[str, ...] = attrs.field(init=False, default=(), repr=False)
    _turns: asyncio.Semaphore = attrs.field(init=False, repr=False)
    _corrupt: set[str] = attrs.field(init=False, factory=set, repr=False)

    def __attrs_post_init__(self) -> None:
        self._endpoint = Endpoint(self.url, self.sentinels, self.cluster)
        self._turns = asyncio.Semaphore(self._endpoint.max_connections)
        if self.cluster and self.wait_replicas:
            raise ValueError("wait_replicas does not go with cluster: there, set min-replicas-to-write on the servers")

    async def __aenter__(self) -> Self:
        """Connect, and try on a key of its own whether everything that will be needed is allowed."""
        await self._open()
        try:
            await self._run(scripts.PROBE, [f"{self.prefix}probe"], [], "use the store")
            await self._look_at_settings()
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
        """Connect without trying anything out. See `StateInspector`."""
        await self._open()
        try:
            await self._look_at_settings()
            yield
        finally:
            await self._close()

    async def holder(self, stream: Stream) -> str | None:
        """The owner of the stream's lease. See `StateInspector`."""
        async with self._asking(f"look at the lease of {stream}") as client:
            held: Any = await client.get(self._keys(stream).lease)
        return held.decode().partition(" ")[2] if held else None

    def advice(self, settings: Settings) -> tuple[str, ...]:
        """What the server may do to checkpoints; known once the store is entered. See `ConfigLinter`."""
        return self._advice

    # --- checkpoints

    async def save_resume_token(self, stream: Stream, checkpoint: Checkpoint) -> None:
        """Replace the stream's record. See `StateStore`."""
        await self._replace(stream, checkpoint.fencing_token, dump_checkpoint(stream, checkpoint), "save")

    async def load_resume_token(self, stream: Stream) -> Checkpoint | None:
        """The stream's record. See `StateStore`."""
        record = await self._record(stream)
        return record.checkpoint if record else None

    async def clear_resume_token(self, stream: Stream, *, fencing_token: int = 0) -> None:
        """Replace the stream's record by one without a position. See `StateStore`."""
        with suppress(CorruptCheckpointError):  # now it is known to be, and so it is kept aside
            await self._record(stream)
        await self._replace(stream, fencing_token, dump_cleared(stream, fencing_token), "clear")

    async def cleared_under(self, stream: Stream) -> int | None:
        """The fencing token of a record without a position. See `StateStore`."""
        record = await self._record(stream)
        return record.fencing_token if record and record.checkpoint is None else None

    async def streams(self, pipeline: str | None = None) -> Sequence[Stream]:
        """The streams of all records, on every node of a cluster. See `StreamLister`."""
        pattern, found = scripts.checkpoints(self.prefix, pipeline), set[str]()
        async with self._asking("list the checkpoints") as client:
            async for key in client.scan_iter(match=pattern, count=1000):
                found.add(key.decode())  # SCAN may return a key more than once
        listed = await asyncio.gather(*map(self._listed, sorted(found)))
        return sorted(stream for stream in listed if stream)

    async def _listed(self, key: str) -> Stream | None:
        async with self._asking("list the checkpoints") as client:
            content: Any = await client.get(key)
        if content is None:  # it was there a moment ago
            return None
        return listed_stream(scripts.stream_key(self.prefix, key), content, f"the key {key}")

    async def _record(self, stream: Stream) -> StateRecord | None:
        key = self._keys(stream).checkpoint
        async with self._asking(f"load the checkpoint of {stream}") as client:
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
        """The lease, or None while another owner holds it. See `LeaseKeeper`."""
        keys, deadline = self._keys(stream), _now() + ttl
        token = await self._run(
            scripts.ACQUIRE,
            [keys.lease, keys.fence, keys.wanted, keys.checkpoint],
            [owner, _ms(ttl)],
            f"ask for the lease of {stream}",
            replicated=True,
        )
        return Lease(stream, owner, token, deadline) if token else None

    async def renew(self, lease: Lease, *, ttl: float) -> Lease:
        """The lease with a later deadline. See `LeaseKeeper`."""
        keys, deadline = self._keys(lease.stream), _now() + ttl
        what, arguments = f"renew the lease of {lease.stream}", [_text(lease), _ms(ttl), lease.fencing_token]
        if not await self._run(scripts.RENEW, [keys.lease, keys.fence], arguments, what):
            raise LeaseLostError(f"the lease of {lease.stream} is not held by {lease.owner} any more")
        return attrs.evolve(lease, deadline=deadline)

    async def release(self, lease: Lease) -> None:
        """Give the lease up. See `LeaseKeeper`."""
        key = self._keys(lease.stream).lease
        await self._run(scripts.RELEASE, [key], [_text(lease)], f"give up the lease of {lease.stream}")

    async def heartbeat(self, pipeline: str, *, owner: str, ttl: float) -> int:
        """How many instances of the pipeline are there. See `Membership`."""
        key = scripts.instances(self.prefix, pipeline)
        found = await self._run(
            scripts.PRESENT, [key], [owner, round(ttl * 1000)], f"count the instances of {pipeline}"
        )
        return int(found)

    async def request_handover(self, stream: Stream, *, ttl: float) -> None:
        """Note that somebody waits for the stream. See `Membership`."""
        async with self._asking(f"ask for {stream}") as client:
            await client.set(self._keys(stream).wanted, 1, px=_ms(ttl))

    async def handover_requested(self, stream: Stream) -> bool:
        """Whether somebody waits for the stream. See `Membership`."""
        async with self._asking(f"see who waits for {stream}") as client:
            return await client.get(self._keys(stream).wanted) is not None

    # --- the connection

    def _keys(self, stream: Stream) -> Keys:
        return Keys.of(self.prefix, stream)

    @asynccontextmanager
    async def _asking(self, what: str) -> AsyncIterator[Client]:
        """The client, when it is this question's turn; what redis-py raises becomes ours. `what` says it in words."""
        if self._client is None:
            raise RedisStateError(f"cannot {what}: the store is not entered", remedy="Use it in an `async with` block.")
        async with self._turns:
            with translated(what, str(self._endpoint)):
                yield self._client

    async def _look_at_settings(self) -> None:
        async with self._asking("look at the settings") as client:
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
        """The script's answer; with `replicated`, once `wait_replicas` replicas have what it wrote."""
        async with self._asking(what) as client:
            if not (replicated and self.wait_replicas):
                return await client.eval(script, len(keys), *keys, *arguments)
            async with client.pipeline(transaction=False) as both:  # WAIT counts the writes of its own connection
                both.eval(script, len(keys), *keys, *arguments)
                both.wait(self.wait_replicas, REPLICATION_TIMEOUT_MS)
                answer, replicas = await both.execute(raise_on_error=False)  # its errors would quote the script
            for failure in (answer, replicas):
                if isinstance(failure, Exception):
                    raise failure
        if replicas < self.wait_replicas:
            raise RedisReplicationError(
                f"cannot {what} safely in Redis at {self._endpoint}: "
                f"{replicas} of the {self.wait_replicas} replicas asked for have it"
            )
        return answer


def _now() -> float:
    return asyncio.get_running_loop().time()


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _text(lease: Lease) -> str:
    """The lease as the server keeps it."""
    return f"{lease.fencing_token} {lease.owner}"
