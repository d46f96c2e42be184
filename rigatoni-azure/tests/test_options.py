"""Options: as a configuration file spells them, and as they reach the store."""

import pytest
from azure.core.credentials import AzureSasCredential
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobClient
from rigatoni_azure.access import Access
from rigatoni_azure.destination import AzureDestination
from rigatoni_azure.errors import AzureAccessError
from rigatoni_core.api.options import Secret
from rigatoni_testing.batches import START, STREAM, batch_of
from rigatoni_testing.serializers import TokenLines


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"account_key": Secret("k"), "sas_token": Secret("t"), "account": "a"}, "set one of them"),
        ({"account": ""}, "account"),
        ({"account": "a", "prefix": "a/../b"}, "prefix"),
        ({"account": "a", "tags": {str(number): "" for number in range(11)}}, "tags"),
    ],
)
def test_invalid_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        AzureDestination(**{"container": "lake", "serializer": TokenLines(), **options})


@pytest.mark.parametrize("algorithm", ["MD5", "none"])
async def test_tier_scope_tags_and_checksum_go_with_every_blob(
    place, destination, definition, event, monkeypatch, algorithm
):
    sent, real = [], BlobClient.upload_blob

    def upload(client, data, **options):
        sent.append(options)
        unknown = ("encryption_scope",)  # to the emulator
        return real(client, data, **{name: value for name, value in options.items() if name not in unknown})

    monkeypatch.setattr(BlobClient, "upload_blob", upload)
    options = {"access_tier": "Cool", "encryption_scope": "scope", "tags": {"team": "data"}}
    async with destination(checksum_algorithm=algorithm, **options) as it:
        await it.begin(STREAM, definition, START)
        await it.write_batch(batch_of([event(0)]))
    for each in sent:
        assert (each["standard_blob_tier"], each["encryption_scope"], each["tags"]) == (
            "Cool",
            "scope",
            {"team": "data"},
        )
        assert each["overwrite"] is False
        assert each.get("validate_content", False) == (algorithm == "MD5")


def test_the_endpoint_and_the_credentials_follow_from_the_options():
    chain = Access(container="lake", account="name").client()
    assert chain.url == "https://name.blob.core.windows.net/lake"
    assert isinstance(chain.credential, DefaultAzureCredential)
    token = Access(container="lake", account="name", sas_token=Secret("sig=s")).client()
    assert isinstance(token.credential, AzureSasCredential)
    text = "DefaultEndpointsProtocol=https;AccountName=name;AccountKey=a2V5;EndpointSuffix=core.windows.net"
    assert Access(container="lake", connection_string=Secret(text)).client().account_name == "name"
    for client in (chain, token):
        client.close()


async def test_a_malformed_connection_string_is_an_error_that_does_not_quote_it():
    secret = Secret("sentinel")
    destination = AzureDestination(container="lake", account="a", serializer=TokenLines(), connection_string=secret)
    with pytest.raises(AzureAccessError) as caught:
        async with destination:
            pass
    assert "sentinel" not in str(caught.value) + caught.value.remedy


def test_secrets_are_in_no_repr():
    for option in ("account_key", "sas_token", "connection_string"):
        options = {"account": "a", option: Secret("sentinel")}
        assert "sentinel" not in repr(AzureDestination(container="lake", serializer=TokenLines(), **options))
