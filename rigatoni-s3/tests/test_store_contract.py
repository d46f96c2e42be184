"""A bucket passes the contract suite of object stores, and the protocol over it loses nothing; on a real server."""

import itertools
from threading import BoundedSemaphore

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rigatoni_objects.quiescence import ClosingMark
from rigatoni_s3.bucket import Bucket, BucketStore
from rigatoni_testing.contracts import ObjectStoreContract
from rigatoni_testing.random_runs import STREAM, TEMPLATES, check_random_run, rounds


class TestBucketStore(ObjectStoreContract):
    @pytest.fixture
    def make(self, place):
        bucket = Bucket(client=place.client, name=place.bucket, permits=BoundedSemaphore(16))
        return lambda: BucketStore(bucket, f"{place.prefix}p/shop.orders/")


PLACES = itertools.count()


@given(seed=st.integers(0, 2**32), template=st.sampled_from(TEMPLATES))
@settings(max_examples=rounds(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_templates_rejections_and_kills_lose_duplicate_and_misplace_nothing(place, seed, template):
    bucket = Bucket(client=place.client, name=place.bucket, permits=BoundedSemaphore(16))
    store = BucketStore(bucket, f"{place.prefix}{next(PLACES)}/{STREAM.key}/")
    check_random_run(seed, template, lambda: (store, ClosingMark(0.0)))
