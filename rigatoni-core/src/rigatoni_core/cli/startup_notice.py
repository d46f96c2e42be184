"""The messages at the start of a pipeline."""

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
    """Reports the pipeline's destination and guarantee, and once per stream the position at which it starts.

    Before that, it reports warnings about servers, which components know only once they are entered.
    """

    def __init__(
        self, configuration: PipelineConfiguration, info: Callable[[str], Any], warn: Callable[[str], Any]
    ) -> None:
        self._configuration = configuration
        self._info = info
        self._warn = warn
        self._advice: list[str] | None = advice_of(configuration)
        self._guarantee = ""
        self._reported: set[str] = set()

    def notify(self, notice: Notice) -> None:
        """Print the messages that belong to the notice. See `Listener`."""
        if self._advice is not None and isinstance(notice, WorkerStarting):  # all components are entered now
            known, self._advice = self._advice, None
            for text in advice_of(self._configuration):
                if text not in known:
                    self._warn(text)
        if isinstance(notice, StreamsSucceeded):
            former = [Stream(notice.stream.pipeline, name) for name in notice.former]
            self._info(f"{notice.stream}: {succession_in_words(former, notice.position)}")
            if not notice.leased:
                self._warn(
                    f"{notice.stream}: stop every instance that still runs with the old `watch`, because the state "
                    "store keeps no leases"
                )
        if not isinstance(notice, WorkerStarted) or notice.stream.name in self._reported:
            return
        self._reported.add(notice.stream.name)
        destination = self._configuration.destination
        level, _ = guarantee(notice.stream, self._configuration.source, destination)
        summary = f"{notice.stream.pipeline}: into {destination.metadata().description}; guarantee: {level}; "
        summary += f"rejected events {rejections(self._configuration)}"
        if summary != self._guarantee:
            self._info(summary)
            self._guarantee = summary
        how = "resumes from" if notice.resumed else "starts at"
        self._info(f"{notice.stream}: {how} {time_in_words(notice.position.cluster_time)}")
