"""What `rigatoni run` does once the file is read: run the pipelines, tell what happens, end with an exit code."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.statistics import StreamStatistics
from rigatoni_core.cli.app import ABANDONED, BUG, CAN_NOT_START, DONE, WORKER_FAILED, fail_on_bug
from rigatoni_core.cli.logs import LogListener, make_log
from rigatoni_core.cli.output import complain, duration, fail, redacted, time_in_words, warn
from rigatoni_core.cli.reloading import refusal
from rigatoni_core.cli.sockets import answering
from rigatoni_core.cli.startup_notice import StartupNotice
from rigatoni_core.engine.group import PipelineGroup
from rigatoni_core.engine.pipeline import Pipeline, PipelineReport, signals

if TYPE_CHECKING:
    from rigatoni_core.config import PipelineConfiguration

Outcomes = Mapping[str, PipelineReport | Exception]


class Run:
    """One call of `rigatoni run`: all pipelines of a file or folder, until they end.

    `load` reads the configuration again, for SIGHUP.
    """

    def __init__(
        self,
        file: Path,
        load: "Callable[[], Sequence[PipelineConfiguration]]",
        *,
        once: bool,
        quiet: bool,
        log_level: str,
        log_format: str,
    ) -> None:
        self._file = file
        self._load = load
        self._once = once
        terminal = log_format == "auto" and sys.stderr.isatty()
        self._live = terminal and not quiet and os.environ.get("TERM") != "dumb"
        self._human = quiet or terminal or log_format == "human"
        level = "critical" if quiet else "error" if self._live and log_level != "debug" else log_level
        self._log = make_log(level, human=self._human)
        self._tell: Callable[[str], Any] = complain if self._live else self._log.info
        self._warn: Callable[[str], Any] = warn if self._live else self._log.warning
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._configurations: Sequence[PipelineConfiguration] = ()
        self._next: Sequence[PipelineConfiguration] = ()
        self._group = PipelineGroup(())

    async def run(self) -> int:
        """Run to the end; the exit code. Raises the error of a single pipeline that can not be opened."""
        self._next = self._load()
        code = DONE
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(answering(self._status))
            except RigatoniError as error:
                self._warn(f"`rigatoni status` will not see this process: {error}")
            while self._next:
                self._configurations, self._next = self._next, ()
                outcomes = await self._run()
                code = self._code(outcomes)
                if any(isinstance(each, PipelineReport) and each.abandoned for each in outcomes.values()):
                    sys.stderr.flush()
                    os._exit(code)  # a thread that hangs would keep the process, and no second start goes beside it
        return code

    async def _run(self) -> Outcomes:
        for configuration in self._configurations:
            for text in configuration.warnings:
                self._warn(text)
        pipelines = [self._pipeline(configuration) for configuration in self._configurations]
        self._group = PipelineGroup(pipelines, self._failed if len(pipelines) > 1 else _nothing)
        started = time.monotonic()
        statistics = {pipeline.name: pipeline.statistics for pipeline in pipelines}
        with signals(self._stop), self._reloading(), _progress(statistics) if self._live else nullcontext():
            outcomes = await self._group.run(once=self._once)
        for name, figures in statistics.items():
            self._tell(_summary(name, figures.total, time.monotonic() - started))
        if len(pipelines) == 1 and isinstance(error := outcomes[pipelines[0].name], Exception):
            raise error
        return outcomes

    def _pipeline(self, configuration: "PipelineConfiguration") -> Pipeline:
        own = [StartupNotice(configuration, self._tell, self._warn), LogListener(self._log, tracebacks=not self._human)]
        return Pipeline.of(configuration, listeners=own)

    def _failed(self, name: str, error: Exception) -> None:
        """One of several pipelines could not be opened; the others run on."""
        if isinstance(error, RigatoniError):
            fail(error, f"{name} does not run: ")
        else:
            fail_on_bug(error, f"{name} does not run: ")

    # --- a changed configuration

    def _reloading(self) -> Any:
        """Within this block SIGHUP reads the configuration again; on a terminal, where it means its end, it stops."""
        if self._once or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup
            return nullcontext()
        return _hangup(self._stop if self._live else self._reload)

    def _stop(self) -> None:
        """End for good; asked again, at once."""
        if self._next:  # they stop already, to be started again: now they are not
            self._next = ()
        else:
            self._group.stop()

    def _reload(self) -> None:
        """Take up what the files say now: stop gracefully, then start again from the checkpoints. Or say why not."""
        if self._group.stopping and not self._next:
            return  # for good
        try:
            wanted = self._load()
            reason = refusal(self._configurations, wanted)
        except RigatoniError as error:
            reason = str(error)
        if reason:
            self._log.error("reload refused, everything runs on as before", reason=redacted(reason))
            return
        self._tell(f"{self._file}: read again; the pipelines stop and go on from their checkpoints")
        self._next = wanted
        if not self._group.stopping:
            self._group.stop()

    # --- for people and programs

    def _status(self) -> dict[str, Any]:
        return {
            "file": str(self._file.resolve()),
            "pid": os.getpid(),
            "started": self._started,
            "pipelines": [
                {
                    "name": pipeline.name,
                    "streams": [
                        {"name": name, **_plain(figures)} for name, figures in pipeline.statistics.streams.items()
                    ],
                }
                for pipeline in self._group.pipelines
            ],
        }

    def _code(self, outcomes: Outcomes) -> int:
        """The exit code. Where the log is JSON, it has said the workers' errors already."""
        code = DONE
        for name, outcome in outcomes.items():
            if isinstance(outcome, Exception):
                code = max(code, CAN_NOT_START if isinstance(outcome, RigatoniError) else BUG)
            else:
                several = f"{name}/" if len(outcomes) > 1 else ""
                code = max(code, *self._codes_of(outcome, several))
        return code

    def _codes_of(self, report: PipelineReport, prefix: str) -> Sequence[int]:
        codes = [DONE, ABANDONED if report.abandoned else DONE]
        for name, outcome in report.workers.items():
            if outcome.abandoned:
                reached = time_in_words(outcome.position.cluster_time) if outcome.position else "where it began"
                lost = f"cut off before it had ended by itself; nothing is lost, it goes on from {reached}"
                self._tell(f"{prefix}{name}: {lost}")
            if outcome.error is None:
                continue
            ours = isinstance(outcome.error, RigatoniError)
            codes.append(WORKER_FAILED if ours else BUG)
            if self._human and isinstance(outcome.error, RigatoniError):
                fail(outcome.error, f"{prefix}{name}: ")
            elif self._human:
                fail_on_bug(outcome.error, f"{prefix}{name}: ")
        return codes


def _nothing(*_: object) -> None:
    """Says nothing."""


@contextmanager
def _hangup(action: Callable[[], None]) -> Iterator[None]:
    """Within this block SIGHUP calls `action`."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, action)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


def _progress(statistics: Mapping[str, Any]) -> Any:
    from rigatoni_core.cli.progress import Progress

    return Progress(statistics)


def _plain(figures: StreamStatistics) -> dict[str, Any]:
    """The figures as plain JSON values, with those that are computed."""
    public = attrs.asdict(figures, filter=lambda field, _: not field.name.startswith("_"))
    computed = {"lag": figures.lag, "checkpoint_age": figures.checkpoint_age}
    return {**public, **computed, "last_error": redacted(figures.last_error)}


def _summary(name: str, total: StreamStatistics, seconds: float) -> str:
    return (
        f"{name}: {total.events:,} events in {total.batches:,} batches within {duration(seconds)}, "
        f"{total.retries:,} retries, {total.rejected:,} rejected, {total.gaps:,} gaps"
    )
