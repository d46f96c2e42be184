"""The probes at the start: permissions, and whether the store supports atomic conditional puts."""

import pytest
from rigatoni_core.api.contracts import Delivery
from rigatoni_core.api.events import Definition
from rigatoni_s3.destination import S3Destination
from rigatoni_s3.errors import S3AccessError, S3BucketError, S3UnsupportedError
from rigatoni_s3.testing.proxy import Response
from rigatoni_testing.batches import START, STREAM, batch_of


@pytest.fixture
def probing(place, serializer):
    """Make a destination that probes, as in production."""
    return lambda **options: S3Destination(**place.options(**{"serializer": serializer, **options}))


async def test_a_store_with_conditional_put_gives_the_full_guarantee_and_no_probe_stays(place, probing):
    async with probing(conditional_put="auto") as it:
        metadata = it.metadata()
    assert metadata.delivery is Delivery.EFFECTIVELY_ONCE
    assert "one site" in metadata.conditions[0]
    assert list(place) == []


async def test_without_conditional_put_names_are_looked_for_first_and_the_level_says_so(place, probing, proxy, event):
    async with probing(endpoint_url=proxy.endpoint_url, conditional_put=False) as it:
        metadata = it.metadata()
        assert metadata.delivery is Delivery.SINGLE_WRITER_ONCE
        assert "conditional_put is off" in metadata.conditions[0]
        await it.begin(STREAM, Definition("f", {}), START)
        whole = batch_of(event(number) for number in range(4))
        assert await it.write_batch(whole[:2]) is None
        assert await it.begin(STREAM, Definition("f", {}), START) == START
        assert await it.write_batch(whole[:3]) == whole[:2].end
        assert await it.write_batch(whole[2:]) is None
    assert not [request for request in proxy.requests if "if-none-match" in request.headers]
    assert [token for tokens in place.written().values() for token in tokens] == [
        whole.token_and_time(n)[0] for n in range(4)
    ]


@pytest.mark.parametrize(("conditional_put", "raised"), [("auto", False), (True, True)])
async def test_a_race_that_everybody_wins_is_no_conditional_put(probing, proxy, conditional_put, raised):
    """A fake, since no server of the tests ignores the header: it responds to the racing puts as such a store would."""
    proxy.on("PUT", "_rigatoni-probe", lambda request: None)  # the first put belongs to the probe of permissions
    proxy.on("PUT", "_rigatoni-probe", Response(200, "", {"ETag": '"1"'}), times=5)
    it = probing(endpoint_url=proxy.endpoint_url, conditional_put=conditional_put)
    if raised:
        with pytest.raises(S3UnsupportedError, match="If-None-Match") as caught:
            await it.__aenter__()
        assert "auto" in caught.value.remedy
    else:
        async with it:
            assert it.metadata().delivery is Delivery.SINGLE_WRITER_ONCE
            assert "no atomic conditional put" in it.metadata().conditions[0]


async def test_a_store_that_refuses_the_header_has_no_conditional_put(probing, proxy):
    proxy.on("PUT", "_rigatoni-probe", lambda request: None)
    proxy.on("PUT", "_rigatoni-probe", Response(501, "NotImplemented"), times=5)
    async with probing(endpoint_url=proxy.endpoint_url, conditional_put="auto") as it:
        assert it.metadata().delivery is Delivery.SINGLE_WRITER_ONCE


@pytest.mark.parametrize(
    ("method", "part", "action"),
    [
        ("GET", "list-type=2", "s3:ListBucket"),
        ("PUT", "_rigatoni-probe", "s3:PutObject"),
        ("HEAD", "_rigatoni-probe", "s3:GetObject"),
        ("GET", "_rigatoni-probe/", "s3:GetObject"),
    ],
)
async def test_a_missing_right_is_named_at_the_start(place, probing, proxy, method, part, action):
    if part == "_rigatoni-probe/":  # the listing also has the folder in its path
        proxy.on("GET", "list-type=2", lambda request: None)
    proxy.on(method, part, Response(403, "AccessDenied" if method != "HEAD" else ""))
    with pytest.raises(S3AccessError) as caught:
        await probing(endpoint_url=proxy.endpoint_url).__aenter__()
    assert f"Allow {action} on arn:aws:s3:::{place.bucket}" in caught.value.remedy


async def test_a_forbidden_delete_leaves_the_probe_and_does_no_harm(probing, proxy):
    proxy.on("DELETE", "_rigatoni-probe", Response(403, "AccessDenied"), times=3)
    async with probing(endpoint_url=proxy.endpoint_url) as it:
        assert it.metadata().delivery is Delivery.EFFECTIVELY_ONCE


async def test_a_connection_that_breaks_while_the_probe_is_removed_does_no_harm(probing, proxy):
    proxy.on("DELETE", "_rigatoni-probe", "cut body", times=9)
    async with probing(endpoint_url=proxy.endpoint_url) as it:
        assert it.metadata().delivery is Delivery.EFFECTIVELY_ONCE


async def test_a_bucket_that_is_not_there_is_named_at_the_start(probing):
    with pytest.raises(S3BucketError, match="nowhere"):
        await probing(bucket="nowhere").__aenter__()
