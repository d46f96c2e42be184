"""The destination on an emulator of Cloud Storage and a scripted BigQuery: what is written is loaded."""

import asyncio

import pytest
from google.auth.transport.requests import AuthorizedSession
from rigatoni_bigquery import loader
from rigatoni_bigquery.errors import BigQueryAccessError, BigQueryDatasetError, BigQueryLoadError
from rigatoni_core.api.events import Position, ResumeToken, Stream, Timestamp
from rigatoni_json.serializer import JsonSerializer
from rigatoni_testing.batches import batch_of

STREAM = Stream("p", "shop.orders")


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(loader, "POLL", 0.02)


async def begun(destination, definition, stream=STREAM):
    destination._loader._poll = 0.02
    destination._pace.interval = 0.0
    anchor = Position(ResumeToken("anchor"), definition.fingerprint, Timestamp(1, 1))
    return await destination.begin(stream, definition, anchor)


async def until(condition):
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen in 10 s")


def keys(server, table="shop_orders"):
    return [uri.rpartition("/")[2] for uri in server.tables[table]]


async def test_what_is_written_is_loaded_by_and_by_each_object_once(destination, definition, server, event):
    async with destination() as opened:
        await begun(opened, definition)
        first = batch_of([event(number) for number in range(3)], stream=STREAM)
        await opened.write_batch(first)
        await opened.write_batch(batch_of([event(number) for number in range(3, 6)], stream=STREAM, after=first.end))
        await until(lambda: len(keys(server)) == 2)
    assert keys(server) == sorted(keys(server))
    (load,) = {job["configuration"]["load"]["sourceFormat"] for job in server.jobs.values()}
    assert load == "PARQUET"
    async with destination() as again:
        await begun(again, definition)
        await again.write_batch(batch_of([event(6)], stream=STREAM))
        await until(lambda: len(keys(server)) == 3)
    assert len(set(keys(server))) == 3


async def test_objects_of_a_stream_that_is_no_longer_watched_are_loaded(destination, definition, server, event):
    old, new = Stream("p", "shop.old"), Stream("p", "shop.new")
    server.looks = 10**6
    async with destination() as opened:
        await begun(opened, definition, old)
        await opened.write_batch(batch_of([event(1)], stream=old))
    assert not keys(server, "shop_old")
    server.looks = 0
    async with destination() as opened:
        await begun(opened, definition, new)
        await until(lambda: len(keys(server, "shop_old")) == 1)


async def test_a_load_that_fails_for_good_stops_the_worker_at_its_next_batch(destination, definition, server, event):
    server.failures = [("invalid", "Provided Schema does not match Table acme:lake.shop_orders")]
    async with destination() as opened:
        await begun(opened, definition)
        await opened.write_batch(batch_of([event(1)], stream=STREAM))
        await until(lambda: opened._loader._entries[STREAM.key].error)
        with pytest.raises(BigQueryLoadError, match="Provided Schema does not match"):
            await opened.write_batch(batch_of([event(2)], stream=STREAM))
        await begun(opened, definition)  # the worker is started again, after the table was corrected
        await opened.write_batch(batch_of([event(2)], stream=STREAM))
        await until(lambda: len(keys(server)) == 2)


async def test_a_damaged_record_of_a_load_stops_its_own_stream_only(
    destination, definition, server, event, gcs, options
):
    other = Stream("p", "shop.users")
    server.looks = 10**6
    async with destination() as opened:
        await begun(opened, definition)
        await opened.write_batch(batch_of([event(1)], stream=STREAM))
        await until(lambda: server.inserted)
    bucket = gcs.client().bucket("lake")
    (record,) = bucket.list_blobs(prefix=f"{options['prefix']}/{STREAM.key}/_rigatoni/loads/")
    bucket.blob(record.name).upload_from_string(b"no JSON")
    server.looks = 0
    async with destination() as opened:
        opened._loader.add(STREAM)
        await until(lambda: opened._loader._entries[STREAM.key].error)
        await begun(opened, definition, other)
        await opened.write_batch(batch_of([event(2)], stream=other))
        await until(lambda: len(keys(server, "shop_users")) == 1)
        with pytest.raises(ValueError, match="Expecting value"):
            await opened.write_batch(batch_of([event(2)], stream=STREAM))


async def test_what_was_opened_is_closed_if_bigquery_refuses(destination, monkeypatch):
    closed = set()

    def close(session):
        closed.add(session)

    monkeypatch.setattr(AuthorizedSession, "close", close)
    refused = destination(dataset="other")
    with pytest.raises(BigQueryDatasetError):
        await refused.__aenter__()
    assert refused._bucket.session in closed


async def test_rows_of_snapshots_are_loaded_into_the_streams_table(destination, definition, server, event):
    chunks = STREAM.snapshot_range(1, 0)
    async with destination() as opened:
        assert opened.table_of(chunks) == opened.table_of(STREAM) == "shop_orders"
        await begun(opened, definition)
        await begun(opened, definition, chunks)
        await opened.write_batch(batch_of([event(1)], stream=chunks))
        await until(lambda: len(keys(server)) == 1)


async def test_a_dataset_that_does_not_exist_and_a_missing_permission_are_errors_at_the_start(destination, server):
    with pytest.raises(BigQueryDatasetError, match=r"acme\.other"):
        async with destination(dataset="other"):
            pass
    server.refusals = [(403, "accessDenied")]
    with pytest.raises(BigQueryAccessError) as raised:
        async with destination():
            pass
    assert "bigquery.datasets.get" in raised.value.remedy


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"serializer": JsonSerializer()}, "serializer must be"),
        ({"partition_by": ["day"]}, "partitioned by day"),
        ({"table": "{database}"}, r"\{database\} is unknown"),
        ({"table": "a b"}, "table may contain"),
        ({"load_interval": 60.0}, "120"),
    ],
)
def test_options_that_cannot_work_are_refused(destination, more, words):
    with pytest.raises(ValueError, match=words):
        destination(**more)


def test_names_of_tables(destination):
    assert destination().table_of(Stream("p", "shop.*")) == "shop_all"
    assert destination(table="{pipeline}-{stream}").table_of(Stream("a b", "shop.o")) == "a_b-shop_o"
