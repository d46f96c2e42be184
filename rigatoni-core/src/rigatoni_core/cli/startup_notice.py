"""What is said once when a pipeline starts."""

from collections.abc import Callable
from typing import Any

from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import Listener
from rigatoni_core.api.events import Stream
from rigatoni_core.api.notices import Notice, StreamsSucceeded, WorkerStarted, WorkerStarting
from rigatoni_core.api.words import time_in_words
from rigatoni_core.cli.advice import advice_of
from rigatoni_core.cli.guarantee import guarantee, rejections
from rigatoni_core.cli.output import succession_in_words


class StartupNotice(Listener):
    """Says into what the pipeline writes and what is promised, and once per stream where it goes on.

    Before that, what the components found unwise about their servers; `validate` says what the options alone show.
    """

    def __init__(
        self, configuration: PipelineConfiguration, tell: Callable[[str], Any], advise: Callable[[str], Any]
    ) -> None:
        self._configuration = configuration
        self._tell = tell
        self._advise = advise
        self._advice: list[str] | None = advice_of(configuration)
        self._promise = ""
        self._told: set[str] = set()

    def notify(self, notice: Notice) -> None:
        """See `Listener`. Prints the remaining advice when all components are open."""
        if self._advice is not None and isinstance(notice, WorkerStarting):  # all components are entered
            known, self._advice = self._advice, None
            for text in advice_of(self._configuration):
                if text not in known:
                    self._advise(text)
        if isinstance(notice, StreamsSucceeded):
            former = [Stream(notice.stream.pipeline, name) for name in notice.former]
            self._tell(f"{notice.stream}: {succession_in_words(former, notice.position)}")
            if not notice.leased:
                self._advise(
                    f"{notice.stream}: the state store keeps no leases, so stop every instance that still runs with "
                    "the old `watch`"
                )
        if not isinstance(notice, WorkerStarted) or notice.stream.name in self._told:
            return
        self._told.add(notice.stream.name)
        destination = self._configuration.destination
        level, _ = guarantee(notice.stream, self._configuration.source, destination)
        promise = f"{notice.stream.pipeline}: into {destination.metadata().description}; guarantee: {level}; "
        promise += f"rejected events {rejections(self._configuration)}"
        if promise != self._promise:
            self._tell(promise)
            self._promise = promise
        how = "resumes from" if notice.resumed else "begins at"
        self._tell(f"{notice.stream}: {how} {time_in_words(notice.position.cluster_time)}")
