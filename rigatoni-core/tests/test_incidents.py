"""A worker that recovers says so once, with how long it took and from what."""

import asyncio

import pytest
from rigatoni_core.api.bus import listening, publish
from rigatoni_core.api.errors import DestinationError, LeaseLostError, StateStoreError, Transient
from rigatoni_core.api.events import Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.notices import (
    BatchWritten,
    CaughtUp,
    CheckpointFailed,
    CheckpointSaved,
    LeaseAcquired,
    LeaseAwaited,
    LeaseLost,
    LeaseNotRenewed,
    LeaseRenewed,
    Retrying,
    WorkerFailed,
    WorkerFailing,
    WorkerRecovered,
    WorkerStarted,
)
from rigatoni_core.api.settings import RetrySettings, Settings
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_core.observe.incidents import Incidents
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import FlakyStateStore, Log, RecordingDestination, ScriptedSource

STREAM, OTHER = Stream("p", "shop.orders"), Stream("p", "shop.users")
END = Position(ResumeToken("t"), "f", Timestamp(1, 1))


class DownError(DestinationError, Transient):
    id = "down"


class FullError(StateStoreError, Transient):
    id = "full"


RETRYING = Retrying(stream=STREAM, error=DownError("down"), attempt=1, delay=1.0)
FAILING = WorkerFailing(stream=STREAM, error=DownError("down"), delay=9.0)
STARTED = WorkerStarted(stream=STREAM, position=END, resumed=True)
WRITTEN = BatchWritten(stream=STREAM, events=1, bytes=1, end=END, seconds=0.1)
CAUGHT_UP = CaughtUp(stream=STREAM, end=END)
UNSAVED = CheckpointFailed(stream=STREAM, error=FullError("full"), unsaved=1, seconds=0.1)
SAVED = CheckpointSaved(stream=STREAM, position=END, events=1, seconds=0.1)
NOT_RENEWED = LeaseNotRenewed(stream=STREAM, error=FullError("full"), remaining=1.0)
RENEWED = LeaseRenewed(stream=STREAM)
LOST = LeaseLost(stream=STREAM, error=LeaseLostError("gone"))
AWAITED = LeaseAwaited(stream=STREAM)
ACQUIRED = LeaseAcquired(stream=STREAM, fencing_token=2)


class Heard:
    def __init__(self):
        self.notices = []

    def notify(self, notice):
        self.notices.append(notice)

    @property
    def recovered(self):
        return [notice for notice in self.notices if isinstance(notice, WorkerRecovered)]


def recovery(*notices):
    """What the notices, one a second, are followed by: the error's id and the seconds of each recovery."""

    async def main():
        heard = Heard()
        with listening([heard, Incidents()]):
            for notice in notices:
                publish(notice)
                await asyncio.sleep(1.0)
        return [(notice.error_id, notice.seconds) for notice in heard.recovered]

    return run_virtual(main())


@pytest.mark.parametrize(
    ("notices", "recovered"),
    [
        ([STARTED, WRITTEN, SAVED, RENEWED, CAUGHT_UP], []),
        ([RETRYING, WRITTEN, SAVED, WRITTEN], [("down", 1.0)]),
        ([RETRYING, RETRYING, FAILING, STARTED, CAUGHT_UP], [("down", 4.0)]),
        ([FAILING, STARTED, SAVED], []),
        ([UNSAVED, WRITTEN, UNSAVED, WRITTEN, SAVED], [("full", 4.0)]),
        ([NOT_RENEWED, WRITTEN, NOT_RENEWED, RENEWED], [("full", 3.0)]),
        ([RETRYING, UNSAVED, WRITTEN, SAVED], [("full", 3.0)]),
        ([NOT_RENEWED, LOST, ACQUIRED, STARTED, CAUGHT_UP], [("lease-lost", 4.0)]),
        ([NOT_RENEWED, LOST, AWAITED, ACQUIRED, STARTED, CAUGHT_UP], [("lease-lost", 2.0)]),
        ([FAILING, WorkerFailed(stream=STREAM, error=DownError("down")), WRITTEN], []),
        ([RETRYING, BatchWritten(stream=OTHER, events=1, bytes=1, end=END, seconds=0.1)], []),
    ],
)
def test_a_recovery_is_over_when_everything_that_had_failed_works_again(notices, recovered):
    assert recovery(*notices) == recovered


@pytest.mark.parametrize("kind", ["the destination", "the source", "the state store", "the lease", "opening"])
def test_a_recovery_is_reported_once_and_ends_the_last_error(kind):
    async def main():
        log = Log()
        log.grow(5)
        source = ScriptedSource(logs={"shop.orders": log}, start=0)
        destination = RecordingDestination(before=[DownError("down")] * 7 if kind == "the destination" else [])
        state = FlakyStateStore(save_faults=[None, FullError("full")] if kind == "the state store" else [])
        if kind == "the lease":
            state = NotRenewing()
        if kind == "the source":
            source.faults = {3: DownError("down")}
        if kind == "opening":
            opened = iter([DownError("down"), DownError("down"), None])

            async def enter():
                if (error := next(opened)) is not None:
                    raise error
                return destination

            destination = Opening(enter)
        heard = Heard()
        pipeline = Pipeline(
            name="p",
            source=source,
            destination=destination,
            state=state,
            settings=Settings(retry=RetrySettings(max_retries=2), idle_advance_interval=0.0),
            listeners=[heard],
        )
        running = asyncio.create_task(pipeline.run())
        await asyncio.sleep(300.0)
        log.grow(1)
        await asyncio.sleep(300.0)
        (recovered,) = heard.recovered
        figures = pipeline.statistics.by_stream[STREAM]
        assert (figures.state, figures.events) == ("running", 6)
        assert figures.last_error.recovered is not None
        assert recovered.error_id == ("full" if kind in ("the state store", "the lease") else "down")
        kinds = [type(notice) for notice in heard.notices]
        assert kinds.index(BatchWritten) < kinds.index(CaughtUp), "a stream that is entered has not caught up"
        first = next(index for index, notice in enumerate(heard.notices) if hasattr(notice, "error"))
        assert first < heard.notices.index(recovered)
        pipeline.stop()
        assert (await running).ok

    run_virtual(main())


class NotRenewing(FlakyStateStore):
    """Cannot renew a lease at the first attempt."""

    renewals = 0

    async def renew(self, lease, *, ttl):
        self.renewals += 1
        if self.renewals == 1:
            raise FullError("full")
        return await FlakyStateStore.renew(self, lease, ttl=ttl)


class Opening(RecordingDestination):
    def __init__(self, enter):
        super().__init__()
        self._enter = enter

    async def __aenter__(self):
        await self._enter()
        return self
