"""What BigQuery refuses becomes an error with a remedy; only what may pass is transient."""

import pytest
from rigatoni_bigquery.errors import (
    BigQueryAccessError,
    BigQueryDatasetError,
    BigQueryError,
    BigQueryUnavailableError,
)
from rigatoni_core.api.errors import AccessDenied, Transient

URIS = ["gs://lake/a.parquet"]


@pytest.mark.parametrize(
    ("status", "reason", "kind", "words"),
    [
        (400, "invalid", BigQueryError, ""),
        (401, "authError", BigQueryAccessError, "Set credentials_file"),
        (403, "accessDenied", BigQueryAccessError, "Grant bigquery.jobs.create"),
        (403, "rateLimitExceeded", BigQueryUnavailableError, "Wait"),
        (403, "quotaExceeded", BigQueryUnavailableError, "Wait"),
        (404, "notFound", BigQueryDatasetError, "Create the dataset"),
        (429, "rateLimitExceeded", BigQueryUnavailableError, "Wait"),
        (500, "internalError", BigQueryUnavailableError, "Wait"),
        (503, "backendError", BigQueryUnavailableError, "Wait"),
    ],
)
def test_a_refused_request_names_the_dataset_and_what_to_do(jobs, server, status, reason, kind, words):
    server.refusals = [(status, reason)]
    with pytest.raises(BigQueryError, match=r"acme\.lake") as raised:
        jobs.insert("job", "orders", URIS)
    assert type(raised.value) is kind
    assert words in raised.value.remedy
    assert isinstance(raised.value, Transient) == (kind is BigQueryUnavailableError)
    assert isinstance(raised.value, AccessDenied) == (kind is BigQueryAccessError)


def test_a_job_that_does_not_exist_is_none_and_an_id_is_used_once(jobs):
    assert jobs.find("job") is None
    assert jobs.insert("job", "orders", URIS)
    assert not jobs.insert("job", "orders", URIS)
    assert jobs.find("job").state == "done"


def test_a_service_that_is_away_is_transient(jobs):
    jobs.client._connection.API_BASE_URL = "http://127.0.0.1:1"
    with pytest.raises(BigQueryUnavailableError, match="cannot be reached"):
        jobs.find("job")
