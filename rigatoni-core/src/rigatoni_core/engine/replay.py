"""Dead letters read back, and their events written again once the cause was mended. Nothing is ever removed."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, TypeVar

from rigatoni_core.api.batch import Decoder
from rigatoni_core.api.contracts import Destination, ReadBack
from rigatoni_core.api.errors import ConfigurationError, RejectedEventsError, UnreadableError
from rigatoni_core.api.events import Position, Stream
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.dead_letters import DeadLetter, Key, marked
from rigatoni_core.engine.retry import Retry
from rigatoni_core.engine.shutdown import Shutdown
from rigatoni_core.engine.single_event_writer import SingleEventWriter
from rigatoni_core.engine.time_limit import time_limit

T = TypeVar("T")


async def kept_letters(dead_letters: Destination, pipeline: str) -> AsyncIterator[tuple[DeadLetter, bool]]:
    """Every dead letter of a pipeline, once, and whether it was replayed; each stream's in the order of its events.

    Raises `ConfigurationError` where this destination can not be read back, and, after all that can be read,
    `UnreadableError` where something can not.
    """
    if not isinstance(dead_letters, ReadBack):
        raise ConfigurationError(
            f"dead letters in {dead_letters.metadata().description} can not be read back",
            remedy='Look at them with its own tools, or keep them where they can be read back: in "local" or "s3".',
        )
    faults: list[str] = []
    of = Stream(pipeline, "*")
    replayed = {key async for key in _read(dead_letters, of.beside("replay-marks"), marked, faults)}
    told: set[Key] = set()
    async for letter in _read(dead_letters, of.beside("dead-letters"), DeadLetter.read, faults):
        if letter.key not in told:  # a destination that promises less than once in effect may hold it twice
            told.add(letter.key)
            yield letter, letter.key in replayed
    if faults:
        raise UnreadableError(
            f"not all of {dead_letters.metadata().description} could be read ({len(faults)} faults), so letters may be "
            f"missing, or seem to wait though they were replayed; the first: {faults[0]}"
        )


async def _read(
    dead_letters: ReadBack, stream: Stream, meaning: Callable[[Mapping[str, Any]], T], faults: list[str]
) -> AsyncIterator[T]:
    """What the documents of this stream's pipeline mean; what can not be read is added to `faults`."""
    try:
        async for document in dead_letters.read_back(stream.pipeline):
            try:
                yield meaning(document)
            except ValueError as error:
                faults.append(str(error))
    except UnreadableError as error:
        faults.append(str(error))


class Replayer:
    """Writes the events of dead letters into the pipeline's destination, each as a batch of its own beside its stream.

    So a letter may be replayed again: where objects are created only if absent, nothing changes by that.
    """

    def __init__(
        self, destination: Destination, dead_letters: Destination, decoder: Decoder, settings: Settings
    ) -> None:
        self._destination = destination
        self._dead_letters = dead_letters
        self._decoder = decoder
        self._settings = settings
        self._streams: dict[Stream, tuple[Retry, SingleEventWriter, SingleEventWriter]] = {}

    async def replay(
        self, letters: Iterable[DeadLetter]
    ) -> AsyncIterator[tuple[DeadLetter, RejectedEventsError | None]]:
        """Write the event of each letter, then its mark; tells each as it is done, with the error where it is rejected.

        Transient errors are retried as the pipeline does; raises any other, and the last one.
        """
        for letter in letters:
            retry, events, marks = self._of(letter.stream)
            try:
                await retry(self._write, events, letter.position, letter.event)
            except RejectedEventsError as error:
                yield letter, error
                continue
            await retry(self._write, marks, letter.position, letter.token_and_time(self._decoder))
            yield letter, None

    def _of(self, stream: Stream) -> tuple[Retry, SingleEventWriter, SingleEventWriter]:
        if stream not in self._streams:
            self._streams[stream] = (
                Retry(stream, self._settings.retry, Shutdown(stream)),
                SingleEventWriter(stream.beside("replayed"), self._destination),
                SingleEventWriter(stream.beside("replay-marks"), self._dead_letters),
            )
        return self._streams[stream]

    async def _write(self, side: SingleEventWriter, position: Position, raw: bytes) -> None:
        async with time_limit(self._settings.write_timeout, f"the destination of {side.stream}", side.progress):
            await side.write(position, raw, self._decoder)
