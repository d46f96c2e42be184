"""The policy for events that cannot be written: keep as dead letters, skip, or stop the worker."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import NoReturn

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.bus import publish
from rigatoni_core.api.contracts import Destination
from rigatoni_core.api.dead_letters import DeadLetter
from rigatoni_core.api.errors import (
    ConfigurationError,
    DeadLetterError,
    DeadLettersDownError,
    RejectedEventsError,
    RigatoniError,
    TooManyRejectedError,
    public,
)
from rigatoni_core.api.events import ResumeToken, Stream
from rigatoni_core.api.notices import EventsRejected
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.single_event_writer import SingleEventWriter
from rigatoni_core.engine.time_limit import time_limit
from rigatoni_core.engine.transforming import Transformed

_GO_ON = 'Configure [pipeline.dead_letters] to keep such events, or set on_rejected = "skip" to skip them.'

_MASKED = (
    'Fix the transform, or set on_mask_error = "redact" to quarantine the place of such events without their content.'
)


class RejectionPolicy:
    """The rejected events of one stream, by the settings `on_rejected`, `max_rejected` and `rejected_window`.

    Args:
        stream: The stream.
        settings: The policy and its limits.
        dead_letters: Where rejected events go, if anywhere.
        plugin: The package of the destination, for dead letters whose reason names no other.
        check: Raises `LeaseLostError` once the lease is no longer held; called before each dead letter.
        redact: Takes secrets out of the text of an error.
    """

    def __init__(
        self,
        stream: Stream,
        settings: Settings,
        dead_letters: Destination | None,
        *,
        plugin: str,
        check: Callable[[], None],
        redact: Callable[[str], str],
    ) -> None:
        try:
            self.policy = settings.rejection_policy(dead_letters=dead_letters is not None)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self._stream = stream
        self._settings = settings
        self._letters = SingleEventWriter(stream.beside("dead-letters"), dead_letters) if dead_letters else None
        self._plugin = plugin
        self._check = check
        self._redact = redact
        self._recent: deque[tuple[int, int]] = deque()  # of the last batches delivered: events read, events rejected
        self._read = self._rejected = 0  # their sums
        self._kept: set[ResumeToken] = set()  # durable letters of a batch that is not delivered yet

    async def settle(
        self, made: Transformed, rejected: Mapping[int, Exception], attempt: int, *, plugin: str | None = None
    ) -> None:
        """Apply the policy to rejected events, before the rest of their batch is written.

        Args:
            made: The batch, and what of its events may be quarantined.
            rejected: Why each event was rejected, by its index in the batch as it was read.
            attempt: Which attempt to write the batch this is, from 1.
            plugin: The package that rejected those which this call adds, if it was not the destination.

        Raises:
            RejectedEventsError: The policy is to stop. Here and below the batch must not be written.
            TooManyRejectedError: More than `max_rejected` of the last events were rejected.
            DeadLetterError: A dead letter cannot be written.
        """
        if self.policy == "stop":
            self._stop(rejected, _GO_ON)
        if made.unprotected and self._settings.on_mask_error == "stop":
            failed = {index: reason for index, reason in rejected.items() if index in made.unprotected}
            self._stop(failed, _MASKED)
        batch = made.batch.as_read
        self._refuse_too_many(batch, rejected)
        if self.policy == "dead_letter":
            for index, reason in sorted(rejected.items()):
                await self._keep(made, index, reason, attempt, plugin or self._plugin)

    def _stop(self, rejected: Mapping[int, Exception], remedy: str) -> NoReturn:
        error = RejectedEventsError(rejected, remedy=remedy)
        publish(EventsRejected(stream=self._stream, events=len(rejected), error=error, action="stop"))
        raise error

    def delivered(self, batch: EventBatch, rejected: Mapping[int, Exception]) -> None:
        """Count the rejected events: the rest of the batch is durable."""
        self._kept.clear()
        self._remember(batch.read, len(rejected))
        if rejected:
            error = RejectedEventsError(rejected)
            publish(EventsRejected(stream=self._stream, events=len(rejected), error=error, action=self.policy))

    def _remember(self, read: int, rejected: int) -> None:
        self._make_room(read)
        self._recent.append((read, rejected))
        self._read, self._rejected = self._read + read, self._rejected + rejected

    def _make_room(self, coming: int) -> None:
        """Drop the oldest batches while the later ones and the `coming` events fill the window."""
        while self._recent and self._read - self._recent[0][0] + coming >= self._settings.rejected_window:
            read, rejected = self._recent.popleft()
            self._read, self._rejected = self._read - read, self._rejected - rejected

    def _refuse_too_many(self, batch: EventBatch, rejected: Mapping[int, Exception]) -> None:
        self._make_room(batch.read)
        total = self._rejected + len(rejected)
        if total > self._settings.max_rejected:
            raise TooManyRejectedError(
                f"{total} of the last {self._read + batch.read} events of {self._stream} were rejected, more than "
                f"max_rejected = {self._settings.max_rejected}; the newest: {public(rejected[max(rejected)])}"
            )

    async def _keep(self, made: Transformed, index: int, reason: Exception, attempt: int, plugin: str) -> None:
        """Write the dead letter of one event, unless an earlier attempt has written it."""
        assert self._letters is not None
        batch = made.batch.as_read
        letter = DeadLetter.of(
            batch,
            index,
            reason,
            plugin=plugin,
            attempt=attempt,
            redact=self._redact,
            content=made.content(index),
            protected_by=made.protected_by,
        )
        if letter.position.resume_token in self._kept:
            return
        self._check()
        who = f"the destination of the dead letters of {self._stream}"
        try:
            async with time_limit(self._settings.write_timeout, who, self._letters.progress):
                await self._letters.write(
                    letter.position, letter.document(batch.decoder, batch.raw(index)), batch.decoder
                )
        except RejectedEventsError as error:
            raise DeadLetterError(f"a dead letter of {self._stream} is rejected as well: {error}") from error
        except RigatoniError as error:
            kind = DeadLettersDownError if error.transient else DeadLetterError
            raise kind(
                f"dead letters of {self._stream} cannot be written, so its batch is not written either: {error}",
                remedy=error.remedy,
                retry_after=error.retry_after,
            ) from error
        self._kept.add(letter.position.resume_token)
