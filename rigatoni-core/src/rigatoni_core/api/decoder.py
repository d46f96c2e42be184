"""How core reads a source's raw documents without knowing their format."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from rigatoni_core.api.errors import DamagedEventError
from rigatoni_core.api.events import ChangeEvent, Namespace, ResumeToken, Stream, Timestamp
from rigatoni_core.api.segments import Segment


class Decoder(Protocol):
    """Decodes a source's raw documents. The source passes it to its batches; core knows no byte format."""

    @property
    def format(self) -> str:
        """The name of the raw documents' format, such as `bson`: who reads them declares the same name."""

    def event(self, raw: memoryview) -> ChangeEvent:
        """Return the decoded event.

        Args:
            raw: The raw document.

        Raises:
            ValueError: The bytes cannot be read.
        """

    def token_and_time(self, raw: memoryview) -> tuple[ResumeToken, Timestamp | None]:
        """Return only the event's resume token and cluster time, as cheaply as possible.

        Args:
            raw: The raw document.

        Raises:
            ValueError: The token cannot be read.
        """

    def cluster_times(self, documents: Segment) -> Iterable[tuple[int, int] | None]:
        """Yield only the cluster time (seconds, increment) of each event, as cheaply as possible.

        None for an event without a readable cluster time.

        Args:
            documents: Raw documents.
        """

    def namespace(self, raw: memoryview) -> Namespace | None:
        """Return only the event's namespace, as cheaply as possible; None if it has none.

        Args:
            raw: The raw document.

        Raises:
            ValueError: The bytes cannot be read.
        """

    def scalar_text(self, value: Any) -> str | None:
        """Return a value of a decoded document as text for a folder name; None for a document, an array or null.

        Equal values give equal texts in every process; a string is returned as is.

        Args:
            value: A value of a decoded document.
        """

    def synthesize(self, raw: memoryview, operation: str, fields: Mapping[str, Any]) -> bytes:
        """Return a raw document of this format that stands for the event, even if the rest of the event is damaged.

        It has the event's resume token, its cluster time, and its namespace if that is readable.

        Args:
            raw: The raw document of the event.
            operation: The operation of the new document.
            fields: Further fields: texts, whole numbers below 2^63, bytes, None, lists and mappings of them.
        """


def read_mark(decoder: Decoder, stream: Stream, raw: memoryview) -> tuple[ResumeToken, Timestamp | None]:
    """Return the resume token and cluster time of an event.

    Args:
        decoder: The source's decoder.
        stream: The stream of the event.
        raw: Its raw document.

    Raises:
        DamagedEventError: The event has no readable resume token.
    """
    try:
        return decoder.token_and_time(raw)
    except ValueError as error:
        raise DamagedEventError(f"{stream}: an event has no readable resume token: {error}") from None
