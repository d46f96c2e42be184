"""Shared fixtures: an emulator of Cloud Storage, a scripted BigQuery, and destinations between them."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from rigatoni_bigquery.destination import BigQueryDestination
from rigatoni_bigquery.jobs import Jobs
from rigatoni_bigquery.testing.server import BigQueryServer, bigquery_server
from rigatoni_core.api.events import Definition
from rigatoni_gcs.testing.server import GcsServer, gcs_server
from rigatoni_parquet.serializer import ParquetSerializer
from rigatoni_testing.batches import event_document

_NUMBERS = itertools.count()


@pytest.fixture
def definition() -> Definition:
    return Definition("fingerprint", {"watch": "shop.orders"})


@pytest.fixture
def event() -> Callable[..., dict[str, Any]]:
    return event_document


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    with gcs_server(tmp_path_factory.mktemp("gcs")) as started:
        started.client().create_bucket("lake")
        yield started


@pytest.fixture
def server() -> Iterator[BigQueryServer]:
    with bigquery_server() as started:
        yield started


@pytest.fixture
def jobs(server: BigQueryServer) -> Jobs:
    client = bigquery.Client(
        project="acme", credentials=AnonymousCredentials(), client_options={"api_endpoint": server.endpoint_url}
    )
    return Jobs(client=client, project="acme", dataset="lake", location="EU", timeout=5.0)


@pytest.fixture
def options(gcs: GcsServer, server: BigQueryServer) -> dict[str, Any]:
    """The options of a destination with a prefix of its own."""
    return {
        "bucket": "lake",
        "prefix": f"test-{next(_NUMBERS)}",
        "endpoint_url": gcs.endpoint_url,
        "bigquery_endpoint_url": server.endpoint_url,
        "anonymous": True,
        "settle_time": 0.0,
        "project": "acme",
        "dataset": "lake",
        "serializer": ParquetSerializer(),
    }


@pytest.fixture
def destination(options: dict[str, Any]) -> Callable[..., BigQueryDestination]:
    return lambda **more: BigQueryDestination(**{**options, **more})
