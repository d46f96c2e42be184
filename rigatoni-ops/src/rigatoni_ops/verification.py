"""Verifies a stream: the documents of its collections against what the destination's events give at the same time."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import ReadBack, RecordKeeper
from rigatoni_core.api.errors import ConfigurationError, UnreadableError
from rigatoni_core.api.events import Namespace, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.snapshot_ledger import KeptLedger
from rigatoni_core.api.snapshots import Chunk, SnapshotPlan, SnapshotRequest, Snapshotter, SnapshotTimeError

from rigatoni_ops.comparison import DIFFERENCES, NOT_COMPARED, Change, Comparison
from rigatoni_ops.errors import NotComparableError

CHUNK = 4 * 2**20
"""Bytes of documents that are read from the source at a time."""

POLL = 0.5
"""Seconds between two looks at the checkpoint."""


@runtime_checkable
class Inventory(Protocol):
    """A destination that knows which objects it should hold, as those of rigatoni-objects do."""

    async def missing_objects(
        self, pipeline: str, delivered: Mapping[Stream, Position]
    ) -> Mapping[Stream, Sequence[str]]:
        """Return the names of objects that complete batches name and that are missing."""


@attrs.frozen(kw_only=True)
class Outcome:
    """What was found out about a stream.

    Attributes:
        stream: Its name.
        at: The cluster time up to which the destination's events were applied.
        all_known: Whether the destination knows every document; else only known documents were compared.
        counts: The number of documents by verdict.
        hashes: Hashes of some documents by verdict.
        missing_files: The names of files or objects that complete batches name and that are missing, by stream.
        unreadable: The errors of what could not be read back; the rest was compared.
    """

    stream: str
    at: Timestamp
    all_known: bool
    counts: Mapping[str, int]
    hashes: Mapping[str, Sequence[str]]
    missing_files: Mapping[str, Sequence[str]]
    unreadable: Sequence[UnreadableError]

    @property
    def not_compared(self) -> int:
        """The number of documents that could not be compared."""
        return sum(self.counts[verdict] for verdict in NOT_COMPARED)

    @property
    def complete(self) -> bool:
        """Whether every document was compared, and the destination knows all."""
        return self.all_known and not self.not_compared

    @property
    def nothing_compared(self) -> bool:
        """Whether documents exist, but none could be compared and nothing is known to differ."""
        return self.same and not self.counts["equal"] and self.not_compared > 0

    @property
    def same(self) -> bool:
        """Whether no difference was found."""
        lost = self.missing_files or self.unreadable
        return not lost and not any(self.counts[verdict] for verdict in DIFFERENCES)


async def verify(
    configuration: PipelineConfiguration, name: str | None, *, timeout: float, show: int
) -> AsyncIterator[Outcome]:
    """Verify one stream of a pipeline, or all of them one after another.

    Args:
        configuration: The pipeline; its components have not been entered.
        name: The stream's name; None for all.
        timeout: Seconds to wait until a stream has delivered what was written while its collections were read.
        show: How many hashes of each verdict are returned, at most.

    Raises:
        ConfigurationError: It cannot be verified, or has no such stream.
        NotComparableError: It cannot be verified now.
        TimeoutError: The stream has not delivered in time.
        RigatoniError: Source, destination or state store cannot be read.
    """
    names = await configuration.source.streams()
    if name is not None and name not in names:
        raise ConfigurationError(
            f'{configuration.name} has no stream "{name}"', remedy=f"Name one of its streams: {', '.join(names)}."
        )
    streams = [Stream(configuration.name, each) for each in names if name in (None, each)]
    verifiers = [_verifier(configuration, stream, frozenset(names) - {stream.name}, timeout) for stream in streams]
    async with configuration.state, configuration.source, configuration.destination:
        for verifier in verifiers:
            yield await verifier.verify(show)


def _verifier(
    configuration: PipelineConfiguration, stream: Stream, others: Collection[str], timeout: float
) -> "_Verifier":
    """Raises ConfigurationError if the stream can never be verified."""
    source, destination = configuration.source, configuration.destination
    if not isinstance(source, Snapshotter):
        raise ConfigurationError(
            f"the source of {configuration.name} cannot read documents that exist",
            remedy="Verify pipelines whose source can take snapshots.",
        )
    if not isinstance(destination, ReadBack):
        raise ConfigurationError(
            f"{destination.metadata().description} cannot be read back",
            remedy="Compare the documents there, or verify pipelines into files or objects.",
        )
    if any(transform.applies_to(stream) for transform in configuration.transforms):
        raise ConfigurationError(
            f"{stream} has transforms, so the destination does not hold the documents of the source",
            remedy="Verify streams without transforms.",
        )
    source.check_snapshot(stream, SnapshotRequest())
    return _Verifier(configuration, stream, others, source, destination, timeout)


@attrs.define
class _Verifier:
    configuration: PipelineConfiguration
    stream: Stream
    others: Collection[str]
    source: Snapshotter
    destination: ReadBack
    timeout: float
    _unreadable: list[UnreadableError] = attrs.field(factory=list, init=False)
    _watched: dict[Namespace, bool] = attrs.field(factory=dict, init=False)

    async def verify(self, show: int) -> Outcome:
        times, until = list[Timestamp](), list[Timestamp]()
        with Comparison.opened() as comparison:
            async with asyncio.timeout(None) as limit:
                async for chunk in self._chunks(limit):
                    times.append(chunk.at)
                    until.append(chunk.after)
                    for document in self._as_read_back(chunk):
                        comparison.found(Change.read(document))
            position = await self._position()
            at = min(times, default=_time_of(self.stream, position))
            async with asyncio.timeout(self.timeout):
                await self._delivered(max(until, default=at))
            await self._replay(comparison, at)
            complete = await self._complete(comparison, at)
            counts, hashes = comparison.verdicts(complete=complete, show=show)
            missing_files = await self._missing_files(position)
        return Outcome(
            stream=self.stream.name,
            at=at,
            all_known=complete,
            counts=counts,
            hashes=hashes,
            missing_files=missing_files,
            unreadable=self._unreadable,
        )

    async def _delivered(self, until: Timestamp) -> None:
        """Wait until the stream has delivered everything up to this time."""
        while True:
            if _time_of(self.stream, await self._position()) >= until:
                return
            await asyncio.sleep(POLL)

    # --- the source

    async def _chunks(self, limit: asyncio.Timeout) -> AsyncIterator[Chunk]:
        """Yield the documents of the stream's collections, each chunk as of a time that the stream has reached."""
        request, loop = SnapshotRequest(), asyncio.get_running_loop()
        plan = await self.source.plan_snapshot(self.stream, request, ranges=1)
        for index, part in enumerate(plan.ranges):
            low, first = part.low, True
            while first or low is not None:
                limit.reschedule(loop.time() + self.timeout)  # of one chunk, however often it is tried
                chunk = await self._chunk(request, plan, index, low)
                limit.reschedule(None)
                if chunk.filtered:
                    raise ConfigurationError(
                        f"the source's own pipeline may leave out documents of {self.stream}",
                        remedy="Verify streams whose source has no pipeline.",
                    )
                if chunk.ended:
                    raise NotComparableError(f"{part.namespace} was {chunk.ended} while it was read")
                yield chunk
                low, first = chunk.end, False

    async def _chunk(self, request: SnapshotRequest, plan: SnapshotPlan, index: int, low: Any) -> Chunk:
        while True:
            try:
                return await self.source.read_chunk(
                    self.stream, request, plan, index, name="verify", low=low, at=await self._position(), limit=CHUNK
                )
            except SnapshotTimeError:
                await asyncio.sleep(POLL)

    def _as_read_back(self, chunk: Chunk) -> Sequence[Mapping[str, Any]]:
        if not chunk.count:
            return ()
        place, decoder = Position(ResumeToken(""), "", chunk.at), self.configuration.source.decoder
        rows = EventBatch(self.stream, first=place, end=place, segments=tuple(chunk.rows), decoder=decoder)
        return self.destination.as_read_back(rows)

    async def _position(self) -> Position:
        checkpoint = await self.configuration.state.load_resume_token(self.stream)
        if checkpoint is None:
            raise NotComparableError(f"{self.stream} has no checkpoint", remedy="Run the pipeline first.")
        return checkpoint.position

    # --- the destination

    @property
    def _pipelines(self) -> Sequence[str]:
        """The pipelines that the destination's events are read from: the rows of snapshots come first."""
        return (f"{self.stream.pipeline}.snapshots", self.stream.pipeline)

    async def _missing_files(self, position: Position) -> Mapping[str, Sequence[str]]:
        """Return the missing files of this stream, its snapshots, and former streams, which it may continue."""
        found = dict[str, Sequence[str]]()
        if isinstance(self.destination, Inventory):
            for pipeline in self._pipelines:
                missing = await self.destination.missing_objects(pipeline, {self.stream: position})
                mine = {stream: names for stream, names in missing.items() if self._is_mine(stream)}
                found |= {str(stream): names for stream, names in mine.items()}
        return found

    def _is_mine(self, stream: Stream) -> bool:
        return (stream.of_snapshot or stream).name not in self.others

    async def _replay(self, comparison: Comparison, at: Timestamp) -> None:
        """Apply what the destination holds: the rows of snapshots first, then the changes."""
        dropped = dict[Namespace, Timestamp]()
        for pipeline in self._pipelines:
            async for document in self._read_back(pipeline):
                change = Change.read(document)
                if change.namespace is None or not self._watches(change.namespace):
                    continue
                if change.operation == "rename" or (change.operation == "drop" and change.time > at):
                    raise NotComparableError(
                        f"{change.namespace} was renamed, or dropped while it was read",
                        remedy="Verify again if it was dropped. Streams with renamed collections cannot be verified.",
                    )
                if change.operation == "drop":
                    dropped[change.namespace] = change.time
                comparison.apply(change, at)
        for namespace, time in dropped.items():
            comparison.forget(time, namespace)

    async def _read_back(self, pipeline: str) -> AsyncIterator[Mapping[str, Any]]:
        """Yield what can be read, and note what cannot."""
        try:
            async for document in self.destination.read_back(pipeline):
                yield document
        except UnreadableError as error:
            self._unreadable.append(error)

    async def _complete(self, comparison: Comparison, at: Timestamp) -> bool:
        """Return whether a snapshot of the whole stream is done; what is older than the newest one is void."""
        if not isinstance(self.destination, RecordKeeper):
            return False
        ledger = KeptLedger(self.stream, self.destination, _ask)
        complete = False
        for requested in await ledger.requests():
            request, end = requested.request, await ledger.ended(requested.number)
            limited = request.collections or request.filters or request.lowest or request.highest
            if limited or end is None or end.state != "done" or end.filtered:
                continue
            complete = True
            if end.anchor is not None and end.anchor <= at:
                comparison.forget(end.anchor)
        return complete

    def _watches(self, namespace: Namespace) -> bool:
        if namespace not in self._watched:
            try:
                self.source.check_snapshot(self.stream, SnapshotRequest(collections=(str(namespace),)))
            except ConfigurationError:
                self._watched[namespace] = False
            else:
                self._watched[namespace] = True
        return self._watched[namespace]


def _time_of(stream: Stream, position: Position) -> Timestamp:
    if position.cluster_time is None:
        raise NotComparableError(f"the position of {stream} has no cluster time")
    return position.cluster_time


async def _ask(question: Any, *arguments: Any) -> Any:
    return await question(*arguments)
