"""What is in the tables, and which errors users see."""

import json

import polars as pl
import pytest
from bson import ObjectId
from rigatoni_bson.columns import COLUMNS
from rigatoni_core.api.errors import AccessDenied, RejectedEventsError
from rigatoni_core.api.events import Definition
from rigatoni_core.api.options import Secret
from rigatoni_core.api.settings import Settings
from rigatoni_delta.destination import DeltaDestination
from rigatoni_delta.errors import DeltaAccessError, DeltaUnavailableError
from rigatoni_s3.testing.server import s3_server
from rigatoni_testing.batches import START, STREAM, batch_of, event_document

DEFINITION = Definition("f", {"watch": "shop.orders"})


async def test_rows_are_the_events_partitioned_by_day_for_readers_that_nobody_here_wrote(lake):
    key = ObjectId(b"\x07" * 12)
    documents = [
        event_document(0, fullDocument={"_id": key, "n": 2**53 + 1, "text": "a\0b"}, documentKey={"_id": key}),
        event_document(90_000_000),
        event_document(90_000_001, operationType="delete", fullDocument=None),
    ]
    async with lake.make() as destination:
        await destination.begin(STREAM, DEFINITION, START)
        await destination.write_batch(batch_of(documents, stream=STREAM))
    assert sorted(folder.name for folder in (lake.path / "shop.orders").glob("date=*")) == [
        "date=2023-11-14",
        "date=2023-11-15",
    ]
    rows = pl.read_delta(str(lake.path / "shop.orders")).sort("cluster_time", "cluster_time_increment", "ordinal")
    assert [name for name in rows.columns if name != "date"] == [column.name for column in COLUMNS]
    assert json.loads(rows["full_document"][0]) == {
        "_id": {"$oid": "07" * 12},
        "n": 2**53 + 1,
        "text": "a\0b",
    }
    assert rows["operation"].to_list() == ["insert", "insert", "delete"]
    assert rows["full_document"][2] == "null"
    assert rows["cluster_time"][0].isoformat() == "2023-11-14T22:13:20+00:00"


async def test_a_batch_with_malformed_events_commits_nothing_until_they_are_gone(lake):
    batch = batch_of([event_document(number) for number in range(4)], stream=STREAM)
    broken = batch.replaced({2: bytes(batch.raw(2))[:-3] + b"xxx"}) if hasattr(batch, "replaced") else None
    if broken is None:
        pytest.skip("no way to damage an event")
    async with lake.make() as destination:
        await destination.begin(STREAM, DEFINITION, START)
        with pytest.raises(RejectedEventsError) as raised:
            await destination.write_batch(broken)
        assert set(raised.value.events) == {2}
        assert lake.rows().num_rows == 0
        await destination.write_batch(broken.without({2}))
    assert lake.rows().num_rows == 3


async def test_a_folder_that_cannot_be_created_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DeltaUnavailableError, match="cannot create the folder") as raised:
        async with DeltaDestination(path=str(tmp_path / "file" / "lake")):
            pass
    assert raised.value.remedy


@pytest.mark.parametrize("template", ["{database}", "{}"])
def test_a_template_that_names_anything_else_is_refused(template):
    with pytest.raises(ValueError, match=r"it may name \{pipeline\} and \{stream\}"):
        DeltaDestination(path="lake", table=template)


def test_small_files_and_unsafe_spark_are_advised_against():
    destination = DeltaDestination(path="s3://lake/raw")
    (spark,) = destination.advice(Settings(batch_timeout=60.0))
    assert "S3DynamoDBLogStore" in spark
    (files,) = DeltaDestination(path="lake").advice(Settings(batch_timeout=5.0))
    assert "17,280 commits a day" in files


async def test_a_bucket_is_a_place_for_tables_and_wrong_credentials_are_an_error(tmp_path):
    with s3_server(tmp_path / "s3") as store:
        store.client().create_bucket(Bucket="lake")
        options = {
            "AWS_ENDPOINT_URL": Secret(store.endpoint_url),
            "AWS_ACCESS_KEY_ID": Secret(store.access_key),
            "AWS_SECRET_ACCESS_KEY": Secret(store.secret_key),
            "AWS_REGION": Secret("us-east-1"),
            "AWS_ALLOW_HTTP": Secret("true"),
        }
        batch = batch_of([event_document(number) for number in range(9)], stream=STREAM)
        for first in (0, 3, 6):
            async with DeltaDestination(path="s3://lake/raw", storage_options=options) as destination:
                await destination.begin(STREAM, DEFINITION, START)
                await destination.write_batch(batch[first : first + 3])
        read = pl.read_delta(
            "s3://lake/raw/shop.orders", storage_options={name: it.reveal() for name, it in options.items()}
        )
        assert read["resume_token"].n_unique() == len(read) == 9
        wrong = {**options, "AWS_SECRET_ACCESS_KEY": Secret("wrong-secret")}
        async with DeltaDestination(path="s3://lake/raw", storage_options=wrong) as destination:
            with pytest.raises(DeltaAccessError, match="s3://lake/raw") as raised:
                await destination.begin(STREAM, DEFINITION, START)
        assert isinstance(raised.value, AccessDenied)
        assert "wrong-secret" not in f"{raised.value}{raised.value.remedy}{destination!r}"
