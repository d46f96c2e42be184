"""A bucket passes the contract suite of object stores, and the protocol over it loses nothing; on the emulator."""

import itertools
import threading
from threading import BoundedSemaphore

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rigatoni_gcs.access import Access
from rigatoni_gcs.bucket import Bucket, BucketStore
from rigatoni_objects.quiescence import ClosingMark
from rigatoni_testing.contracts import ObjectStoreContract
from rigatoni_testing.random_runs import STREAM, TEMPLATES, check_random_run, rounds

PLACES = itertools.count()


@pytest.fixture
def make_bucket(server):
    access = Access(endpoint_url=server.endpoint_url, anonymous=True)
    session = access.session()
    yield lambda **options: Bucket(
        session=session, client=access.client(session), name="lake", permits=BoundedSemaphore(16), **options
    )
    session.close()


class TestBucketStore(ObjectStoreContract):
    @pytest.fixture
    def make(self, place, make_bucket):
        return lambda: BucketStore(make_bucket(), f"{place.prefix}p/shop.orders/")


def test_one_of_eight_writers_creates_an_object_that_the_client_library_would_upload_in_pieces(place, make_bucket):
    """Above 8 MiB the library starts resumable uploads: on the emulator, all eight writers would win."""
    store, barrier, results = BucketStore(make_bucket(), place.prefix), threading.Barrier(8), []

    def create(number):
        content = b"%d" % number * (9 * 2**20)
        barrier.wait()
        results.append(store.create("large", content, media_type="text/plain", record={}))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count(True) == 1


def test_a_listing_longer_than_a_page_is_complete(place, make_bucket):
    bucket = make_bucket()
    store = BucketStore(bucket, place.prefix)
    for number in range(7):
        store.create(f"k{number}", b"", media_type="text/plain", record={})
    assert store.keys("k", limit=3) == ["k0", "k1", "k2"]
    assert store.keys("k", after="k2", limit=3) == ["k3", "k4", "k5"]
    assert store.keys("k", after="k5", limit=3) == ["k6"]


@given(seed=st.integers(0, 2**32), template=st.sampled_from(TEMPLATES))
@settings(max_examples=rounds(10), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_templates_rejections_and_kills_lose_duplicate_and_misplace_nothing(make_bucket, place, seed, template):
    store = BucketStore(make_bucket(), f"{place.prefix}{next(PLACES)}/{STREAM.key}/")
    check_random_run(seed, template, lambda: (store, ClosingMark(0.0)))
