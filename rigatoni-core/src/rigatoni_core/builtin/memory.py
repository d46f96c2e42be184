"""State that lives as long as the process: for trials, tests, and pipelines that may start fresh."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import attrs

from rigatoni_core.api.contracts import ConfigLinter, Lease, LeaseKeeper, Membership, StateStore, StreamLister
from rigatoni_core.api.errors import LeaseLostError
from rigatoni_core.api.events import Checkpoint, Stream
from rigatoni_core.api.settings import Settings


@attrs.define(kw_only=True)
class MemoryStateStore(StateStore, StreamLister, LeaseKeeper, Membership, ConfigLinter):
    """Checkpoints and leases in a dictionary. Several pipelines of one process may share one store."""

    durable: ClassVar[bool] = False
    _streams: dict[str, Stream] = attrs.field(factory=dict, init=False, repr=False)
    _checkpoints: dict[str, Checkpoint] = attrs.field(factory=dict, init=False, repr=False)
    _cleared: dict[str, int] = attrs.field(factory=dict, init=False, repr=False)
    _leases: dict[str, Lease] = attrs.field(factory=dict, init=False, repr=False)
    _fencing_tokens: dict[str, int] = attrs.field(factory=dict, init=False, repr=False)
    _wanted: dict[str, float] = attrs.field(factory=dict, init=False, repr=False)
    _instances: dict[str, dict[str, float]] = attrs.field(factory=dict, init=False, repr=False)

    async def save_resume_token(self, stream: Stream, checkpoint: Checkpoint) -> None:
        """See `StateStore`."""
        self._take_fence(stream, checkpoint.fencing_token)
        self._streams[stream.key] = stream
        self._checkpoints[stream.key] = checkpoint
        self._cleared.pop(stream.key, None)

    async def load_resume_token(self, stream: Stream) -> Checkpoint | None:
        """See `StateStore`."""
        return self._checkpoints.get(stream.key)

    async def clear_resume_token(self, stream: Stream, *, fencing_token: int = 0) -> None:
        """See `StateStore`."""
        self._take_fence(stream, fencing_token)
        self._checkpoints.pop(stream.key, None)
        self._cleared[stream.key] = fencing_token

    async def cleared_under(self, stream: Stream) -> int | None:
        """See `StateStore`."""
        return self._cleared.get(stream.key)

    async def streams(self, pipeline: str | None = None) -> Sequence[Stream]:
        """See `StreamLister`."""
        held = (self._streams[key] for key in self._checkpoints)
        return sorted(stream for stream in held if pipeline in (None, stream.pipeline))

    async def acquire(self, stream: Stream, *, owner: str, ttl: float) -> Lease | None:
        """See `LeaseKeeper`."""
        now = asyncio.get_running_loop().time()
        held = self._leases.get(stream.key)
        if held is not None and held.owner != owner and held.deadline > now:
            return None
        token = max(self._fence(stream) or 0, int(now * 1000)) + 1
        self._fencing_tokens[stream.key] = token
        self._wanted.pop(stream.key, None)
        self._leases[stream.key] = lease = Lease(stream, owner, token, now + ttl)
        return lease

    async def renew(self, lease: Lease, *, ttl: float) -> Lease:
        """See `LeaseKeeper`."""
        now = asyncio.get_running_loop().time()
        held = self._leases.get(lease.stream.key)
        if held is None or held.fencing_token != lease.fencing_token or held.deadline <= now:
            raise LeaseLostError(f"the lease of {lease.stream} is no longer held by {lease.owner}")
        self._leases[lease.stream.key] = renewed = attrs.evolve(held, deadline=now + ttl)
        return renewed

    async def release(self, lease: Lease) -> None:
        """See `LeaseKeeper`."""
        held = self._leases.get(lease.stream.key)
        if held is not None and held.fencing_token == lease.fencing_token:
            del self._leases[lease.stream.key]

    async def heartbeat(self, pipeline: str, *, owner: str, ttl: float) -> int:
        """See `Membership`."""
        now = asyncio.get_running_loop().time()
        until = {**self._instances.get(pipeline, {}), owner: now + ttl}
        self._instances[pipeline] = {other: end for other, end in until.items() if end > now}
        return len(self._instances[pipeline])

    async def request_handover(self, stream: Stream, *, ttl: float) -> None:
        """See `Membership`."""
        self._wanted[stream.key] = asyncio.get_running_loop().time() + ttl

    async def handover_requested(self, stream: Stream) -> bool:
        """See `Membership`."""
        return self._wanted.get(stream.key, 0.0) > asyncio.get_running_loop().time()

    def advice(self, settings: Settings) -> tuple[str, ...]:
        """See `ConfigLinter`."""
        return (
            'the state store "memory" forgets every position when the process ends. Unless the destination knows them, '
            'the next run misses the changes in between; use type = "file" to keep them',
        )

    def _take_fence(self, stream: Stream, fencing_token: int) -> None:
        """Refuse a token that is not the fence; the first token becomes the fence."""
        fence = self._fence(stream)
        if fence not in (None, fencing_token):
            raise LeaseLostError(f"{stream} has another owner: its fencing token is {fence}, ours is {fencing_token}")
        self._fencing_tokens[stream.key] = fencing_token

    def _fence(self, stream: Stream) -> int | None:
        """Return the highest fencing token of this stream, if any is known."""
        saved = self._checkpoints.get(stream.key)
        stored = saved.fencing_token if saved else self._cleared.get(stream.key)
        known = (self._fencing_tokens.get(stream.key), stored)
        return max((token for token in known if token is not None), default=None)
