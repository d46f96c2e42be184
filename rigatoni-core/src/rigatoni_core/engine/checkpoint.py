"""The checkpoint of one stream: loaded before, saved after, never ahead of what is durable.

The only module that calls a state store's `save_resume_token`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs

from rigatoni_core.api.bus import publish
from rigatoni_core.api.contracts import StateStore
from rigatoni_core.api.errors import CorruptCheckpointError, LeaseLostError, PipelineTimeoutError, StateStoreError
from rigatoni_core.api.events import Checkpoint, Gap, Position, SnapshotProgress, Stream
from rigatoni_core.api.identity import Identity
from rigatoni_core.api.notices import CheckpointFailed, CheckpointSaved, RepeatsPossible
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.time_limit import time_limit

T = TypeVar("T")


class CheckpointKeeper:
    """Keeps one stream's checkpoint, in memory and in the state store.

    `fencing_token` returns the lease's token at the time of a save, or None if the store keeps no leases: then saves
    carry the token of the stored record. `identity` returns what to recognize the deployment by. It changes only while
    the source is idle or opened again, and costs as much as the rest of a save: saves after events record the last one.

    While only this keeper has saved, the later of memory and store wins: a store that cannot be written, or has lost
    what was saved, must not send the worker back, and starting fresh would skip changes. The stored token shows that
    another instance or a manual repair saved or cleared the stream: it is neither the token loaded last nor one saved
    under since. Then the store wins.
    """

    def __init__(
        self,
        stream: Stream,
        store: StateStore,
        settings: Settings,
        fencing_token: Callable[[], int | None],
        identity: Callable[[], Identity] = Identity,
    ) -> None:
        self._stream = stream
        self._store = store
        self._settings = settings
        self._fencing_token = fencing_token
        self._identity = identity
        self._memory: Checkpoint | None = None
        self._first_snapshot: SnapshotProgress | None = None  # of a stream without a position yet
        self._saved: Checkpoint | None = None
        self._tokens: set[int] = set()  # of the record that was loaded last, and of the saves tried since
        self._saved_at = float("-inf")
        self._unsaved = 0
        self._saving = asyncio.Lock()  # the worker and the stream's snapshot both save

    @property
    def position(self) -> Position | None:
        """The position in memory: everything before it is durable at the destination."""
        return self._memory.position if self._memory else None

    @property
    def delivered(self) -> Position | None:
        """The end of the last delivered batch, if anything was delivered since the stream began or skipped a gap."""
        return self._memory.delivered if self._memory else None

    @property
    def identity(self) -> Identity:
        """The deployment that the position belongs to; unknown without a checkpoint."""
        return self._memory.identity if self._memory else Identity()

    async def load(self) -> Position | None:
        """Load the position to resume from; None for a stream that never began.

        Raises `StateStoreError`, `CorruptCheckpointError`, or `PipelineTimeoutError` after `write_timeout`.
        """
        memory = self._memory
        try:
            stored, token = await self._within_limit(self._stored())
        except CorruptCheckpointError:
            if memory is None:
                raise
            stored = token = None
        cleared = stored is None and token is not None  # workers never clear, so this was a decision of others
        others = token is not None and (token not in self._tokens or (cleared and self._saved is not None))
        if token is not None:
            self._tokens = {token}
        if memory is None or others:
            self._memory = self._saved = stored
            self._unsaved = 0
        elif stored is not None and stored.position.order > memory.position.order:
            self._memory = self._saved = stored
        elif stored is None and self._saved is not None:
            self._saved = None
            publish(RepeatsPossible(stream=self._stream, reason="the state store has lost the checkpoint"))
        return self.position

    async def anchor(self, position: Position, committed: Position | None = None) -> None:
        """Save where the stream starts, before anything is written; if this fails, nothing may be written.

        `committed` is what a transactional destination holds; nothing of the stream lies between it and `position`.
        """
        memory = self._memory or Checkpoint(position, delivered=position.of_event, snapshot=self._first_snapshot)
        if memory.position != position:
            memory = attrs.evolve(memory, position=position, delivered=position.of_event)
        self._memory = attrs.evolve(memory, identity=self._identity(), committed=committed)
        if self._memory != self._saved:
            await self._save()

    @property
    def committed(self) -> Position | None:
        """The position that a transactional destination held, as far as this checkpoint knows."""
        return self._memory.committed if self._memory else None

    @property
    def open_gap(self) -> Gap | None:
        """The recorded gap after which the stream has not resumed yet."""
        return self._memory.open_gap if self._memory else None

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The gaps on record, oldest first."""
        return self._memory.gaps if self._memory else ()

    async def note_gap(self, gap: Gap) -> None:
        """Record a gap; the position stays. Does nothing without a position. May be repeated after an error."""
        if self._memory is None or (self._saved is not None and gap in self._saved.gaps):
            return
        if gap not in self._memory.gaps:
            self._memory = attrs.evolve(self._memory, gaps=(*self._memory.gaps, gap))
        await self._save()

    async def record_gap(self, gap: Gap) -> None:
        """Resume from `gap.resumed`; the gap stays on record."""
        memory = self._memory or Checkpoint(gap.resumed)
        gaps = memory.gaps if gap in memory.gaps else (*memory.gaps, gap)
        identity = self._identity()
        self._memory = attrs.evolve(
            memory, position=gap.resumed, delivered=None, gaps=gaps, committed=None, identity=identity
        )
        await self._save()

    async def advance(self, end: Position, events: int, *, committed: bool = False) -> None:
        """Advance: everything before `end` is durable, `events` of it since the last call.

        With `committed`, a transactional destination holds `end` although there were no events.

        Saved at once after events; an idle advance (no events) at most every `idle_advance_interval` seconds. A
        store that cannot be written is only a notice, up to `max_unsaved_batches` times in a row; then, and if a
        retry cannot fix the error, it is raised.
        """
        memory = self._memory or Checkpoint(end, identity=self._identity())
        self._memory = attrs.evolve(
            memory,
            position=end,
            events=memory.events + events,
            delivered=end if events else memory.delivered,
            committed=end if memory.committed and (events or committed) else memory.committed,
        )
        if events:
            await self._try_to_save()
        elif self._now() >= self._saved_at + self._settings.idle_advance_interval:
            await self.close()

    async def close(self) -> None:
        """Save an idle advance that was not saved yet."""
        if self._memory is not None:
            self._memory = attrs.evolve(self._memory, identity=self._identity())
        await self._try_to_save()

    @property
    def snapshot(self) -> SnapshotProgress | None:
        """The newest snapshot on record here."""
        return self._memory.snapshot if self._memory else self._first_snapshot

    def note_snapshot(self, progress: SnapshotProgress) -> None:
        """Note how far a snapshot is: saved with the next position, or by `save`."""
        if self._memory is None:
            self._first_snapshot = progress
        else:
            self._memory = attrs.evolve(self._memory, snapshot=progress)

    async def save(self) -> None:
        """Save what was noted; if this fails, nothing that depends on it may be written."""
        await self._save()

    async def _try_to_save(self) -> None:
        memory, saved = self._memory, self._saved
        if memory is None or (saved and _news_of(memory) == _news_of(saved)):
            return
        started = self._now()
        try:
            await self._save()
        except LeaseLostError:
            raise
        except (StateStoreError, PipelineTimeoutError) as error:
            self._unsaved += 1
            if not error.transient or self._unsaved > self._settings.max_unsaved_batches:
                raise
            seconds = self._now() - started
            publish(CheckpointFailed(stream=self._stream, error=error, unsaved=self._unsaved, seconds=seconds))

    async def _save(self) -> None:
        async with self._saving:
            await self._save_now()

    async def _save_now(self) -> None:
        assert self._memory is not None
        granted = self._fencing_token()
        token = max(self._tokens, default=0) if granted is None else granted
        self._tokens.add(token)  # also if the response is lost
        if self._memory.fencing_token != token:
            self._memory = attrs.evolve(self._memory, fencing_token=token)
        checkpoint = self._memory
        started = self._now()
        await self._within_limit(self._store.save_resume_token(self._stream, checkpoint))
        self._saved = checkpoint
        self._saved_at = self._now()
        self._unsaved = 0
        publish(
            CheckpointSaved(
                stream=self._stream,
                position=checkpoint.position,
                events=checkpoint.events,
                seconds=self._saved_at - started,
            )
        )

    async def _stored(self) -> tuple[Checkpoint | None, int | None]:
        """Return the stored checkpoint, and the fencing token of the last save or clear, if the store knows it."""
        if (stored := await self._store.load_resume_token(self._stream)) is not None:
            return stored, stored.fencing_token
        return None, await self._store.cleared_under(self._stream)

    async def _within_limit(self, answer: Awaitable[T]) -> T:
        async with time_limit(self._settings.write_timeout, f"the state store, asked for {self._stream},"):
            return await answer

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _news_of(checkpoint: Checkpoint) -> tuple[object, ...]:
    """Return the part of a checkpoint that is worth a save of its own."""
    return checkpoint.position, checkpoint.snapshot, checkpoint.identity.listed
