"""What a bucket holds of one stream: definitions, leads and parts, as their records say. Only reads."""

import heapq
import re
from collections.abc import Iterator, Mapping

from rigatoni_core.api.errors import ForeignObjectError
from rigatoni_core.api.events import Position, Stream
from rigatoni_objects.file_layout import FileLayout, stem
from rigatoni_objects.records import BatchRecord, DefinitionRecord, PartRecord

from rigatoni_s3.bucket import Bucket
from rigatoni_s3.errors import S3ConflictError

RECORD, RECORD_AT, LEAD = "rigatoni-record", "rigatoni-record-at", "rigatoni-lead"
"""Names in the metadata: of a lead its record, or where that is; of a part the path of its lead."""

STEM = re.compile(r"(?:^|/)(\d{10}\.\d{10}-\d{8,}-[0-9a-f]{16})[^/]*$")
"""Finds the stem in the name of an object or lead."""


class Holdings:
    """One stream's objects below a prefix of a bucket. Paths are relative to `folder`."""

    def __init__(self, bucket: Bucket, prefix: str, stream: Stream) -> None:
        self.stream = stream
        self.folder = f"{prefix.strip('/')}/{stream.key}/".lstrip("/")
        self._bucket = bucket

    def __str__(self) -> str:
        return f"s3://{self._bucket.name}/{self.folder}"

    def _newest_definition(self) -> DefinitionRecord | None:
        names = (key.rpartition("/definition-")[2] for key in self._bucket.keys(self._key("_rigatoni/definition-")))
        numbers = [int(name.removesuffix(".json")) for name in names if name.removesuffix(".json").isdecimal()]
        if not numbers:
            return None
        record = self._read_definition(max(numbers))
        if record is None:
            raise S3ConflictError(f"{self}{definition_path(max(numbers))} vanished")
        return record

    def _read_definition(self, number: int) -> DefinitionRecord | None:
        path = definition_path(number)
        if (content := self._bucket.content(self._key(path))) is None:
            return None
        record = DefinitionRecord.parse(content, f"{self}{path}")
        if (record.pipeline, record.stream) != (self.stream.pipeline, self.stream.name):
            raise ForeignObjectError(f"{self}{path} belongs to {record.pipeline}/{record.stream}, not to {self.stream}")
        return record

    def _is_closed(self, definition: DefinitionRecord) -> bool:
        return self._bucket.metadata(self._key(closing_path(definition.number))) is not None

    def _tail(self, definition: DefinitionRecord) -> tuple[Position, BatchRecord | None]:
        """Where the definition's complete batches end; and the incomplete one after them, if there is one.

        Only the newest can be incomplete: nobody begins a batch before the one before it is complete.
        """
        newest_first = self._records(definition)
        newest = next(newest_first, None)
        if newest is None:
            return definition.anchor, None
        path, record = newest
        if not self._missing(record, path):
            return record.end, None
        before = next(newest_first, None)
        return (before[1].end if before is not None else definition.anchor), record

    def _records(self, definition: DefinitionRecord) -> Iterator[tuple[str, BatchRecord]]:
        """The newest batches of a definition with the paths of their leads, newest first. Lists what there is."""
        leads = f"_rigatoni/leads/{definition.number}/"
        if not _with_layout_of(definition).is_split(self.stream):
            leads = ""
        since = stem(definition.anchor).rpartition("-")[0]  # what is named before it belongs to older definitions
        paths = (key.removeprefix(self.folder) for key in self._bucket.keys(self._key(leads)))
        named = (
            (match[1], path)
            for path in paths
            if (match := STEM.search(path)) and match[1] >= since and path.startswith("_rigatoni/") == bool(leads)
        )
        for _, path in heapq.nlargest(16, named):  # the newest may already be of a newer definition
            metadata = self._bucket.metadata(self._key(path))
            if metadata is None or LEAD in metadata:
                continue  # a part of another definition's batch
            record = self._read(metadata, path)
            if record.definition == definition.number:
                yield path, record

    def _missing(self, record: BatchRecord, lead: str) -> list[PartRecord]:
        """Those objects of the batch that are not there. Raises `ForeignObjectError` where another has such a name."""
        return [part for part in record.parts if part.path != lead and not self._is_there(part.path, lead)]

    def _is_there(self, path: str, lead: str) -> bool:
        metadata = self._bucket.metadata(self._key(path))
        if metadata is not None and metadata.get(LEAD) != lead:
            raise ForeignObjectError(f"{self}{path} does not belong to the batch {lead}")
        return metadata is not None

    def _record(self, lead: str) -> BatchRecord | None:
        """What the lead says; None where there is none. Raises `ForeignObjectError` where it is not ours."""
        metadata = self._bucket.metadata(self._key(lead))
        return self._read(metadata, lead) if metadata is not None else None

    def _read(self, metadata: Mapping[str, str], lead: str) -> BatchRecord:
        content: str | bytes | None = metadata.get(RECORD)
        if content is None and (path := metadata.get(RECORD_AT)):
            content = self._bucket.content(self._key(path))
        if content is None:
            raise ForeignObjectError(f"{self}{lead} has no record of Rigatoni in its metadata")
        return BatchRecord.parse(content, f"{self}{lead}")

    def _key(self, path: str) -> str:
        return f"{self.folder}{path}"


def definition_path(number: int) -> str:
    return f"_rigatoni/definition-{number}.json"


def closing_path(number: int) -> str:
    return f"_rigatoni/closing-{number}.json"


def _with_layout_of(definition: DefinitionRecord) -> FileLayout:
    """A layout with the folders that the definition had."""
    layout = definition.layout
    return FileLayout(None, tuple(layout.get("partition_by", ())), str(layout.get("folder_template", "")))  # type: ignore[arg-type]
