"""The contract of serializers, and their optional interfaces."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts.formats import FormatReader


class Serializer(FormatReader):
    """Serializes batches. Thread-safe: several batches may be serialized concurrently."""

    media_type: str
    """The content type of the bytes, such as `application/x-ndjson`."""
    content_encoding: str | None = None
    """The content encoding around them, such as `gzip`, or None."""
    suffix: str
    """The file name extension, such as `.ndjson.zst`."""
    compressed: bool = False
    """Whether the format compresses by itself: readers would not recognize the file inside another compression."""
    columns: Sequence[str] = ()
    """The names of the columns that readers find in the files, or of the top-level fields of the documents in them.

    Folders `name=value` must not repeat one: readers would use the folder's value as the column's.
    """

    @abstractmethod
    def serialize(self, events: EventBatch) -> bytes | memoryview:
        """Return all events of the batch as the content of one file.

        Args:
            events: The batch, with at least one event.

        Raises:
            RejectedEventsError: Names every event that cannot be represented.
        """


class Piecewise(ABC):
    """Optional interface of a serializer: it serializes in pieces, so that no file must fit into memory."""

    @abstractmethod
    def pieces(self, events: EventBatch) -> Iterator[bytes]:
        """Yield the result of `serialize` in consecutive pieces, the same for the same batch.

        Args:
            events: The batch, with at least one event.

        Raises:
            RejectedEventsError: Names every event that cannot be represented, at the latest after the last piece.
                Earlier pieces are void then.
        """


class EventSerializer(ABC):
    """Optional interface of a serializer: it serializes single events, for destinations that write messages."""

    @abstractmethod
    def each(self, events: EventBatch) -> Sequence[bytes]:
        """Return the bytes of each event, in order. Those of an event do not depend on its neighbours.

        Args:
            events: The batch, with at least one event.

        Raises:
            RejectedEventsError: Names every event that cannot be represented.
        """


class Deserializer(ABC):
    """Optional interface of a serializer: it reads its own output."""

    @abstractmethod
    def deserialize(self, content: bytes) -> Iterable[Mapping[str, Any]]:
        """Yield the documents in one file's content, by their field names: texts, numbers, bytes, mappings, sequences.

        Bytes may be base64 text if the format has no bytes.

        Args:
            content: The whole content of a file.

        Raises:
            UnreadableError: The content is damaged or of another format.
        """
