"""Options: as a configuration file spells them, and as they reach the store."""

import json

import google.auth
import pytest
from google.auth import impersonated_credentials
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession
from rigatoni_core.api.options import Secret
from rigatoni_gcs.access import SCOPE, Access
from rigatoni_gcs.destination import GcsDestination
from rigatoni_testing.batches import START, STREAM, batch_of
from rigatoni_testing.serializers import TokenLines


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"credentials_file": "f", "credentials_json": Secret("{}")}, "set one of them"),
        ({"anonymous": True, "impersonate": "a@b"}, "anonymous"),
        ({"prefix": "a/../b"}, "prefix"),
        ({"bucket": ""}, "bucket"),
        ({"max_concurrent_uploads": 0}, "max_concurrent_uploads"),
    ],
)
def test_invalid_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        GcsDestination(**{"bucket": "lake", "serializer": TokenLines(), **options})


@pytest.mark.parametrize("algorithm", ["CRC32C", "MD5", "none"])
async def test_key_class_project_and_checksum_go_with_every_object(
    place, destination, definition, event, monkeypatch, algorithm
):
    sent, real = [], AuthorizedSession.request

    def request(session, method, url, **options):
        if method == "POST" and "/upload/" in url:
            sent.append((options["params"], json.loads(options["data"].split(b"\r\n")[3])))
            options["params"] = {name: value for name, value in options["params"].items() if name != "kmsKeyName"}
        return real(session, method, url, **options)

    monkeypatch.setattr(AuthorizedSession, "request", request)
    options = {"kms_key_name": "projects/p/k", "storage_class": "NEARLINE", "user_project": "payer"}
    async with destination(checksum_algorithm=algorithm, **options) as it:
        await it.begin(STREAM, definition, START)
        await it.write_batch(batch_of([event(0)]))
    for parameters, properties in sent:
        assert parameters["ifGenerationMatch"] == "0"
        assert (parameters["kmsKeyName"], parameters["userProject"]) == ("projects/p/k", "payer")
        assert properties["storageClass"] == "NEARLINE"
        assert ("crc32c" in properties, "md5Hash" in properties) == (algorithm == "CRC32C", algorithm == "MD5")


def test_credentials_come_from_the_default_chain_with_the_least_scope(monkeypatch):
    asked = []
    monkeypatch.setattr(
        google.auth, "default", lambda scopes: (asked.append(scopes), (AnonymousCredentials(), None))[1]
    )
    Access().session()
    session = Access(impersonate="writer@p.iam.gserviceaccount.com").session()
    assert isinstance(session.credentials, impersonated_credentials.Credentials)
    assert asked == [[SCOPE], ["https://www.googleapis.com/auth/cloud-platform"]]


def test_secrets_are_in_no_repr(place):
    destination = GcsDestination(bucket="lake", serializer=TokenLines(), credentials_json=Secret("sentinel"))
    assert "sentinel" not in repr(destination)
