"""Faults between the destination and the emulator: no event is lost or duplicated, and errors name what to change."""

import pytest
import requests
from google.auth.transport.requests import AuthorizedSession
from rigatoni_core.api.errors import ForeignObjectError
from rigatoni_gcs.errors import GcsBucketError, GcsUnavailableError
from rigatoni_testing.batches import START, STREAM, batch_of
from rigatoni_testing.servers import free_port


def tokens_of(batch):
    return [batch.token_and_time(index)[0] for index in range(len(batch))]


async def test_an_upload_whose_response_was_lost_counts_as_written(place, destination, definition, event, monkeypatch):
    batch = batch_of(event(number) for number in range(3))
    real, lost = AuthorizedSession.request, []

    def request(session, method, url, **options):
        response = real(session, method, url, **options)
        if method == "POST" and b".txt" in (options.get("data") or b"") and not lost:
            lost.append(url)
            raise requests.ConnectionError("the response was lost")
        return response

    async with destination() as it:
        await it.begin(STREAM, definition, START)
        monkeypatch.setattr(AuthorizedSession, "request", request)
        with pytest.raises(GcsUnavailableError):
            await it.write_batch(batch)
        assert await it.write_batch(batch) is None
    assert lost
    assert list(place.written().values()) == [tokens_of(batch)]


async def test_a_lost_state_store_resumes_from_the_newest_end(destination, definition, event):
    whole = batch_of(event(number) for number in range(4))
    async with destination() as it:
        await it.begin(STREAM, definition, START)
        await it.write_batch(whole[:2])
        await it.write_batch(whole[2:])
    async with destination() as it:
        assert await it.last_committed(STREAM) == whole.end


async def test_a_foreign_object_under_the_name_of_a_batch_stays(place, destination, definition, event):
    batch = batch_of([event(0)])
    async with destination() as it:
        await it.begin(STREAM, definition, START)
        await it.write_batch(batch)
        (key,) = place.written()
        place.delete(key)
        place.put(key, b"foreign")
    async with destination() as it:
        await it.begin(STREAM, definition, START)
        with pytest.raises(ForeignObjectError):
            await it.write_batch(batch)
    assert place.get(key) == b"foreign"


async def test_a_missing_bucket_is_named_at_the_start(destination):
    with pytest.raises(GcsBucketError) as caught:
        async with destination(bucket="missing"):
            pass
    assert "Create the bucket missing" in caught.value.remedy


async def test_a_store_that_cannot_be_reached_is_transient(destination):
    with pytest.raises(GcsUnavailableError) as caught:
        async with destination(endpoint_url=f"http://127.0.0.1:{free_port()}"):
            pass
    assert caught.value.transient
