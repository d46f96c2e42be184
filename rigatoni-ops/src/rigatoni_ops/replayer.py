"""Replay: the events of dead letters are written again. Nothing is ever removed."""

from collections.abc import AsyncIterator, Iterable

from rigatoni_core.api.commands import Application, EventWriter
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.dead_letters import DeadLetter
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.events import Stream

from rigatoni_ops.errors import NotKeptError
from rigatoni_ops.letters import place_of


class Replayer:
    """Writes the events of dead letters into the destination of their pipeline, next to its streams.

    On a destination that creates objects only if absent, replaying a letter again changes nothing.

    Args:
        app: Gives the writers.
        configuration: The pipeline; its destination and that of its dead letters have been entered.
    """

    def __init__(self, app: Application, configuration: PipelineConfiguration) -> None:
        self._app = app
        self._configuration = configuration
        self._writers: dict[Stream, tuple[EventWriter, EventWriter]] = {}

    async def replay(
        self, letters: Iterable[DeadLetter]
    ) -> AsyncIterator[tuple[DeadLetter, RejectedEventsError | NotKeptError | None]]:
        """Write the event of each letter, then its mark.

        Yields:
            Each letter when it is done, with the error if its event is rejected again, or was not kept.

        Raises:
            RigatoniError: Any other error of a destination; a transient one after the last retry.
        """
        decoder = self._configuration.source.decoder
        for letter in letters:
            events, marks = self._of(letter.stream)
            if not letter.event:
                yield letter, NotKeptError(f"the content of event #{letter.id} was not kept, since a mask failed on it")
                continue
            try:
                await events.write(letter.position, letter.event, letter.protected_by)
            except RejectedEventsError as error:
                yield letter, error
                continue
            await marks.write(letter.position, letter.replay_mark(decoder))
            yield letter, None

    def _of(self, stream: Stream) -> tuple[EventWriter, EventWriter]:
        if stream not in self._writers:
            writer, configuration = self._app.event_writer, self._configuration
            self._writers[stream] = (
                writer(configuration, stream.beside("replayed"), configuration.destination),
                writer(configuration, stream.beside("replay-marks"), place_of(configuration)),
            )
        return self._writers[stream]
