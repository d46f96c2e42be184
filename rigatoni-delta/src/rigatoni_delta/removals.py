"""What a stream deleted while a snapshot of it runs, so that a row of the snapshot brings nothing back.

A chunk may be written after changes that are later than its rows. A version that the table holds is compared with the
row, but what was deleted is not in the table. The owner that writes the stream knows. It writes a chunk only if the
stream stands where it left it itself: after another owner has moved the stream, chunks are read again.
"""

from typing import ClassVar

import attrs
import pyarrow as pa
import pyarrow.compute as pc
from rigatoni_core.api.errors import LeaseLostError

from rigatoni_delta.current import ENDS, id_of

Version = tuple[int, int]
"""A cluster time: microseconds and increment."""


@attrs.define
class Removals:
    """The newest deletes of one stream, and when its collection was emptied."""

    _deleted: dict[str, Version] = attrs.field(factory=dict)
    _emptied: Version = (0, 0)
    _forgotten: Version = (0, 0)

    LIMIT: ClassVar[int] = 100_000
    """Deletes that are remembered. Chunks that were read before a forgotten one are read again."""

    def note(self, events: pa.Table) -> None:
        """Note what change events remove, given in the order of the stream."""
        removing = events.filter(pc.is_in(events["operation"], pa.array(["delete", *ENDS])))
        columns = (removing["operation"].to_pylist(), removing["document_key"].to_pylist(), _versions(removing))
        for operation, key, version in zip(*columns, strict=True):
            if operation in ENDS:
                self._deleted.clear()
                self._emptied = version
            elif key is not None:
                self._deleted.pop(id_of(key), None)
                self._deleted[id_of(key)] = version
        while len(self._deleted) > self.LIMIT:
            self._forgotten = self._deleted.pop(next(iter(self._deleted)))

    def admit(self, rows: pa.Table) -> pa.Table:
        """Return the rows of a chunk whose documents were not removed since.

        Raises:
            LeaseLostError: That is forgotten; the worker enters again, and reads the chunk again.
        """
        versions = _versions(rows)
        if any(version < self._forgotten for version in versions):
            raise LeaseLostError("more documents were deleted than are remembered since the chunk was read")
        keys = map(id_of, rows["document_key"].to_pylist())
        admitted = [
            max(self._emptied, self._deleted.get(key, (0, 0))) <= version
            for key, version in zip(keys, versions, strict=True)
        ]
        return rows.filter(pa.array(admitted, pa.bool_()))


def _versions(events: pa.Table) -> list[Version]:
    columns = (events["cluster_time"].cast(pa.int64()), events["cluster_time_increment"])
    return list(zip(*(pc.fill_null(column, 0).to_pylist() for column in columns), strict=True))
