"""The buffer between a source and its destination: order, limits and ages, without a clock or a task."""

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from rigatoni_core.api.batch import Heartbeat
from rigatoni_core.engine.event_buffer import EventBuffer
from rigatoni_testing.batches import START, batch_of, event_document

MANY = batch_of([event_document(number) for number in range(400)])
SIZE = len(MANY.raw(0))


def numbers(batch):
    return [batch.decoder.event(batch.raw(index)).full_document["_id"] for index in range(len(batch))]


def events(start, stop):
    return MANY[start:stop]


class Order(RuleBasedStateMachine):
    """Whatever is added, formed, taken and put back: events leave in order, heartbeats after all before them."""

    @initialize(size=st.integers(1, 12), nbytes=st.integers(1, 12 * SIZE), hour=st.integers(1, 9))
    def begin(self, size, nbytes, hour):
        self.limits = (size, nbytes)
        self.hour = hour
        self.buffer = EventBuffer(size, nbytes, self.split)
        self.added = self.taken = 0  # as numbers of events
        self.now = 0.0
        self.arrivals = {}
        self.last = None  # the batch that was taken last, and when it arrived
        self.beat = None

    def split(self, batch):
        """No batch holds events of two hours."""
        hours = [number // self.hour for number in numbers(batch)]
        return hours.count(hours[0])

    @precondition(lambda self: self.added < 380)
    @rule(count=st.integers(1, 20), pause=st.floats(0, 3))
    def add(self, count, pause):
        self.now += pause
        self.buffer.add(events(self.added, self.added + count), self.now)
        self.arrivals |= dict.fromkeys(range(self.added, self.added + count), self.now)
        self.added += count
        self.beat = None

    @rule(pause=st.floats(0, 3))
    def add_heartbeat(self, pause):
        self.now += pause
        self.beat = Heartbeat(attrs.evolve(START, ordinal=self.added))
        self.buffer.add(self.beat, self.now)

    @precondition(lambda self: self.buffer.events)
    @rule()
    def form(self):
        formed = self.buffer.form()
        assert self.buffer.formed
        assert self.buffer.form() is formed

    @precondition(lambda self: self.buffer.events)
    @rule()
    def unform(self):
        self.buffer.unform()

    @precondition(lambda self: self.buffer.events)
    @rule()
    def take(self):
        formed = self.buffer.form() if self.buffer.formed else None
        batch, arrived = self.buffer.take()
        assert formed is None or batch is formed
        size, nbytes = self.limits
        assert len(batch) <= size
        assert batch.nbytes <= nbytes or len(batch) == 1
        assert self.split(batch) == len(batch)
        self.note(batch, arrived)

    @precondition(lambda self: self.buffer.events)
    @rule()
    def take_chunk(self):
        self.note(*self.buffer.take_chunk())

    def note(self, batch, arrived):
        assert numbers(batch) == list(range(self.taken, self.taken + len(batch)))
        self.taken += len(batch)
        assert arrived == self.arrivals[self.taken - 1], "the newest event's"
        assert not self.buffer.formed
        self.last = batch, arrived

    @precondition(lambda self: self.last is not None and len(self.last[0]) > 1)
    @rule(data=st.data())
    def put_back(self, data):
        batch, arrived = self.last
        place = data.draw(st.integers(1, len(batch) - 1))
        self.buffer.put_back(batch[place:], arrived)
        self.taken -= len(batch) - place
        self.last = None
        for number in range(self.taken, self.taken + len(batch) - place):
            self.arrivals[number] = arrived
        assert self.buffer.oldest == arrived, "it is as old as before"

    @rule()
    def take_heartbeat(self):
        beat = self.buffer.take_heartbeat()
        if self.taken < self.added:
            assert beat is None
        else:
            assert beat is self.beat
            self.beat = None

    @invariant()
    def the_counts_are_those_of_what_it_holds(self):
        if hasattr(self, "buffer"):
            assert self.buffer.events == self.added - self.taken
            assert self.buffer.nbytes == (events(self.taken, self.added).nbytes if self.buffer.events else 0)
            assert (self.buffer.oldest is None) == (self.buffer.events == 0)
            assert self.buffer.heartbeat is self.beat
            size, nbytes = self.limits
            assert self.buffer.is_full == (self.buffer.events >= size or self.buffer.nbytes >= nbytes)


TestOrder = Order.TestCase
TestOrder.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@given(st.integers(1, 30))
def test_an_event_at_which_it_cannot_split_leaves_the_buffer_as_it_was(count):
    def damaged(batch):
        raise ValueError("damaged")

    buffer = EventBuffer(10, 10 * SIZE, damaged)
    buffer.add(events(0, count), 1.0)
    with pytest.raises(ValueError, match="damaged"):
        buffer.form()
    assert (buffer.events, buffer.formed, buffer.oldest) == (count, False, 1.0)
    assert numbers(buffer.take_chunk()[0]) == list(range(count))


def test_an_empty_buffer_keeps_nothing():
    buffer = EventBuffer(4, 100 * SIZE)
    buffer.add(events(0, 20), 1.0)
    buffer.add(Heartbeat(START), 2.0)
    while buffer.events:
        buffer.form()
        buffer.take()
    assert buffer.take_heartbeat() is not None
    assert (buffer.nbytes, buffer.oldest, buffer.heartbeat, len(buffer._chunks)) == (0, None, None, 0)
