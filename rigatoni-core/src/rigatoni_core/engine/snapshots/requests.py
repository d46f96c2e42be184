"""What the configuration requests: the first snapshot of a new stream, and whether it is possible at all."""

import re
from collections.abc import Sequence

from rigatoni_core.api.contracts import Destination, PositionKeeper, RecordKeeper, Source
from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.api.events import Stream
from rigatoni_core.api.settings import Settings, SnapshotSettings
from rigatoni_core.api.snapshots import SnapshotRequest, Snapshotter


def initial_request(settings: SnapshotSettings, stream: Stream) -> SnapshotRequest | None:
    """Return the request for a new stream; None if nothing of it is to be read."""
    return None if settings.mode in ("never", "on_request") else request_of(settings, stream)


def request_of(settings: SnapshotSettings, stream: Stream, id_: str = "") -> SnapshotRequest | None:
    """Return the request for what the configuration names of this stream; None if that is nothing.

    Args:
        settings: The table `[pipeline.snapshot]`.
        stream: The stream.
        id_: The id of the request.
    """
    collections = tuple(name for name in settings.collections if _covers(stream.name, name))
    if settings.collections and not collections:
        return None
    return SnapshotRequest(id=id_, collections=collections, operation=settings.operation)


def check_requests(
    settings: Settings, source: Source, destination: Destination, pipeline: str, names: Sequence[str]
) -> None:
    """Refuse snapshots that can never be taken.

    Args:
        settings: The settings of the pipeline.
        source: The source.
        destination: The destination.
        pipeline: The pipeline's name.
        names: The names of its streams.

    Raises:
        ConfigurationError: The source reads no snapshots, the destination takes none, a collection belongs to no
            stream, or the source refuses.
    """
    if not settings.takes_snapshots:
        return
    if not isinstance(source, Snapshotter):
        raise ConfigurationError(
            "the configuration asks for snapshots, but the source reads no snapshots",
            remedy='Set snapshot.mode = "never" and another on_lost_position, or use a source that reads snapshots.',
        )
    if isinstance(destination, PositionKeeper) and not isinstance(destination, RecordKeeper):
        raise ConfigurationError(
            "the configuration asks for snapshots, but this destination takes none yet",
            remedy='Set snapshot.mode = "never" and another on_lost_position, or another destination.',
        )
    for name in settings.snapshot.collections:
        if not any(_covers(stream, name) for stream in names):
            raise ConfigurationError(
                f'snapshot.collections: no stream of the pipeline watches "{name}", only {", ".join(names)}',
                remedy="Name collections as database.collection, of those that the source watches.",
            )
    for stream in (Stream(pipeline, name) for name in names):
        if (request := request_of(settings.snapshot, stream)) is not None:
            source.check_snapshot(stream, request)


def row_guarantee(destination: Destination) -> str:
    """Return, in words, how often the rows of a snapshot are written to this destination."""
    if isinstance(destination, PositionKeeper) and isinstance(destination, RecordKeeper):
        return "each row exactly as often as an event, even if the state store is lost"
    return "each row at least once: this destination keeps no positions"


def _covers(stream: str, collection: str) -> bool:
    """Return whether a stream watches this collection. A `*` in its name stands for any text."""
    return re.fullmatch(".*".join(map(re.escape, stream.split("*"))), collection, re.DOTALL) is not None
