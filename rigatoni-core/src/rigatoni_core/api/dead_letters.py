"""Dead letters: rejected events, with everything that is needed to inspect them and to write them again."""

import base64
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import EllipsisType
from typing import Any, Self, TypeVar

import attrs

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Destination, ReadBack
from rigatoni_core.api.decoder import Decoder
from rigatoni_core.api.errors import ConfigurationError, RigatoniError, UnreadableError, public
from rigatoni_core.api.events import Position, ResumeToken, Stream, token_hash
from rigatoni_core.api.records import position_record, read_position

FORMAT = 3
"""The newest format version of letters. In 1 a position names its deployment; a newer one is refused.

Letters of events that passed transforms which keep data from leaving have version 3, so that an older version does not
replay them through these transforms again. All others have version 2.
"""

_WITHOUT_PROTECTION = 2

_LONGEST = 10_000
"""The largest number of characters of an error's text; some quote a whole document."""


T = TypeVar("T")

Key = tuple[Stream, ResumeToken]
"""Identifies the event of a letter: its stream, and its token, which is unique within the stream."""


@attrs.frozen(kw_only=True)
class DeadLetter:
    """A rejected event and the reason.

    Args:
        stream: The stream of the event.
        position: Its own token, cluster time and ordinal.
        event: The raw document, as the source received it, or after the transforms that keep data from leaving. Empty
            if one of them rejected the event: then nothing of its content is kept.
        plugin: The import package that rejected it.
        error: The text of the error, without secrets; it may quote the document.
        error_id: The stable ID of the error; of a foreign exception, its type.
        attempt: The number of the attempt to write its batch in that run, from 1.
        protected_by: The fingerprints of the transforms that keep data from leaving and were applied to the event.
        key_hash: A hash of the document key of an event whose content is not kept; empty if unknown.
    """

    stream: Stream
    position: Position
    event: bytes
    plugin: str
    error: str
    error_id: str
    attempt: int
    protected_by: tuple[str, ...] = ()
    key_hash: str = ""

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
        content: bytes | EllipsisType | None = ...,
        protected_by: Sequence[str] = (),
    ) -> Self:
        """Return the letter for one event of a batch.

        Args:
            batch: The batch as it was written.
            index: The index of the event in it.
            reason: Why the event was rejected.
            plugin: The import package of the destination; counts if the reason comes from no other plugin.
            attempt: The number of the attempt.
            redact: Removes secrets from the text of the reason.
            content: The raw document that may be kept; that of the batch unless given, None for none.
            protected_by: The fingerprints of the transforms that were applied to it.
        """
        hidden = content is None
        package = type(reason).__module__.partition(".")[0]
        return cls(
            stream=batch.stream.of_snapshot or batch.stream,
            position=batch.position_at(index),
            event=bytes(batch.raw(index)) if content is ... else content or b"",
            plugin=plugin if package in ("builtins", "rigatoni_core") else package,
            error=redact(public(reason) if hidden else _text(reason)),
            error_id=reason.id if isinstance(reason, RigatoniError) else type(reason).__name__,
            attempt=attempt,
            protected_by=tuple(protected_by),
            key_hash=_key_hash(batch, index) if hidden else "",
        )

    @property
    def id(self) -> str:
        """The ID for people: the hash of the resume token, since a token may contain a document's `_id`."""
        return token_hash(self.position.resume_token)

    @property
    def key(self) -> Key:
        """Identifies the event. Sources promise distinct tokens within a stream, and no more."""
        return self.stream, self.position.resume_token

    def document(self, decoder: Decoder, event: memoryview | None = None) -> bytes:
        """Return the letter as a raw document in the form of a change event, which every serializer can write.

        Args:
            decoder: The decoder of the stream's source, which creates the document in its format.
            event: The event as it was read, which only names the place; that of the letter unless given.
        """
        record = self._place() | {
            "plugin": self.plugin,
            "error": self.error,
            "error_id": self.error_id,
            "attempt": self.attempt,
            "event": self.event,
        }
        if self.protected_by or not self.event:
            record |= {"format": FORMAT, "protected_by": list(self.protected_by), "key_hash": self.key_hash}
        return decoder.synthesize(
            memoryview(self.event) if event is None else event, "deadLetter", {"deadLetter": record}
        )

    def replay_mark(self, decoder: Decoder) -> bytes:
        """Return a raw document that records that the event of this letter was replayed.

        Args:
            decoder: The decoder of the stream's source, which creates the document in its format.
        """
        return decoder.synthesize(memoryview(self.event), "replayMark", {"replayMark": self._place()})

    def _place(self) -> dict[str, Any]:
        return {
            "format": _WITHOUT_PROTECTION,
            "pipeline": self.stream.pipeline,
            "stream": self.stream.name,
            "position": position_record(self.position),
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Return the letter in a document that was read back.

        Args:
            document: The decoded document.

        Raises:
            ValueError: The document is no dead letter, or has a newer format.
        """
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
                protected_by=tuple(map(str, record.get("protected_by", ()))),
                key_hash=str(record.get("key_hash", "")),
            )
        except (KeyError, TypeError, IndexError, ValueError, OverflowError) as error:
            raise ValueError(f"not a dead letter: {error!r}") from None


def read_replay_mark(document: Mapping[str, Any]) -> Key:
    """Return the key of the replayed letter from a document that was read back.

    Args:
        document: The decoded document.

    Raises:
        ValueError: The document is no mark of a replay.
    """
    try:
        place = document["replayMark"]
        return Stream(str(place["pipeline"]), str(place["stream"])), read_position(place["position"]).resume_token
    except (KeyError, TypeError, IndexError, ValueError, OverflowError) as error:
        raise ValueError(f"not a mark of a replay: {error!r}") from None


async def kept_letters(destination: Destination, pipeline: str) -> AsyncIterator[tuple[DeadLetter, bool]]:
    """Read the dead letters of a pipeline back.

    Args:
        destination: Where they are kept; it has been entered.
        pipeline: The name of the pipeline.

    Yields:
        Each letter once, and whether it was replayed; the letters of a stream in the order of its events.

    Raises:
        ConfigurationError: The destination cannot be read back.
        UnreadableError: Something that it holds cannot be read. Raised after all letters that can be read.
    """
    if not isinstance(destination, ReadBack):
        raise ConfigurationError(
            f"dead letters in {destination.metadata().description} cannot be read back",
            remedy='Read them with other tools, or keep them in a destination that can be read back: "local" or "s3".',
        )
    faults: list[str] = []
    of = Stream(pipeline, "*")
    replayed = {key async for key in _read(destination, of.beside("replay-marks"), read_replay_mark, faults)}
    seen: set[Key] = set()
    async for letter in _read(destination, of.beside("dead-letters"), DeadLetter.read, faults):
        if letter.key not in seen:  # a destination that promises at least once may hold it twice
            seen.add(letter.key)
            yield letter, letter.key in replayed
    if faults:
        raise UnreadableError(
            f"{destination.metadata().description} cannot be read completely ({len(faults)} errors), so letters may be "
            f"missing, or shown as waiting although they were replayed; the first: {faults[0]}"
        )


async def _read(
    destination: ReadBack, stream: Stream, meaning: Callable[[Mapping[str, Any]], T], faults: list[str]
) -> AsyncIterator[T]:
    """Yield what the documents of the stream's pipeline mean; add what cannot be read to `faults`."""
    try:
        async for document in destination.read_back(stream.pipeline):
            try:
                yield meaning(document)
            except ValueError as error:
                faults.append(str(error))
    except UnreadableError as error:
        faults.append(str(error))


def _key_hash(batch: EventBatch, index: int) -> str:
    """Return a hash of the document key, by which letters of one document can be found; empty if it is not readable."""
    try:
        key = batch[index].document_key
    except ValueError:
        return ""
    return hashlib.sha256(repr(key).encode()).hexdigest()[:16] if key else ""


def _text(reason: Exception) -> str:
    """Return the exception's text, made safe to write anywhere."""
    try:
        text = f"{type(reason).__name__}: {reason}"
    except Exception:
        text = type(reason).__name__
    return text.encode("utf-8", "replace").decode()[:_LONGEST]
