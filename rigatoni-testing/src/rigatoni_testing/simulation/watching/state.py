"""A state store that outlives the processes that use it."""

import attrs
from rigatoni_core.api.contracts import Lease
from rigatoni_core.api.errors import StateStoreError, Transient
from rigatoni_core.api.events import Checkpoint, Stream
from rigatoni_core.builtin.memory import MemoryStateStore

from rigatoni_testing.simulation.watching.lives import Process


class SavingFailedError(StateStoreError, Transient):
    """The state store does not answer."""


@attrs.define(kw_only=True)
class DyingStateStore(MemoryStateStore):
    """Outlives its processes; saves may fail."""

    process: Process

    async def save_resume_token(self, stream: Stream, checkpoint: Checkpoint) -> None:
        """See `StateStore`."""
        stored = await MemoryStateStore.load_resume_token(self, stream)
        begins = stored is None or stored.events == checkpoint.events  # nothing was delivered since
        if self.process.life.lags and not begins:
            raise SavingFailedError("it does not answer")
        self.process.request(lambda: None)
        await MemoryStateStore.save_resume_token(self, stream, checkpoint)

    async def load_resume_token(self, stream: Stream) -> Checkpoint | None:
        """See `StateStore`."""
        self.process.request(lambda: None)
        return await MemoryStateStore.load_resume_token(self, stream)

    async def acquire(self, stream: Stream, *, owner: str, ttl: float) -> Lease | None:
        """See `LeaseKeeper`."""
        self.process.request(lambda: None)
        return await MemoryStateStore.acquire(self, stream, owner=owner, ttl=ttl)

    async def release(self, lease: Lease) -> None:
        """See `LeaseKeeper`."""
        self.process.request(lambda: None)
        await MemoryStateStore.release(self, lease)
