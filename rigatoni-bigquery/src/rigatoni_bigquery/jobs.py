"""Requests to BigQuery: a look at the dataset, and load jobs under ids of our own."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import attrs
from google.api_core.exceptions import Conflict, NotFound
from google.cloud import bigquery

from rigatoni_bigquery.errors import translated

MAX_OBJECTS = 10_000
"""The most objects that one load job takes (BigQuery, "Quotas and limits: Load jobs")."""
_ONCE: Mapping[str, Any] = {"retry": None}
"""The library retries nothing: the loader does, and it looks at the job first."""


@attrs.frozen
class Job:
    """What is known of a load job.

    Attributes:
        state: `running` (also while it waits), `done` without an error, or `failed`.
        reason: The error's reason, such as `invalid`; empty unless it failed.
        message: The error's text; empty unless it failed.
    """

    state: Literal["running", "done", "failed"]
    reason: str = ""
    message: str = ""


@attrs.frozen(kw_only=True)
class Jobs:
    """The load jobs of one dataset. Thread-safe; every call is one request, which is not retried here.

    Attributes:
        client: The library's client.
        project: The project of the dataset and of the jobs.
        dataset: The dataset.
        location: The location of the dataset, to which its jobs belong.
        timeout: Seconds to wait for a reply.
    """

    client: bigquery.Client = attrs.field(repr=False)
    project: str
    dataset: str
    location: str
    timeout: float = 30.0

    @property
    def where(self) -> str:
        """The dataset as messages name it."""
        return f"BigQuery dataset {self.project}.{self.dataset}"

    def find(self, job_id: str) -> Job | None:
        """Return what is known of the job with this id; None if there is none."""
        with translated(self.where, "look"):
            try:
                found = self.client.get_job(
                    job_id, project=self.project, location=self.location, timeout=self.timeout, **_ONCE
                )
            except NotFound:
                return None
        return _job(found)

    def insert(self, job_id: str, table: str, uris: Sequence[str]) -> bool:
        """Start a load job under this id, unless the id is taken, by this run or another one.

        A job is all or nothing (BigQuery, "Loading data: batch loads are atomic"), and an id can be used once in a
        project and location ("Jobs: insert"), so that a repeated request is no second load.

        Args:
            job_id: The id.
            table: The name of the table in the dataset. It is created if it does not exist.
            uris: The objects, `gs://…`.

        Returns:
            Whether this call has started the job.
        """
        with translated(self.where, "insert"):
            try:
                self.client.load_table_from_uri(
                    list(uris),
                    bigquery.TableReference(bigquery.DatasetReference(self.project, self.dataset), table),
                    job_id=job_id,
                    location=self.location,
                    project=self.project,
                    job_config=_configuration(),
                    timeout=self.timeout,
                    **_ONCE,
                )
            except Conflict:
                return False
        return True


def location_of(client: bigquery.Client, project: str, dataset: str, timeout: float) -> str:
    """Return the location of a dataset, after a look at whether it exists and jobs may be created.

    Raises:
        BigQueryError: The dataset does not exist, or a permission is missing.
    """
    where = f"BigQuery dataset {project}.{dataset}"
    with translated(where, "get"):
        found = client.get_dataset(bigquery.DatasetReference(project, dataset), timeout=timeout, **_ONCE)
    location = str(found.location)
    with translated(where, "insert"):
        client.query(
            "SELECT 1",
            job_config=bigquery.QueryJobConfig(dry_run=True),
            location=location,
            project=project,
            job_retry=None,
            timeout=timeout,
            **_ONCE,
        )
    return location


def _configuration() -> bigquery.LoadJobConfig:
    parquet = bigquery.ParquetOptions()
    parquet.enable_list_inference = True
    configuration = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.PARQUET,
        write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
        create_disposition=bigquery.CreateDisposition.CREATE_IF_NEEDED,
        schema_update_options=[
            bigquery.SchemaUpdateOption.ALLOW_FIELD_ADDITION,
            bigquery.SchemaUpdateOption.ALLOW_FIELD_RELAXATION,
        ],
        time_partitioning=bigquery.TimePartitioning(type_=bigquery.TimePartitioningType.DAY, field="cluster_time"),
    )
    configuration.parquet_options = parquet
    return configuration


def _job(found: Any) -> Job:
    if found.state != "DONE":
        return Job("running")
    if not found.error_result:
        return Job("done")
    return Job("failed", str(found.error_result.get("reason", "")), str(found.error_result.get("message", "")))


def created_at(text: str) -> float:
    """Return seconds since 1970 of a time in ISO 8601."""
    return datetime.fromisoformat(text).timestamp()
