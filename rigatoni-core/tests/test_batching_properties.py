"""Whatever the limits and the order of arrival: batching neither loses, repeats nor reorders."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from rigatoni_core.batch import EventBatch
from rigatoni_core.batching import Batcher
from rigatoni_core.errors import DestinationError, SourceError, StateStoreError, Transient
from rigatoni_core.events import Stream
from rigatoni_core.options import ByteSize
from rigatoni_core.pipeline import Pipeline
from rigatoni_core.settings import Settings
from rigatoni_core.testing.batches import STREAM, batch_of, event_document
from rigatoni_core.testing.clock import run_virtual
from rigatoni_core.testing.scripted import Bucket, BucketDestination, FlakyStateStore, Log, ScriptedSource


class DownError(DestinationError, Transient):
    pass


class DroppedError(SourceError, Transient):
    pass


class StoreDownError(StateStoreError, Transient):
    pass


DOCUMENTS = [event_document(number) for number in range(120)]


@settings(max_examples=80, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 30), max_size=12),
    batch_size=st.integers(1, 60),
    batch_bytes=st.integers(1, 9000),
    pause=st.floats(0, 3),
)
def test_batches_are_the_replies_cut_anew(sizes, batch_size, batch_bytes, pause):
    async def replies():
        position, start = None, 0
        yield batch_of([])
        for size in sizes:
            documents = DOCUMENTS[start : start + size]
            batch = batch_of(documents, after=position) if position else batch_of(documents)
            start, position = start + len(documents), batch.end
            yield batch
            await asyncio.sleep(pause)

    async def main():
        limits = Settings(batch_size=batch_size, batch_bytes=ByteSize(batch_bytes), max_buffered_bytes=ByteSize(20_000))
        tokens, ends = [], []
        async with Batcher(replies(), limits) as batches:
            async for batch in batches:
                assert len(batch) <= batch_size
                assert batch.nbytes <= batch_bytes or len(batch) == 1
                assert batches.buffered_bytes <= 20_000 + 30 * 300
                tokens += [batch.mark(index)[0] for index in range(len(batch))]
                if len(batch):
                    assert batch.end.resume_token == tokens[-1]
                    ends.append(batch.end.order)
        whole = batch_of(DOCUMENTS[: sum(sizes)])
        assert tokens == [whole.mark(index)[0] for index in range(len(whole))]
        assert ends == sorted(set(ends))

    run_virtual(main())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=30), st.data())
def test_positions_do_not_depend_on_where_a_batch_was_cut(transactions, data):
    """Events of one transaction share a cluster time: the ordinal tells them apart, however they are cut."""
    documents, number = [], 0
    for index, size in enumerate(transactions):
        for _ in range(size):
            documents.append(event_document(number, clusterTime=DOCUMENTS[index]["clusterTime"]))
            number += 1
    whole = batch_of(documents, stream=STREAM)
    cut = data.draw(st.integers(0, len(documents)))
    parts = [part for part in (documents[:cut], documents[cut:]) if part]
    first = batch_of(parts[0])
    joined = EventBatch.join([first, *(batch_of(part, after=first.end) for part in parts[1:])])
    assert joined.end == whole.end
    for index in range(len(whole)):
        assert joined.position_at(index) == whole.position_at(index)
        assert whole[index:].first == whole.position_at(index)
        assert whole[: index + 1].end == joined[: index + 1].end


@settings(max_examples=60, deadline=None)
@given(
    dropped=st.sets(st.integers(0, 59), max_size=4),
    before=st.lists(st.sampled_from([None, None, "fault"]), max_size=12),
    after=st.lists(st.sampled_from([None, None, "fault"]), max_size=12),
    saves=st.lists(st.sampled_from([None, "fault"]), max_size=12),
    sizes=st.lists(st.integers(1, 20), min_size=2, max_size=4),
)
def test_the_checkpoint_never_overtakes_durable_data_and_the_chain_holds_everything_once(
    dropped, before, after, saves, sizes
):
    async def main():
        log, bucket, stream = Log(), Bucket(), Stream("p", "a.b")
        log.grow(60)

        class Honest(FlakyStateStore):
            async def save_resume_token(self, stream, checkpoint):
                durable = bucket.tokens(stream)
                if checkpoint.events:
                    assert checkpoint.position.resume_token in [*durable, f"mark:{len(durable)}"]
                await FlakyStateStore.save_resume_token(self, stream, checkpoint)

        state = Honest(save_faults=[None, *(StoreDownError("down") if fault else None for fault in saves)])
        for size in sizes:
            source = ScriptedSource(
                logs={"a.b": log}, start=0, faults={number: DroppedError("dropped") for number in dropped}
            )
            destination = BucketDestination(
                bucket=bucket,
                before=[DownError("down") if fault else None for fault in before],
                after=[DownError("answer lost") if fault else None for fault in after],
            )
            running = Pipeline(
                name="p", source=source, destination=destination, state=state, settings=Settings(batch_size=size)
            )
            report = await running.run(once=True)
            assert report.ok
            state._leases.clear()
            log.grow(7)
            state = state if size % 2 else Honest()
        assert bucket.tokens(stream) == log.tokens[: len(log.tokens) - 7]

    run_virtual(main())
