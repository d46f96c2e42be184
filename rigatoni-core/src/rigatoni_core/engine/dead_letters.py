"""Dead letters: events that could not be written, with all that is needed to look into them and to write them again."""

import base64
from collections.abc import Callable, Mapping
from typing import Any, Self

import attrs

from rigatoni_core.api.batch import Decoder, EventBatch
from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.events import Position, ResumeToken, Stream, token_hash
from rigatoni_core.api.records import position_record, read_position

FORMAT = 2
"""The letters' format version. A newer one is refused, never guessed at. In 1 a position names its deployment."""

_LONGEST = 10_000
"""Characters of an error's text; some quote a whole document."""


Key = tuple[Stream, ResumeToken]
"""Which event a letter is about."""


@attrs.frozen(kw_only=True)
class DeadLetter:
    """An event that was rejected: the raw document as the source received it, and why it could not be written.

    `position` is where it stands in `stream` (its own token, cluster time and ordinal). `plugin` is the import package
    of what refused it, `error_id` the stable id of the error (or a foreign exception's type), `attempt` counts the
    attempts to write its batch in that run, from 1.
    """

    stream: Stream
    position: Position
    event: bytes
    plugin: str
    error: str
    error_id: str
    attempt: int

    @classmethod
    def of(
        cls,
        batch: EventBatch,
        index: int,
        reason: Exception,
        *,
        plugin: str,
        attempt: int,
        redact: Callable[[str], str],
    ) -> Self:
        """The letter for event `index` of a batch; `plugin` is the one that wrote, where the reason names no other."""
        package = type(reason).__module__.partition(".")[0]
        return cls(
            stream=batch.stream,
            position=batch.position_at(index),
            event=bytes(batch.raw(index)),
            plugin=plugin if package in ("builtins", "rigatoni_core") else package,
            error=redact(_text(reason)),
            error_id=reason.id if isinstance(reason, RigatoniError) else type(reason).__name__,
            attempt=attempt,
        )

    @property
    def id(self) -> str:
        """What people call it: the hash of its resume token, which itself may hold a document's `_id`."""
        return token_hash(self.position.resume_token)

    @property
    def key(self) -> Key:
        """What tells it from all others: tokens are distinct within a stream, no source promises more."""
        return self.stream, self.position.resume_token

    def document(self, decoder: Decoder) -> bytes:
        """The letter as a raw document in the shape of a change event, so that every serializer can carry it."""
        record = self._place() | {
            "plugin": self.plugin,
            "error": self.error,
            "error_id": self.error_id,
            "attempt": self.attempt,
            "event": self.event,
        }
        return decoder.synthesize(memoryview(self.event), "deadLetter", {"deadLetter": record})

    def token_and_time(self, decoder: Decoder) -> bytes:
        """A raw document that says for ever that the event of this letter was replayed."""
        return decoder.synthesize(memoryview(self.event), "replayMark", {"replayMark": self._place()})

    def _place(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "pipeline": self.stream.pipeline,
            "stream": self.stream.name,
            "position": position_record(self.position),
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """The letter in a document that was read back. Raises ValueError where there is none."""
        try:
            record = document["deadLetter"]
            if record["format"] > FORMAT:
                raise ValueError(f"it has format {record['format']}, this rigatoni-core reads up to {FORMAT}")
            event = record["event"]
            return cls(
                stream=Stream(str(record["pipeline"]), str(record["stream"])),
                position=read_position(record["position"]),
                event=base64.b64decode(event, validate=True) if isinstance(event, str) else bytes(memoryview(event)),
                plugin=str(record["plugin"]),
                error=str(record["error"]),
                error_id=str(record["error_id"]),
                attempt=int(record["attempt"]),
            )
        except (KeyError, TypeError, IndexError, ValueError, OverflowError) as error:
            raise ValueError(f"not a dead letter: {error!r}") from None


def marked(document: Mapping[str, Any]) -> Key:
    """The key of the letter that a mark speaks of. Raises ValueError where the document is no mark."""
    try:
        place = document["replayMark"]
        return Stream(str(place["pipeline"]), str(place["stream"])), read_position(place["position"]).resume_token
    except (KeyError, TypeError, IndexError, ValueError, OverflowError) as error:
        raise ValueError(f"not a mark of a replay: {error!r}") from None


def _text(reason: Exception) -> str:
    """What the exception says, as text that can be written anywhere."""
    try:
        text = f"{type(reason).__name__}: {reason}"
    except Exception:
        text = type(reason).__name__
    return text.encode("utf-8", "replace").decode()[:_LONGEST]
