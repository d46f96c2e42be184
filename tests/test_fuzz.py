"""Whatever is read from outside may be damaged: it is said by an error of ours, and nothing is lost in silence.

`python -m nox -s fuzz -- --minutes 10` looks for longer.
"""

import asyncio
import os
import socket
import threading
from contextlib import suppress

import bson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.dead_letters import DeadLetter, read_replay_mark
from rigatoni_core.api.errors import ChainError, DestinationError, ForeignObjectError, RigatoniError, StateStoreError
from rigatoni_core.api.events import Checkpoint, Gap, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.identity import Identity
from rigatoni_core.api.options import Secret
from rigatoni_core.api.records import dump_checkpoint, load_checkpoint
from rigatoni_core.cli.sockets import NoAnswerError, folder, running
from rigatoni_core.config import load_all
from rigatoni_core.plugins.catalog import Catalog
from rigatoni_mongodb.decoding import ChangeEventDecoder, token_document
from rigatoni_mongodb.source import MongoDBSource
from rigatoni_mongodb.testing.wire import Rewrite, ScriptedServer
from rigatoni_objects.records import BatchRecord, DefinitionRecord, ObjectRecord
from rigatoni_testing.batches import TestDecoder, batch_of, event_document
from rigatoni_testing.strategies import damaged

STREAM = Stream("p", "shop.orders")
POSITION = Position(ResumeToken('{"_data":"8265"}'), "f", Timestamp(1_700_000_000, 2), 3)
CHECKPOINT = dump_checkpoint(STREAM, Checkpoint(POSITION, 7, 2, (Gap("lost", POSITION, POSITION),)))
DEFINITION = DefinitionRecord(
    number=1,
    identity=Identity("rs0"),
    pipeline="p",
    stream="shop.orders",
    fingerprint="f",
    details={"watch": "shop.orders"},
    layout={"suffix": ".ndjson"},
    anchor=POSITION,
    gap=Gap("lost", None, POSITION),
)
BATCH = BatchRecord(
    definition=1,
    pipeline="p",
    stream="shop.orders",
    first=POSITION,
    end=POSITION,
    events=3,
    read=4,
    parts=(ObjectRecord("day=1/a.ndjson", 2, ((0, 1),)), ObjectRecord("day=2/a.ndjson", 1, ((2, 2),))),
)
EVENTS = [bson.encode(event_document(number)) for number in range(6)]
LETTER = DeadLetter.of(
    batch_of(EVENTS, stream=STREAM), 2, ValueError("odd"), plugin="rigatoni_json", attempt=1, redact=str
)


@given(damaged(CHECKPOINT))
def test_F4_a_damaged_checkpoint(content):
    with suppress(StateStoreError):
        assert load_checkpoint(STREAM, content, "record") == load_checkpoint(STREAM, CHECKPOINT, "record")


@given(damaged(DEFINITION.dump()))
def test_H3_a_damaged_definition(content):
    with suppress(ForeignObjectError, DestinationError):
        assert DefinitionRecord.parse(content, "record") == DEFINITION


@given(damaged(BATCH.dump(), BATCH.dump(compact=True)))
def test_H3_a_damaged_record_of_a_batch(content):
    with suppress(ForeignObjectError, ChainError, DestinationError):
        assert BatchRecord.parse(content, "record") == BATCH


@given(damaged(LETTER.document(TestDecoder()), LETTER.replay_mark(TestDecoder())))
def test_D5_a_damaged_dead_letter(content):
    try:
        document = bson.decode(content)
    except Exception:
        return  # a deserializer's part, below
    for read in (DeadLetter.read, read_replay_mark):
        with suppress(ValueError):
            assert read(document)


@given(damaged(*EVENTS))
def test_C6_a_damaged_event(content):
    decoder = ChangeEventDecoder()
    for read in (decoder.token_and_time, decoder.namespace, decoder.event):
        with suppress(ValueError):
            read(memoryview(content))


@given(
    damaged(POSITION.resume_token.encode(), b'{"_data":"82","_typeBits":{"$binary":{"base64":"AA==","subType":"00"}}}')
)
def test_F2_a_damaged_resume_token(content):
    with suppress(ValueError):
        assert isinstance(token_document(ResumeToken(content.decode("utf-8", "replace"))), dict)


PIPELINE = b"""\
[defaults]
batch_size = 200
[pipeline]
name = "p"
batch_bytes = "1 MiB"
batch_timeout = 0.2
on_failure = "stop"
[pipeline.retry]
max_retries = 3
[pipeline.source]
type = "mongodb"
uri = { env = "RIGATONI_FUZZ" }
watch = ["shop.orders", "shop.ord_*"]
start_at = "2020-01-01T00:00:00Z"
[pipeline.destination]
type = "local"
path = "lake"
serializer = { type = "zstd", inner = { type = "json" } }
partition_by = ["day"]
[pipeline.state]
type = "memory"
[pipeline.dead_letters]
type = "local"
path = "letters"
serializer = { type = "json" }
"""


@pytest.fixture(scope="module")
def catalog():
    return Catalog.discover()


@settings(deadline=None)
@given(content=damaged(PIPELINE))
def test_K1_a_damaged_configuration(catalog, tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_bytes(content)
    os.environ["RIGATONI_FUZZ"] = "mongodb://localhost/"
    with suppress(RigatoniError):
        assert load_all(path, catalog)


@settings(deadline=None)
@given(damaged(b'{"process": 1, "pipelines": [{"name": "p", "streams": []}]}'))
def test_a_damaged_response_of_a_running_process(tmp_path_factory, content):
    os.environ["RIGATONI_RUNTIME_DIR"] = str(tmp_path_factory.getbasetemp())
    path = folder() / f"{os.getpid()}.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        threading.Thread(target=_answer, args=(server, content), daemon=True).start()
        answers = list(running())
    assert len(answers) <= 1  # a socket that gives no status is ignored
    for number, answer in answers:
        assert number == os.getpid()
        assert isinstance(answer, (dict, NoAnswerError))


def _answer(server, content):
    connection, _ = server.accept()
    with connection:
        connection.sendall(content)


# a connection that the event loop's end cuts off while it is made or closed may be left to the garbage collector; this
# test is about events
@pytest.mark.filterwarnings("ignore:.*unclosed transport:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@settings(deadline=None)
@given(st.integers(0, 3), st.data())
def test_A13_F6_a_damaged_reply_silently_loses_nothing(at, data):
    """The stream tells all events, or ends with an error of ours.

    Bytes that change within a value (a letter of a text, or of a token) cannot be noticed: so the events are counted.
    """
    stopped: list[BaseException] = []  # hypothesis ends an example by an error, which the server's task would swallow

    def damage(reply):
        try:
            return data.draw(damaged(reply))
        except BaseException as error:
            stopped.append(error)
            return reply

    change = Rewrite(damage)

    async def main():
        async with ScriptedServer(events=EVENTS, script=[None] * at + [change], reply_events=3) as server:
            uri = f"{server.uri}&serverSelectionTimeoutMS=2000&socketTimeoutMS=2000"
            source = MongoDBSource(
                uri=Secret(uri), watch=["shop.orders"], max_await_time=0.05, start_at="2020-01-01T00:00:00Z"
            )
            count = 0
            async with asyncio.timeout(20), source:
                async for item in source.read(Stream("p", "shop.orders"), after=None):
                    if isinstance(item, EventBatch):
                        count += len(item)
                    if count >= len(EVENTS) or (isinstance(item, Heartbeat) and item.caught_up):
                        break
        return count

    with suppress(RigatoniError):
        count = asyncio.run(main())
        assert stopped or count == len(EVENTS)
    if stopped:
        raise stopped[0]
