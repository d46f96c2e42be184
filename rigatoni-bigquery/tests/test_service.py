"""A real project of Google Cloud: the only place that can prove the rules of load jobs. Skipped without one."""

import os
import uuid

import pytest
from rigatoni_bigquery.destination import BigQueryDestination
from rigatoni_bigquery.loader import load_all
from rigatoni_core.api.events import Position, ResumeToken, Stream, Timestamp
from rigatoni_parquet.serializer import ParquetSerializer
from rigatoni_testing.batches import batch_of

TARGET, BUCKET = os.environ.get("RIGATONI_TEST_BIGQUERY", ""), os.environ.get("RIGATONI_TEST_BIGQUERY_BUCKET", "")
pytestmark = pytest.mark.skipif(
    not (TARGET and BUCKET), reason="set RIGATONI_TEST_BIGQUERY=PROJECT.DATASET and RIGATONI_TEST_BIGQUERY_BUCKET"
)


async def test_a_job_id_runs_once_and_the_table_holds_each_event_once(definition, event):
    project, _, dataset = TARGET.partition(".")
    name = f"rigatoni_test_{uuid.uuid4().hex[:8]}"
    stream = Stream(name, "shop.orders")
    destination = BigQueryDestination(
        bucket=BUCKET, project=project, dataset=dataset, table=name, serializer=ParquetSerializer()
    )
    async with destination.without_loader():
        anchor = Position(ResumeToken("anchor"), definition.fingerprint, Timestamp(1, 1))
        await super(BigQueryDestination, destination)._begin(
            stream, definition, lambda chain: chain.begin(definition, anchor)
        )
        await super(BigQueryDestination, destination).write_batch(batch_of([event(n) for n in range(5)], stream=stream))
        assert await load_all(destination.loads(stream), lambda _: None) == 1
        assert await load_all(destination.loads(stream), lambda _: None) == 0
        client = destination._jobs.client
        (row,) = client.query(f"SELECT COUNT(*) AS events FROM `{project}.{dataset}.{name}`").result()
        assert row.events == 5
        client.delete_table(f"{project}.{dataset}.{name}")
