"""The destination `bigquery`: objects in a bucket, and load jobs that append them to tables."""

import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, ClassVar, Self

import attrs
from attrs import validators
from google.cloud import bigquery
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import DestinationMetadata
from rigatoni_core.api.events import Definition, Position, Stream
from rigatoni_core.api.options import Seconds
from rigatoni_gcs.access import SCOPE
from rigatoni_gcs.destination import GcsDestination
from rigatoni_objects.chain import Chain
from rigatoni_objects.destination import COMMON_CONDITIONS

from rigatoni_bigquery.jobs import Jobs, location_of
from rigatoni_bigquery.loader import Loader
from rigatoni_bigquery.loads import Pace, StreamLoads

MIN_INTERVAL = 120.0
"""Seconds. A table takes 1,500 load jobs a day, failed ones included (BigQuery, "Quotas and limits: Load jobs")."""


def _check_table(instance: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    if unknown := sorted(set(re.findall(r"\{(.*?)\}", value)) - {"stream", "pipeline"}):
        raise ValueError(f"{{{unknown[0]}}} is unknown in table; known are {{stream}} and {{pipeline}}")
    if not re.fullmatch(r"[\w{}-]+", value, re.ASCII):
        raise ValueError("table may contain letters, digits, _ and -, {stream} and {pipeline}")


@attrs.define(kw_only=True)
class BigQueryDestination(GcsDestination):
    """Writes each batch as one object below `prefix`, and loads the objects into tables, each object exactly once.

    A batch counts as delivered once its object is durable. See `rigatoni_bigquery.loads` for what follows.
    """

    dataset: Annotated[str, "The dataset; it must exist"] = attrs.field(validator=validators.min_len(1))
    project: Annotated[str, "The project of the dataset, which also pays for the jobs"] = attrs.field(
        validator=validators.min_len(1)
    )
    table: Annotated[str, "The table, with `{stream}` and `{pipeline}`; streams may share one"] = attrs.field(
        default="{stream}", validator=_check_table
    )
    load_interval: Annotated[Seconds, "The least time between two load jobs of a table"] = attrs.field(
        default=MIN_INTERVAL, validator=validators.ge(MIN_INTERVAL)
    )
    bigquery_endpoint_url: Annotated[str | None, "Another endpoint of BigQuery; default: Google's"] = None
    _jobs: Jobs | None = attrs.field(init=False, default=None, repr=False, eq=False)
    _loader: Loader | None = attrs.field(init=False, default=None, repr=False, eq=False)
    _pace: Pace = attrs.field(init=False, repr=False, eq=False)
    _known: set[str] = attrs.field(
        init=False, factory=set, repr=False, eq=False
    )  # pipelines whose streams were looked up

    scopes: ClassVar[tuple[str, ...]] = (SCOPE, "https://www.googleapis.com/auth/bigquery")
    limits: ClassVar[Mapping[str, float]] = {
        "batch_size": 100_000,
        "batch_bytes": 64 * 2**20,
        "batch_timeout": 60.0,
        "max_buffered_bytes": 96 * 2**20,
        "max_total_buffered_bytes": 512 * 2**20,
    }

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.serializer.suffix != ".parquet":
            raise ValueError('serializer must be { type = "parquet" }: it gives BigQuery the types of the columns')
        if self.partition_by or self.folder_template:
            raise ValueError("partition_by and folder_template must be empty: tables are partitioned by day")
        self._pace = Pace(self.load_interval, time.time)

    async def __aenter__(self) -> Self:
        """Connect, probe the bucket, the dataset and the credentials, and begin to load."""
        try:
            await self._connect_all()
        except BaseException:
            await self.close()
            raise
        self._loader = Loader(self.loads)
        self._loader.start()
        return self

    @asynccontextmanager
    async def without_loader(self) -> AsyncIterator[None]:
        """Connect, and load nothing in this block but what its caller loads."""
        try:
            await self._connect_all()
            yield
        finally:
            await self.close()

    async def _connect_all(self) -> None:
        await super().__aenter__()
        self._jobs = await self._opening.run(self._connect_jobs)

    async def close(self) -> None:
        """Stop loading and writing. Running jobs continue in BigQuery."""
        if self._loader is not None:
            await self._loader.close()
        if self._jobs is not None:
            self._jobs.client.close()
        await super().close()

    async def write_batch(self, events: EventBatch) -> Position | None:
        """See `Destination`. Raises what stopped the stream's loads, before anything is written."""
        assert self._loader is not None, "the destination was not entered"
        self._loader.check(events.stream.of_snapshot or events.stream)
        self._loader.check(events.stream)
        return await super().write_batch(events)

    async def _begin(self, stream: Stream, definition: Definition, begin: Callable[[Chain], Position]) -> Position:
        assert self._loader is not None, "the destination was not entered"
        position = await super()._begin(stream, definition, begin)
        await self._loader.begin(stream, await self.last_committed(stream) or position)
        for pipeline in (stream.pipeline, f"{stream.pipeline}.snapshots"):
            if pipeline not in self._known and stream.of_snapshot is None:
                self._known.add(pipeline)
                for each in await self.recorded_streams(pipeline):  # also those that are no longer watched
                    self._loader.add(each)
        return position

    def loads(self, stream: Stream) -> StreamLoads:
        """Return the loads of a stream. Its calls block; the destination must be entered."""
        assert self._jobs is not None, "the destination was not entered"
        folder, suffix = stream.key, self.serializer.suffix
        return StreamLoads(
            self.store(folder), self.where(folder), self._jobs, self.table_of(stream), suffix, self._pace
        )

    def table_of(self, stream: Stream) -> str:
        """Return the name of a stream's table, which also takes the rows of its snapshots."""
        shown = stream.of_snapshot or stream
        names = {"stream": shown.name.replace("*", "all"), "pipeline": shown.pipeline}
        return re.sub(r"[^A-Za-z0-9_-]", "_", self.table.format(**names))

    def metadata(self) -> DestinationMetadata:
        """Return the delivery guarantee and its conditions."""
        target = f"{self.project}.{self.dataset}.{self.table}"
        most = int(86_400 // self.load_interval)
        return DestinationMetadata(
            f"rows of {target}, by at most {most} of the 1,500 load jobs a day that a table takes (loading is free), "
            f"through objects below {self.where('')}",
            self.delivery,
            (
                "objects and _rigatoni/ are kept longer than the oldest checkpoint that may be restored",
                "an interrupted load is resumed within six months: BigQuery forgets older jobs",
                *COMMON_CONDITIONS,
            ),
        )

    def _connect_jobs(self) -> Jobs:
        session = self.access().session()
        options = {"api_endpoint": self.bigquery_endpoint_url} if self.bigquery_endpoint_url else None
        client = bigquery.Client(
            project=self.project, credentials=session.credentials, _http=session, client_options=options
        )
        location = location_of(client, self.project, self.dataset, self.read_timeout)
        return Jobs(
            client=client, project=self.project, dataset=self.dataset, location=location, timeout=self.read_timeout
        )
