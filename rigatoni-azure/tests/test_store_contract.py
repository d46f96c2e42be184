"""A container passes the contract suite of object stores, and the protocol over it loses nothing; on Azurite."""

import itertools
from threading import BoundedSemaphore

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rigatoni_azure.access import Access
from rigatoni_azure.container import Container, ContainerStore
from rigatoni_core.api.options import Secret
from rigatoni_objects.quiescence import ClosingMark
from rigatoni_testing.contracts import ObjectStoreContract
from rigatoni_testing.random_runs import STREAM, TEMPLATES, check_random_run, rounds

PLACES = itertools.count()


@pytest.fixture
def make_container(server):
    access = Access(
        container="lake", account=server.account, endpoint_url=server.endpoint_url, account_key=Secret(server.key)
    )
    client = access.client()
    yield lambda **options: Container(client=client, name="lake", permits=BoundedSemaphore(16), **options)
    client.close()


class TestContainerStore(ObjectStoreContract):
    """As on the service. Azurite ignores `startFrom`, so the first pages hold keys that are skipped."""

    @pytest.fixture
    def make(self, place, make_container):
        return lambda: ContainerStore(make_container(), f"{place.prefix}p/shop.orders/")


class TestStoreWithoutStarts(ObjectStoreContract):
    """As on stores whose listings cannot start at a key."""

    @pytest.fixture
    def make(self, place, make_container):
        return lambda: ContainerStore(make_container(starts=False), f"{place.prefix}p/shop.orders/")


def test_a_listing_longer_than_a_page_is_complete(place, make_container):
    store = ContainerStore(make_container(), place.prefix)
    for number in range(7):
        store.create(f"k{number}", b"", media_type="text/plain", record={})
    assert store.keys("k", limit=3) == ["k0", "k1", "k2"]
    assert store.keys("k", after="k2", limit=3) == ["k3", "k4", "k5"]
    assert store.keys("k", after="k5", limit=3) == ["k6"]


@given(seed=st.integers(0, 2**32), template=st.sampled_from(TEMPLATES))
@settings(max_examples=rounds(6), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_templates_rejections_and_kills_lose_duplicate_and_misplace_nothing(
    make_container, place, seed, template
):
    store = ContainerStore(make_container(), f"{place.prefix}{next(PLACES)}/{STREAM.key}/")
    check_random_run(seed, template, lambda: (store, ClosingMark(0.0)))
