"""Faults between the destination and the emulator: no event is lost or duplicated, and errors name what to change."""

import pytest
from azure.core.exceptions import ServiceResponseError
from azure.storage.blob import BlobClient
from rigatoni_azure import destination as module
from rigatoni_azure.errors import AzureAccessError, AzureContainerError, AzureUnavailableError
from rigatoni_core.api.errors import ForeignObjectError
from rigatoni_core.api.options import Secret
from rigatoni_testing.batches import START, STREAM, batch_of
from rigatoni_testing.servers import free_port


def tokens_of(batch):
    return [batch.token_and_time(index)[0] for index in range(len(batch))]


async def test_an_upload_whose_response_was_lost_counts_as_written(place, destination, definition, event, monkeypatch):
    batch = batch_of(event(number) for number in range(3))
    real, lost = BlobClient.upload_blob, []

    def upload(client, data, **options):
        real(client, data, **options)
        if client.blob_name.endswith(".txt") and not lost:
            lost.append(client.blob_name)
            raise ServiceResponseError("the response was lost")

    async with destination() as it:
        await it.begin(STREAM, definition, START)
        monkeypatch.setattr(BlobClient, "upload_blob", upload)
        with pytest.raises(AzureUnavailableError):
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


async def test_a_missing_container_is_named_at_the_start(destination):
    with pytest.raises(AzureContainerError) as caught:
        async with destination(container="missing"):
            pass
    assert "Create the container missing" in caught.value.remedy


async def test_a_store_that_cannot_be_reached_is_transient(destination):
    with pytest.raises(AzureUnavailableError) as caught:
        async with destination(endpoint_url=f"http://127.0.0.1:{free_port()}"):
            pass
    assert caught.value.transient


async def test_a_wrong_key_is_denied_and_hidden(destination):
    wrong = Secret("c2VudGluZWw=")
    with pytest.raises(AzureAccessError) as caught:
        async with destination(account_key=wrong):
            pass
    assert wrong.reveal() not in str(caught.value) + caught.value.remedy


@pytest.mark.parametrize(
    ("listed", "ordered"),
    [(["b/2"], True), (["a/2", "b/2"], False), ([], False)],
    ids=["supported", "ignored", "unsupported: nothing"],
)
async def test_listings_start_at_a_name_only_where_the_store_supports_it(
    destination, definition, event, monkeypatch, listed, ordered
):
    """Azurite ignores `startFrom`; the other responses are those of the service and of OneLake."""
    client = module.Access.client

    def patched(access):
        made = client(access)
        real = made.list_blob_names

        def names(*, name_starts_with=None, start_from=None, **options):
            if start_from and "_rigatoni-probe/" in start_from:
                return iter([f"{name_starts_with}{name}" for name in listed])
            return real(name_starts_with=name_starts_with, **options)

        made.list_blob_names = names
        return made

    monkeypatch.setattr(module.Access, "client", patched)
    whole = batch_of(event(number) for number in range(4))
    async with destination() as it:
        assert it.store("p").ordered is ordered
        await it.begin(STREAM, definition, START)
        await it.write_batch(whole[:2])
        await it.write_batch(whole[2:])
        assert await it.last_committed(STREAM) == whole.end
