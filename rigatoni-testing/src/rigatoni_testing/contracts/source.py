"""Contract tests for sources."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import attrs
from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.contracts import ANY_FORMAT, Source
from rigatoni_core.api.events import Position, ResumeToken, Stream

from rigatoni_testing.contracts import watching
from rigatoni_testing.contracts.obligations import (
    Obligations,
    asynchronous,
    bounded,
    broken,
    check_component,
    check_constructor,
    promised,
)


@attrs.frozen
class Origin:
    """The origin that one test reads; without changes when the test begins.

    `make` returns a new source, not entered, that reads a stream named `stream`. `change` makes `n` changes, each of
    which is one event.
    """

    make: Callable[[], Source]
    stream: str
    change: Callable[[int], Awaitable[object]]


class Reading:
    """Reads an open stream item by item.

    Args:
        items: What `Source.read` returned.
    """

    def __init__(self, items: AsyncIterator[EventBatch | Heartbeat]) -> None:
        self.items = items
        self.tokens: list[ResumeToken] = []
        self.ends: dict[ResumeToken, Position] = {}

    async def next(self) -> EventBatch | Heartbeat:
        """Returns the next item after checking what holds for every item."""
        item: EventBatch | Heartbeat = await bounded(anext(self.items), "read")
        if isinstance(item, EventBatch):
            promised(len(item) > 0, "an item without events is a Heartbeat")
            tokens = [item.token_and_time(index)[0] for index in range(len(item))]
            promised(item.first.resume_token == tokens[0], "a batch's first is the position of its first event")
            promised(item.end.resume_token == tokens[-1], "a batch's end is the position after its last event")
            for index in range(len(item)):
                self.ends[tokens[index]] = item[: index + 1].end
            self.tokens += tokens
        return item

    async def until(self, count: int) -> list[ResumeToken]:
        """Returns the tokens of the next `count` events; waits for them."""

        async def come() -> None:
            while len(self.tokens) < count:
                await self.next()

        await bounded(come(), f"reading {count} events")
        return self.tokens


@asynccontextmanager
async def reading(source: Source, stream: Stream, after: Position | None) -> AsyncIterator[tuple[Reading, Heartbeat]]:
    """Open the stream in this block.

    Args:
        source: The source, which is entered.
        stream: The stream.
        after: The position to resume from; None for a fresh stream.

    Yields:
        The reading, and its anchor, the first item.
    """
    items: Any = source.read(stream, after=after)
    async with aclosing(items):
        opened = Reading(items)
        anchor = await opened.next()
        if not isinstance(anchor, Heartbeat):
            broken("the first item of read is a Heartbeat: the anchor, before any event")
        yield opened, anchor


@asynchronous
class SourceContract(Obligations):
    """Contract tests for sources; the fixture `origin` is an `Origin`."""

    async def test_its_decoder_names_the_format_of_its_documents(self, origin: Origin) -> None:
        name = origin.make().decoder.format
        promised(isinstance(name, str) and name, "decoder.format is the name of a format")
        promised(name != ANY_FORMAT, f'decoder.format is one format; "{ANY_FORMAT}" is what readers of all accept')

    async def test_its_streams_are_named_and_distinct(self, origin: Origin) -> None:
        async with origin.make() as source:
            names = await bounded(source.streams(), "streams")
            promised(origin.stream in names, f"streams() names {origin.stream}")
            promised(len(set(names)) == len(names), "the names of streams are distinct")

    async def test_changes_after_the_anchor_are_read_in_order(self, origin: Origin) -> None:
        async with origin.make() as source:
            stream = Stream("p", origin.stream)
            async with reading(source, stream, None) as (opened, anchor):
                fingerprint = source.definition(stream).fingerprint
                promised(anchor.end.fingerprint == fingerprint, "positions carry the fingerprint of the definition")
                await origin.change(7)
                tokens = await opened.until(7)
                promised(len(set(tokens)) == len(tokens) == 7, "each change is one event with its own token")
                orders = [opened.ends[token].order for token in tokens]
                promised(orders == sorted(set(orders)), "positions of one stream are in order")
            async with reading(source, stream, anchor.end) as (again, _):
                promised(await again.until(7) == tokens, "reading again from the anchor yields the same events")

    async def test_it_resumes_right_after_any_event(self, origin: Origin) -> None:
        stream = Stream("p", origin.stream)
        async with origin.make() as source, reading(source, stream, None) as (opened, _):
            await origin.change(5)
            tokens = list(await opened.until(5))
        for number, token in enumerate(tokens[:-1]):  # a new source each time, like a new process
            async with origin.make() as source, reading(source, stream, opened.ends[token]) as (again, anchor):
                promised(
                    anchor.end.order >= opened.ends[token].order, "the anchor is no earlier than the position asked for"
                )
                rest = await again.until(4 - number)
                promised(rest == tokens[number + 1 :], "reading resumes at the next event: none lost, none repeated")

    async def test_an_idle_stream_yields_resumable_heartbeats(self, origin: Origin) -> None:
        stream = Stream("p", origin.stream)
        async with origin.make() as source, reading(source, stream, None) as (opened, _):
            await origin.change(2)
            await opened.until(2)
            idle = await opened.next()
            promised(isinstance(idle, Heartbeat), "an idle stream yields heartbeats")
        async with origin.make() as source, reading(source, stream, idle.end) as (again, _):
            await origin.change(2)
            promised(
                not set(await again.until(2)) & set(opened.tokens), "a heartbeat's end is not before the events read"
            )

    async def test_cancelling_a_read_loses_nothing(self, origin: Origin) -> None:
        stream = Stream("p", origin.stream)
        async with origin.make() as source:
            async with reading(source, stream, None) as (opened, anchor):
                item = asyncio.ensure_future(anext(opened.items))
                await asyncio.sleep(0)
                item.cancel()
                await asyncio.gather(item, return_exceptions=True)
            await origin.change(3)
            async with reading(source, stream, anchor.end) as (again, _):
                promised(len(await again.until(3)) == 3, "after a cancelled read the stream can be read again")

    async def test_decoded_events_agree_with_their_tokens_and_times(self, origin: Origin) -> None:
        async with origin.make() as source, reading(source, Stream("p", origin.stream), None) as (opened, _):
            await origin.change(2)
            while not isinstance(batch := await opened.next(), EventBatch):
                pass
            promised(batch.decoder == source.decoder, "batches carry the source's decoder")
            for index, event in enumerate(batch):
                token, time = batch.token_and_time(index)
                promised((event.resume_token, event.cluster_time) == (token, time), "token_and_time and event agree")
                promised(event.namespace == batch.namespace(index), "namespace and event agree")
            letter = source.decoder.synthesize(
                batch.raw(0), "deadLetter", {"text": "ü", "number": 2**62, "bytes": b"\0"}
            )
            event = source.decoder.event(memoryview(letter))
            promised(
                (event.resume_token, str(event.operation)) == (batch.token_and_time(0)[0], "deadLetter"),
                "synthesize makes a document with the event's token and the requested operation",
            )

    async def test_it_closes_what_it_opened(self, origin: Origin) -> None:
        async def use() -> None:
            async with origin.make() as source, reading(source, Stream("p", origin.stream), None):
                pass

        await use()  # warm up: threads and caches that a library creates once are not leaks
        before = watching.held()
        for _ in range(3):
            await use()
        promised(not (more := await watching.left_over(before)), f"__aexit__ closes what was opened; left: {more}")

    async def test_its_constructor_does_no_io(self, origin: Origin) -> None:
        check_constructor(origin.make)

    async def test_its_text_shows_no_secret(self, origin: Origin) -> None:
        check_component(origin.make())
