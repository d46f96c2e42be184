"""State that lives as long as the process: for trying out, for tests, and for pipelines that may start over."""

import asyncio
from typing import ClassVar

import attrs

from rigatoni_core.api.contracts import ConfigLinter, Lease, LeaseKeeper, Membership, StateStore
from rigatoni_core.api.errors import LeaseLostError
from rigatoni_core.api.events import Checkpoint, Stream
from rigatoni_core.api.settings import Settings


@attrs.define(kw_only=True)
class MemoryStateStore(StateStore, LeaseKeeper, Membership, ConfigLinter):
    """Checkpoints and leases in a dictionary. Several pipelines of one process may share one store."""

    durable: ClassVar[bool] = False
    _checkpoints: dict[str, Checkpoint] = attrs.field(factory=dict, init=False, repr=False)
    _leases: dict[str, Lease] = attrs.field(factory=dict, init=False, repr=False)
    _fencing_tokens: dict[str, int] = attrs.field(factory=dict, init=False, repr=False)
    _wanted: dict[str, float] = attrs.field(factory=dict, init=False, repr=False)
    _instances: dict[str, dict[str, float]] = attrs.field(factory=dict, init=False, repr=False)

    async def save_resume_token(self, stream: Stream, checkpoint: Checkpoint) -> None:
        self._refuse_older(stream, checkpoint.fencing_token)
        self._checkpoints[stream.key] = checkpoint

    async def load_resume_token(self, stream: Stream) -> Checkpoint | None:
        return self._checkpoints.get(stream.key)

    async def clear_resume_token(self, stream: Stream, *, fencing_token: int = 0) -> None:
        self._refuse_older(stream, fencing_token)
        self._checkpoints.pop(stream.key, None)

    async def acquire(self, stream: Stream, *, owner: str, ttl: float) -> Lease | None:
        now = asyncio.get_running_loop().time()
        held = self._leases.get(stream.key)
        if held is not None and held.owner != owner and held.deadline > now:
            return None
        token = self._highest_token(stream) + 1
        self._fencing_tokens[stream.key] = token
        self._wanted.pop(stream.key, None)
        self._leases[stream.key] = lease = Lease(stream, owner, token, now + ttl)
        return lease

    async def renew(self, lease: Lease, *, ttl: float) -> Lease:
        now = asyncio.get_running_loop().time()
        held = self._leases.get(lease.stream.key)
        if held is None or held.fencing_token != lease.fencing_token or held.deadline <= now:
            raise LeaseLostError(f"the lease of {lease.stream} is not held by {lease.owner} any more")
        self._leases[lease.stream.key] = renewed = attrs.evolve(held, deadline=now + ttl)
        return renewed

    async def release(self, lease: Lease) -> None:
        held = self._leases.get(lease.stream.key)
        if held is not None and held.fencing_token == lease.fencing_token:
            del self._leases[lease.stream.key]

    async def heartbeat(self, pipeline: str, *, owner: str, ttl: float) -> int:
        now = asyncio.get_running_loop().time()
        until = {**self._instances.get(pipeline, {}), owner: now + ttl}
        self._instances[pipeline] = {other: end for other, end in until.items() if end > now}
        return len(self._instances[pipeline])

    async def request_handover(self, stream: Stream, *, ttl: float) -> None:
        self._wanted[stream.key] = asyncio.get_running_loop().time() + ttl

    async def handover_requested(self, stream: Stream) -> bool:
        return self._wanted.get(stream.key, 0.0) > asyncio.get_running_loop().time()

    def advice(self, settings: Settings) -> tuple[str, ...]:
        return (
            'the state store "memory" forgets every position when the process ends: unless the destination knows them, '
            'the next run misses what was written in between; type = "file" keeps them',
        )

    def _refuse_older(self, stream: Stream, fencing_token: int) -> None:
        """A granted lease, or one under which was saved, fences off everything of an earlier one."""
        highest = self._highest_token(stream)
        if fencing_token < highest:
            raise LeaseLostError(
                f"{stream} was granted to another owner (fencing token {highest}, ours {fencing_token})"
            )

    def _highest_token(self, stream: Stream) -> int:
        """Granted or saved under: the record may come from a time before the counter's."""
        saved = self._checkpoints.get(stream.key)
        return max(self._fencing_tokens.get(stream.key, 0), saved.fencing_token if saved else 0)
