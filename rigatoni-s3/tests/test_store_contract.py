"""A bucket keeps the contract of stores of objects, on a real server."""

from threading import BoundedSemaphore

import pytest
from rigatoni_s3.bucket import Bucket, BucketStore
from rigatoni_testing.contracts import ObjectStoreContract


class TestBucketStore(ObjectStoreContract):
    @pytest.fixture
    def make(self, place):
        bucket = Bucket(client=place.client, name=place.bucket, permits=BoundedSemaphore(16))
        return lambda: BucketStore(bucket, f"{place.prefix}p/shop.orders/")
