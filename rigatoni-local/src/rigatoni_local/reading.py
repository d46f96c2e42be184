"""Which files a folder holds, in the order of their events: for those who read them back."""

from collections.abc import Iterator
from pathlib import Path

from rigatoni_core.api.events import Stream
from rigatoni_objects.records import BatchRecord


def written(root: Path, pipeline: str) -> Iterator[Path]:
    """The files of all streams of a pipeline, each stream's in order; without those that a crash kept from being."""
    folder = (root / Stream(pipeline, "*").key).parent
    for stream in sorted(folder.iterdir()) if folder.is_dir() else ():
        definitions = sorted((stream / "_rigatoni" / "batches").glob("*"), key=lambda path: int(path.name))
        for definition in definitions:
            for sidecar in sorted(definition.glob("*/*.json")):  # by day, then by name
                for part in BatchRecord.parse(sidecar.read_bytes(), str(sidecar)).parts:
                    if (stream / part.path).exists():
                        yield stream / part.path
