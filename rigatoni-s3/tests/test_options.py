"""Options: as a configuration file spells them, and as they reach the store."""

import pytest
from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.api.options import Secret
from rigatoni_core.config import load
from rigatoni_core.plugins.catalog import Catalog
from rigatoni_s3.access import Access
from rigatoni_s3.destination import S3Destination
from rigatoni_s3.testing.proxy import FaultProxy
from rigatoni_testing.batches import START, STREAM, batch_of
from rigatoni_testing.serializers import TokenLines

MIB = 2**20
FILE = """\
[pipeline]
name = "p"
{settings}
[pipeline.source]
type = "mongodb"
uri = "mongodb://localhost/"
watch = ["shop.orders"]

[pipeline.destination]
type = "s3"
bucket = "lake"
serializer = {{ type = "json" }}
{options}

[pipeline.state]
type = "memory"
"""


def configured(tmp_path, *, settings="", options=""):
    (tmp_path / "pipeline.toml").write_text(FILE.format(settings=settings, options=options))
    loaded = load(tmp_path / "pipeline.toml", Catalog.discover())
    return loaded[0] if isinstance(loaded, tuple) else loaded


def test_batches_are_larger_unless_the_pipeline_says_otherwise(tmp_path):
    limits = configured(tmp_path).settings
    assert (limits.batch_size, limits.batch_bytes, limits.batch_timeout) == (100_000, 12 * MIB, 60.0)
    chosen = configured(tmp_path, settings='batch_timeout = 5.0\nmax_buffered_bytes = "10 MiB"').settings
    assert (chosen.batch_size, chosen.batch_bytes, chosen.batch_timeout) == (100_000, 10 * MIB, 5.0)


def test_small_files_are_warned_of(tmp_path):
    configuration = configured(tmp_path, settings="batch_timeout = 5.0")
    (advice,) = configuration.destination.advice(configuration.settings)
    assert "17,280" in advice
    assert configured(tmp_path).destination.advice(configured(tmp_path).settings) == ()


def test_the_options_of_multipart_uploads_are_read_and_warned_of(tmp_path):
    options = 'multipart_threshold = "64 MiB"\nmultipart_part_size = "16 MiB"'
    configuration = configured(tmp_path, options=options)
    assert [line.partition(" ")[0] for line in configuration.destination.advice(configuration.settings)] == [
        "multipart_threshold",
        "multipart_part_size",
    ]


def test_batches_that_no_put_takes_are_a_configuration_error(tmp_path):
    with pytest.raises(ConfigurationError, match="batch_bytes") as caught:
        configured(tmp_path, settings='batch_bytes = "6 GiB"')
    assert "5" in str(caught.value)


def test_conditional_put_takes_a_truth_value_or_auto(tmp_path):
    for text, value in (('"auto"', "auto"), ("true", True), ("false", False)):
        assert configured(tmp_path, options=f"conditional_put = {text}").destination.conditional_put == value
    with pytest.raises(ConfigurationError, match="conditional_put"):
        configured(tmp_path, options='conditional_put = "yes"')


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ('access_key_id = "a"', "set both"),
        ('sse_kms_key_id = "k"', "aws:kms"),
        ('sse = "rot13"', "AES256"),
        ('prefix = "a/../b"', "prefix"),
        ('partition_by = ["year"]', "partition_by"),
        ('partition_by = ["day"]\nfolder_template = "{date}"', "set one of them"),
        ("max_concurrent_uploads = 0", "max_concurrent_uploads"),
    ],
)
def test_invalid_options_are_refused(tmp_path, options, words):
    with pytest.raises(ConfigurationError, match=words):
        configured(tmp_path, options=options)


async def test_H9_encryption_class_tags_and_acl_go_with_every_object(destination, definition, event):
    """A sink accepts them: no server of the tests has a KMS."""
    with FaultProxy() as sink:
        options = {
            "sse": "aws:kms",
            "sse_kms_key_id": "alias/lake",
            "storage_class": "STANDARD_IA",
            "tags": {"team": "data & more"},
            "acl": "bucket-owner-full-control",
            "serializer": TokenLines(),
        }
        async with destination(endpoint_url=sink.endpoint_url, **options) as it:
            await it.begin(STREAM, definition, START)
            await it.write_batch(batch_of([event(0)]))
    (request,) = sink.seen("PUT", ".txt")
    wanted = {
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "alias/lake",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-tagging": "team=data+%26+more",
        "x-amz-acl": "bucket-owner-full-control",
        "content-type": "text/plain",
    }
    assert {name: request.headers.get(name) for name in wanted} == wanted


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256", "none"])
async def test_H9_checksums_are_verified_by_the_store_and_the_body_is_not_wrapped(
    place, destination, definition, event, proxy, algorithm
):
    async with destination(endpoint_url=proxy.endpoint_url, checksum_algorithm=algorithm) as it:
        await it.begin(STREAM, definition, START)
        await it.write_batch(batch_of([event(0)]))
    (request,) = proxy.seen("PUT", ".txt")
    assert "content-encoding" not in request.headers
    assert (f"x-amz-checksum-{algorithm.lower()}" in request.headers) == (algorithm != "none")
    assert len(place.written()) == 1


@pytest.mark.parametrize("path_style", [True, False])
def test_H9_path_style_and_endpoint(path_style):
    access = Access(
        endpoint_url="http://store.example:9000",
        region="eu-central-1",
        path_style=path_style,
        access_key_id="a",
        secret_access_key=Secret("s"),
    )
    url = access.client().generate_presigned_url("get_object", Params={"Bucket": "lake", "Key": "k"})
    assert url.startswith("http://store.example:9000/lake/k?" if path_style else "http://lake.store.example:9000/k?")


def test_a_role_is_assumed_with_its_external_id_only_when_it_is_needed(monkeypatch):
    """A sink plays the security token service: no server of the tests has one."""
    asked = []

    class Service:
        def assume_role(self, **arguments):
            asked.append(arguments)
            keys = {"AccessKeyId": "role-key", "SecretAccessKey": "s", "SessionToken": "t"}
            return {"Credentials": {**keys, "Expiration": "2100-01-01T00:00:00Z"}}

    access = Access(
        region="eu-central-1",
        access_key_id="a",
        secret_access_key=Secret("s"),
        role_arn="arn:aws:iam::1:role/lake",
        role_external_id="external",
    )
    monkeypatch.setattr("botocore.session.Session.create_client", _only("sts", Service()))
    client = access.client()
    assert asked == []
    assert client._request_signer._credentials.access_key == "role-key"
    assert asked == [{"RoleArn": "arn:aws:iam::1:role/lake", "RoleSessionName": "rigatoni", "ExternalId": "external"}]


def _only(name, service):
    from botocore.session import Session

    real = Session.create_client

    def create_client(self, service_name, *rest, **options):
        return service if service_name == name else real(self, service_name, *rest, **options)

    return create_client


def test_K3_Z19_secrets_are_in_no_repr(place, serializer):
    options = place.options(
        serializer=serializer, secret_access_key=Secret("sentinel"), session_token=Secret("sentinel")
    )
    assert "sentinel" not in repr(S3Destination(**options))
