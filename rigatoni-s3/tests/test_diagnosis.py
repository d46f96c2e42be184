"""What `rigatoni doctor` checks of a bucket: on a real store, and with responses as S3 sends them."""

from threading import BoundedSemaphore

import attrs
import boto3
import pytest
from botocore.stub import Stubber
from rigatoni_core.api.events import Stream
from rigatoni_core.api.settings import Settings
from rigatoni_s3.bucket import Bucket
from rigatoni_s3.diagnosis import Diagnosis
from rigatoni_s3.errors import S3UnavailableError
from rigatoni_s3.probing import PROBES

LIFECYCLE = "get_bucket_lifecycle_configuration"
VERSIONING, LOCK = "get_bucket_versioning", "get_object_lock_configuration"


@pytest.fixture
def stub():
    client = boto3.client("s3", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(client) as stubber:
        yield stubber


def diagnosis(stub, **changes):
    bucket = Bucket(client=stub.client, name="lake", permits=BoundedSemaphore(1))
    return Diagnosis(attrs.evolve(bucket, **changes), "raw/", {"team": "data"})


def rule(name="r", **changes):
    return {"ID": name, "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}, **changes}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "after 30 days"),
        ({"Filter": {"Prefix": "raw/p/"}}, "after 30 days"),
        ({"Filter": {"And": {"Prefix": "ra", "Tags": [{"Key": "team", "Value": "data"}]}}}, "after 30 days"),
        ({"Expiration": {}, "Transitions": [{"Days": 9, "StorageClass": "DEEP_ARCHIVE"}]}, "DEEP_ARCHIVE"),
        ({"Status": "Disabled"}, None),
        ({"Filter": {"Prefix": f"raw/{PROBES}"}}, None),
        ({"Filter": {"Prefix": "other/"}}, None),
        ({"Filter": {"Tag": {"Key": "team", "Value": "sales"}}}, None),
        ({"Expiration": {"ExpiredObjectDeleteMarker": True}}, None),
        ({"Expiration": {}, "Transitions": [{"Days": 9, "StorageClass": "STANDARD_IA"}]}, None),
    ],
)
def test_rules_that_delete_or_archive_objects_of_the_destination_are_named(stub, change, words):
    stub.add_response(LIFECYCLE, {"Rules": [rule(**change)]}, {"Bucket": "lake"})
    (finding,) = diagnosis(stub).lifecycle()
    assert finding.severity == ("ok" if words is None else "warning")
    assert words is None or (words in finding.seen and "rule r" in finding.seen and finding.remedy)


@pytest.mark.parametrize(
    ("status", "code", "severity"),
    [
        (404, "NoSuchLifecycleConfiguration", "ok"),
        (403, "AccessDenied", "not checked"),
        (501, "NotImplemented", "not checked"),
    ],
)
def test_rules_that_cannot_be_read_are_not_checked(stub, status, code, severity):
    stub.add_client_error(LIFECYCLE, code, http_status_code=status)
    (finding,) = diagnosis(stub).lifecycle()
    assert finding.severity == severity
    assert code != "AccessDenied" or "s3:GetLifecycleConfiguration" in finding.remedy


def test_a_store_that_is_down_is_an_error_of_the_check(stub):
    stub.add_client_error(LIFECYCLE, "InternalError", http_status_code=500)
    with pytest.raises(S3UnavailableError):
        diagnosis(stub).lifecycle()


def test_object_lock_needs_checksums(stub):
    for checksum, severities in (("CRC32", ["ok", "ok"]), (None, ["ok", "error"])):
        stub.add_response(VERSIONING, {"Status": "Enabled"}, {"Bucket": "lake"})
        stub.add_response(LOCK, {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}}, {"Bucket": "lake"})
        found = diagnosis(stub, checksum=checksum).versions_and_locks()
        assert [each.severity for each in found] == severities
    stub.add_response(VERSIONING, {}, {"Bucket": "lake"})
    stub.add_client_error(LOCK, "ObjectLockConfigurationNotFoundError", http_status_code=404)
    (finding,) = diagnosis(stub).versions_and_locks()
    assert "no versions" in finding.seen


async def test_a_real_bucket_can_be_checked(place, destination):
    store = destination()
    async with store:
        checks = store.checks(Settings(), {Stream("p", "shop.orders"): None})
        found = {name: await check() for name, check in checks.items()}
        assert {finding.severity for each in found.values() for finding in each} <= {"ok", "not checked"}
        assert found["object sizes"][0].figures == {"objects_per_day": 17_280}
        place.put(f"{PROBES}left", b"")
        (left,) = await checks["permissions"]()
    assert (left.severity, left.figures) == ("warning", {"leftovers": 1})


async def test_many_small_objects_are_a_warning(destination):
    store = destination(partition_by=["day"])
    async with store:
        checks = store.checks(Settings(batch_timeout=1.0), {Stream("p", name): None for name in ("a.b", "a.c")})
        (finding,) = await checks["object sizes"]()
    assert (finding.severity, finding.figures) == ("warning", {"objects_per_day": 172_800})
