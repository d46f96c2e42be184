"""Faults between the destination and a real server, injected by a proxy: no event is lost or duplicated."""

import asyncio
import contextlib

import attrs
import pytest
from botocore.exceptions import ClientError
from rigatoni_core.api.events import Stream
from rigatoni_core.api.options import Secret
from rigatoni_objects.errors import StoreConflictError
from rigatoni_s3.errors import (
    S3AccessError,
    S3BucketError,
    S3ConflictError,
    S3Error,
    S3ThrottledError,
    S3UnavailableError,
    translated,
)
from rigatoni_s3.testing.proxy import Response
from rigatoni_testing.batches import START, STREAM, batch_of
from rigatoni_testing.serializers import TokenLines

MIB = 2**20


def tokens_of(batch):
    return [batch.token_and_time(index)[0] for index in range(len(batch))]


@pytest.fixture
def through(destination, proxy):
    """Make a destination that connects to the server through the proxy."""
    return lambda **options: destination(endpoint_url=proxy.endpoint_url, **options)


@pytest.fixture
def large(through):
    """Make a destination whose objects are 11 MiB."""
    return lambda **options: through(serializer=TokenLines(padding=4 * MIB), **options)


async def persistently(destination, batch, attempts=4):
    """Retry after each transient error, as core does; return the number of attempts."""
    for attempt in range(1, attempts + 1):
        try:
            assert await destination.write_batch(batch) is None
            return attempt
        except S3Error as error:
            if not error.transient:
                raise
    raise AssertionError(f"not written after {attempts} attempts")


@pytest.mark.parametrize(
    ("response", "kind", "hint"),
    [
        (Response(503, "SlowDown", {"Retry-After": "7"}), S3ThrottledError, 7.0),
        (Response(429, "TooManyRequests"), S3ThrottledError, None),
        (Response(500, "InternalError"), S3UnavailableError, None),
        (Response(409, "ConditionalRequestConflict"), S3ConflictError, None),
    ],
    ids=lambda value: getattr(value, "code", None),
)
async def test_H4_temporary_errors_are_transient_and_carry_the_stores_retry_hint(
    place, through, proxy, definition, event, response, kind, hint
):
    batch = batch_of(event(number) for number in range(3))
    async with through() as it:
        await it.begin(STREAM, definition, START)
        proxy.on("PUT", ".txt", response, times=2)
        with pytest.raises(kind) as caught:
            await it.write_batch(batch)
        assert caught.value.transient
        assert caught.value.retry_after == hint
        assert place.bucket in str(caught.value)
        assert await persistently(it, batch) == 2
    assert list(place.written().values()) == [tokens_of(batch)]


@pytest.mark.parametrize(
    ("response", "kind", "words"),
    [
        (Response(403, "AccessDenied"), S3AccessError, "s3:PutObject"),
        (Response(403, "InvalidAccessKeyId"), S3AccessError, "access key id"),
        (Response(403, "SignatureDoesNotMatch"), S3AccessError, "secret access key"),
        (Response(400, "ExpiredToken"), S3AccessError, "Renew"),
        (Response(403, "RequestTimeTooSkewed"), S3AccessError, "clock"),
        (Response(404, "NoSuchBucket"), S3BucketError, "Create the bucket"),
        (Response(400, "KMS.NotFoundException"), S3AccessError, "sse_kms_key_id"),
        (Response(400, "InvalidStorageClass"), S3Error, "store's message"),
    ],
    ids=lambda value: getattr(value, "code", None),
)
async def test_H4_what_stays_fails_at_once_and_names_bucket_action_and_remedy(
    place, through, proxy, definition, event, response, kind, words
):
    async with through() as it:
        await it.begin(STREAM, definition, START)
        proxy.on("PUT", ".txt", response)
        with pytest.raises(kind) as caught:
            await it.write_batch(batch_of([event(0)]))
    assert not caught.value.transient
    assert words in caught.value.remedy
    assert f"s3://{place.bucket}" in str(caught.value)
    assert "PutObject" in str(caught.value)
    assert len(proxy.seen("PUT", ".txt")) == 1  # boto did not retry


@pytest.mark.parametrize("options", [{}, {"partition_by": ("field:_id",)}])
async def test_H4_Z10_a_put_whose_answer_was_lost_counts_as_written(place, through, proxy, definition, event, options):
    batch = batch_of(event(number) for number in range(3))
    async with through(**options) as it:
        await it.begin(STREAM, definition, START)
        proxy.on("PUT", "1700000000", "lose response")
        with pytest.raises(S3UnavailableError):
            await it.write_batch(batch)
        puts = len(proxy.seen("PUT", ".txt"))
        assert await it.write_batch(batch) is None
        assert len(proxy.seen("PUT", ".txt")) == puts + (0 if not options else 3)
    assert sorted(token for tokens in place.written().values() for token in tokens) == sorted(tokens_of(batch))


async def test_H4_a_put_that_is_refused_for_its_own_object_counts_as_written(place, through, proxy, definition, event):
    """The client library lost the response and retried: 412 for the object that it has just written."""
    batch = batch_of([event(0)])

    def stored_before(request):
        metadata = {name[11:]: text for name, text in request.headers.items() if name.startswith("x-amz-meta-")}
        place.client.put_object(
            Bucket=place.bucket,
            Key=request.path.partition(f"/{place.bucket}/")[2],
            Body=request.body,
            Metadata=metadata,
        )

    async with through() as it:
        await it.begin(STREAM, definition, START)
        proxy.on("PUT", ".txt", stored_before)
        assert await it.write_batch(batch) is None
    assert list(place.written().values()) == [tokens_of(batch)]


async def test_H4_a_lead_that_is_in_the_way_and_then_gone_is_put_again(place, through, proxy, definition, event):
    batch = batch_of([event(0)])
    async with through() as it:
        await it.begin(STREAM, definition, START)
        proxy.on("PUT", ".txt", Response(412, "PreconditionFailed"))
        assert await it.write_batch(batch) is None
        proxy.on("PUT", "1700000000", Response(412, "PreconditionFailed"), times=3)
        with pytest.raises(StoreConflictError):
            await it.write_batch(batch_of([event(1)], after=batch.end))
    assert list(place.written().values()) == [tokens_of(batch)]


async def test_H4_half_a_body_is_no_object(place, through, proxy, definition, event):
    batch = batch_of(event(number) for number in range(20))
    async with through() as it:
        await it.begin(STREAM, definition, START)
        proxy.on("PUT", ".txt", "cut body", times=2)
        assert await persistently(it, batch) == 3
    assert list(place.written().values()) == [tokens_of(batch)]


async def test_a_definition_whose_answer_was_lost_is_in_force(through, proxy, definition):
    async with through() as it:
        proxy.on("PUT", "definition-0", "lose response")
        with pytest.raises(S3UnavailableError):
            await it.begin(STREAM, definition, START)
        assert await it.begin(STREAM, definition, START) == START


@pytest.mark.parametrize("fault", ["hang", "lose response"])
async def test_G4_a_hung_upload_holds_up_its_own_stream_only_and_ends_by_itself(
    place, through, proxy, definition, event, fault
):
    other_stream = attrs.evolve(STREAM, name="shop.users")
    batch, others = batch_of([event(0)]), batch_of([event(1)], stream=other_stream)
    async with through(read_timeout=1.0) as it:
        for stream in (STREAM, other_stream):
            await it.begin(stream, definition, START)
        proxy.on("PUT", f"/{STREAM.key}/", fault)
        hung = asyncio.create_task(it.write_batch(batch))
        while not proxy.seen("PUT", f"/{STREAM.key}/1700"):
            await asyncio.sleep(0.01)
        assert await it.write_batch(others) is None
        with pytest.raises(S3UnavailableError):
            await hung
        assert await it.write_batch(batch) is None
    assert len(place.written()) == 2


async def test_an_abandoned_attempt_that_ends_late_does_no_harm(place, through, proxy, definition, event):
    batch = batch_of([event(0)])
    held = asyncio.Event()
    loop = asyncio.get_running_loop()

    def late(_):
        asyncio.run_coroutine_threadsafe(held.wait(), loop).result(10)

    async with through() as it:
        await it.begin(STREAM, definition, START)
        proxy.on("PUT", ".txt", late)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await it.write_batch(batch)
                raise AssertionError("it was to be abandoned")
        again = asyncio.create_task(it.write_batch(batch))
        held.set()
        assert await again is None
    assert list(place.written().values()) == [tokens_of(batch)]


async def test_uploads_of_several_streams_go_on_at_once_and_are_bounded(through, proxy, definition, event):
    streams = [Stream("lake", f"shop.c{number}") for number in range(6)]
    async with through(max_concurrent_uploads=2, read_timeout=1.5) as it:
        for stream in streams:
            await it.begin(stream, definition, START)
        proxy.on("PUT", ".txt", "hang", times=6)
        writes = [asyncio.create_task(it.write_batch(batch_of([event(0)], stream=stream))) for stream in streams]
        while len(proxy.seen("PUT", ".txt")) < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert len(proxy.seen("PUT", ".txt")) == 2
        proxy.calm()
        results = await asyncio.gather(*writes, return_exceptions=True)
    assert sum(isinstance(result, S3UnavailableError) for result in results) == 2
    assert results.count(None) == 4


async def test_a_large_object_is_one_conditional_put_and_the_second_writer_ends_where_the_first_did(
    place, large, proxy, definition, event
):
    """A batch has one arbiter: completing a multipart upload would be another (some stores let two succeed)."""
    whole = batch_of(event(number) for number in range(5))
    async with large() as it, large() as other:
        for one in (it, other):
            await one.begin(STREAM, definition, START)
        ends = await asyncio.gather(it.write_batch(whole[:4]), other.write_batch(whole[:2]))
    winner = whole[:4] if ends[0] is None else whole[:2]
    assert ends in ([None, winner.end], [winner.end, None])
    assert list(place.written().values()) == [tokens_of(winner)]
    assert {request.headers["if-none-match"] for request in proxy.seen("PUT", ".txt")} == {"*"}
    assert not proxy.seen("POST", "uploads")


async def test_H4_wrong_keys_fail_at_once_without_the_secret_in_the_message(place, destination, definition):
    async with destination(access_key_id="nobody", secret_access_key=Secret("sentinel-secret")) as it:
        with pytest.raises(S3AccessError) as caught:
            await it.begin(STREAM, definition, START)
    assert "sentinel-secret" not in str(caught.value) + caught.value.remedy + repr(it)


def test_H4_a_bucket_in_another_region_is_named():
    """boto follows redirects with a location; this is the error for one without."""
    response = {"Error": {"Code": "PermanentRedirect"}, "ResponseMetadata": {"HTTPStatusCode": 301}}
    with pytest.raises(S3BucketError, match="lake") as caught, translated("lake"):
        raise ClientError(response, "PutObject")
    assert "region" in caught.value.remedy


async def test_H4_a_bucket_that_is_not_there_is_named(destination, definition):
    async with destination(bucket="nowhere") as it:
        with pytest.raises(S3BucketError, match="nowhere"):
            await it.begin(STREAM, definition, START)
