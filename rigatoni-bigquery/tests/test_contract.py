"""The destination passes the contract suite of destinations: a batch is delivered once its object is durable."""

import io
import json

import pyarrow.parquet
import pytest
from rigatoni_core.api.events import ResumeToken
from rigatoni_testing.contracts import DestinationContract, Place, PluginContract


class TestPlugin(PluginContract):
    distribution = "rigatoni-bigquery"


class TestBigQuery(DestinationContract):
    @pytest.fixture
    def place(self, gcs, options, destination):
        async def written(stream):
            bucket = gcs.client().bucket("lake")
            folder = f"{options['prefix']}/{stream.key}/"
            blobs = sorted(bucket.list_blobs(prefix=folder), key=lambda blob: blob.name)
            files = [blob.download_as_bytes() for blob in blobs if blob.name.endswith(".parquet")]
            tables = [pyarrow.parquet.read_table(io.BytesIO(file)) for file in files]
            return [
                ResumeToken(json.dumps(json.loads(token)))
                for table in tables
                for token in table["resume_token"].to_pylist()
            ]

        return Place(destination, written)
