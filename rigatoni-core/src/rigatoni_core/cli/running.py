"""What `rigatoni run` does once the file is read: run the pipeline, tell what happens, end with an exit code."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from rigatoni_core.cli.advice import advice_of
from rigatoni_core.cli.app import ABANDONED, BUG, DONE, WORKER_FAILED, fail_on_bug
from rigatoni_core.cli.guarantee import guarantee, rejections
from rigatoni_core.cli.logs import LogListener, make_log
from rigatoni_core.cli.output import complain, duration, fail, time_in_words, warn
from rigatoni_core.contracts import Listener
from rigatoni_core.errors import RigatoniError
from rigatoni_core.notices import Notice, WorkerStarted
from rigatoni_core.pipeline import Pipeline, PipelineReport
from rigatoni_core.statistics import Statistics

if TYPE_CHECKING:
    from rigatoni_core.config import PipelineConfiguration


def execute(configuration: "PipelineConfiguration", *, once: bool, log_level: str, log_format: str) -> None:
    """Run the pipeline until it ends. Never returns: exits with the code that says how it ended."""
    asyncio.run(_run(configuration, once, log_level, log_format))


async def _run(configuration: "PipelineConfiguration", once: bool, log_level: str, log_format: str) -> None:
    live = log_format == "auto" and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    human = live or log_format == "human" or (log_format == "auto" and sys.stderr.isatty())
    log = make_log("error" if live and log_level != "debug" else log_level, human=human)
    tell: Callable[[str], Any] = complain if live else log.info
    advise: Callable[[str], Any] = warn if live else log.warning
    pipeline = Pipeline(
        name=configuration.name,
        source=configuration.source,
        destination=configuration.destination,
        state=configuration.state,
        dead_letters=configuration.dead_letters,
        settings=configuration.settings,
        redact=configuration.redaction,
        listeners=[
            _Announcer(configuration, tell, advise),
            LogListener(log, tracebacks=not human),
            *configuration.listeners,
        ],
    )
    started = time.monotonic()
    with _progress(pipeline.statistics) if live else nullcontext():
        report = await pipeline.run(once=once, handle_signals=True)
    tell(_summary(configuration.name, pipeline.statistics, time.monotonic() - started))
    for name, outcome in report.workers.items():
        if outcome.abandoned:
            time_reached = time_in_words(outcome.position.cluster_time) if outcome.position else "where it began"
            tell(f"{name}: abandoned in the middle of a batch; nothing is lost, it goes on from {time_reached}")
    code = _code(report, say_errors=human)
    if report.abandoned:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # a thread that hangs would keep the process, even the event loop's end would wait for it
    sys.exit(code)


class _Announcer(Listener):
    """Says into what the pipeline writes and what is promised, and once per stream where it goes on.

    Before that, what the components found unwise about their servers; `validate` says what the options alone show.
    """

    def __init__(
        self, configuration: "PipelineConfiguration", tell: Callable[[str], Any], advise: Callable[[str], Any]
    ) -> None:
        self._configuration = configuration
        self._tell = tell
        self._advise = advise
        self._advice: list[str] | None = advice_of(configuration)
        self._promise = ""
        self._told: set[str] = set()

    def notify(self, notice: Notice) -> None:
        if self._advice is not None:  # the first notice: all components are entered
            known, self._advice = self._advice, None
            for text in advice_of(self._configuration):
                if text not in known:
                    self._advise(text)
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
        how = "goes on from" if notice.resumed else "begins at"
        self._tell(f"{notice.stream}: {how} {time_in_words(notice.position.cluster_time)}")


def _progress(statistics: Statistics) -> Any:
    from rigatoni_core.cli.progress import Progress

    return Progress(statistics)


def _summary(name: str, statistics: Statistics, seconds: float) -> str:
    total = statistics.total
    return (
        f"{name}: {total.events:,} events in {total.batches:,} batches within {duration(seconds)}, "
        f"{total.retries:,} retries, {total.rejected:,} rejected, {total.gaps:,} gaps"
    )


def _code(report: PipelineReport, *, say_errors: bool) -> int:
    """The exit code. Where the log is JSON, it has said every error already."""
    code = ABANDONED if report.abandoned else DONE
    for name, outcome in report.workers.items():
        if outcome.error is None:
            continue
        code = code or WORKER_FAILED
        if not isinstance(outcome.error, RigatoniError):
            code = BUG
        if say_errors and isinstance(outcome.error, RigatoniError):
            fail(outcome.error, f"{name}: ")
        elif say_errors:
            fail_on_bug(outcome.error, f"{name}: ")
    return code
