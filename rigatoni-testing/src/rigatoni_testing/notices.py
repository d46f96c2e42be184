"""One notice of each kind, for tests of listeners."""

from collections.abc import Sequence

from rigatoni_core.api import notices
from rigatoni_core.api.errors import DestinationError, StateStoreError
from rigatoni_core.api.events import Gap, Namespace, Stream, Timestamp
from rigatoni_core.api.notices import Notice

from rigatoni_testing.batches import START, STREAM, batch_of, event_document


def one_of_each(stream: Stream = STREAM) -> Sequence[Notice]:
    """Return one notice of every kind, in an order in which a worker could publish them.

    Args:
        stream: The stream of the notices.
    """
    end = batch_of([event_document(0)], stream=stream).end
    error, time = DestinationError("it failed", remedy="Wait."), Timestamp(1_700_000_001, 1)
    unsaved = StateStoreError("it failed", remedy="Wait.")
    return (
        notices.WorkerStarting(stream=stream),
        notices.LeaseAwaited(stream=stream),
        notices.LeaseAcquired(stream=stream, fencing_token=1),
        notices.StreamsSucceeded(stream=stream, former=("a.*",), position=START, leased=True),
        notices.WorkerStarted(stream=stream, position=START, resumed=False),
        notices.ReplyRead(stream=stream, events=1, bytes=100, end=end, source_time=time, caught_up=False, paused=False),
        notices.BatchRead(stream=stream, events=1, bytes=100),
        notices.EventsRejected(stream=stream, events=1, error=error, action="skip"),
        notices.Retrying(stream=stream, error=error, attempt=1, delay=1.0),
        notices.BatchRealigned(stream=stream, events=1, bytes=100),
        notices.BatchWritten(stream=stream, events=1, bytes=100, end=end, seconds=0.1),
        notices.CheckpointFailed(stream=stream, error=unsaved, unsaved=1, seconds=0.1),
        notices.CheckpointSaved(stream=stream, position=end, events=1, seconds=0.1),
        notices.CaughtUp(stream=stream, end=end),
        notices.Resumed(stream=stream, reason="the connection was lost", seconds=0.1),
        notices.Invalidated(stream=stream, reason="the collection was dropped"),
        notices.SnapshotWindowed(stream=stream, collection=Namespace("shop", "orders"), reason="the server is too old"),
        notices.DuplicatesDropped(stream=stream, events=1, reason="two shards reported one update"),
        notices.RepeatsPossible(stream=stream, reason="the filter was changed"),
        notices.SchemaDrifted(stream=stream, deviation="shop.orders: the schema does not have the field note"),
        notices.SerializerChanged(stream=stream, reason="csv in place of json"),
        notices.PositionMoved(stream=stream, saved=START, position=end),
        notices.PositionTakenByTime(stream=stream, position=START, reason="the token was refused"),
        notices.GapRecorded(stream=stream, gap=Gap("history lost", START, end)),
        notices.LeaseRenewed(stream=stream),
        notices.LeaseNotRenewed(stream=stream, error=unsaved, remaining=1.0),
        notices.LeaseYielded(stream=stream),
        notices.LeaseLost(stream=stream, error=unsaved),
        notices.WorkerFailing(stream=stream, error=error, delay=1.0),
        notices.WorkerRecovered(stream=stream, error_id="state-store", seconds=1.0),
        notices.WorkerFailed(stream=stream, error=error),
        notices.WorkerStopped(stream=stream, position=end),
    )
