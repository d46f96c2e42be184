"""The work of `rigatoni run`: runs the pipelines, reports on them, and ends with an exit code."""

import asyncio
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import StateInspector
from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.exit_codes import ExitCode, worst
from rigatoni_core.api.process_counts import process_counts
from rigatoni_core.api.words import duration, time_in_words
from rigatoni_core.cli.app import fail_on_bug
from rigatoni_core.cli.figures import plain
from rigatoni_core.cli.logs import LogListener, make_log
from rigatoni_core.cli.output import complain, fail, redacted, warn
from rigatoni_core.cli.reloading import Member, successors
from rigatoni_core.cli.sockets import serving
from rigatoni_core.cli.startup_notice import StartupNotice
from rigatoni_core.cli.strays import renaming_advice, unwatched_advice
from rigatoni_core.engine.group import PipelineGroup
from rigatoni_core.engine.pipeline import Pipeline, PipelineReport, signals
from rigatoni_core.observe.statistics import StreamStatistics

LOOK_TIMEOUT = 5.0
"""Seconds to inspect a state store before the start. The run itself waits longer for an unavailable store."""

Outcomes = Mapping[str, PipelineReport | Exception]


class Run:
    """One call of `rigatoni run`: runs all pipelines of a file or folder until they end.

    Args:
        file: The file or folder.
        load: Reads the configuration. Called again at each SIGHUP.
        once: Whether to end when every stream has caught up.
        timeout: Seconds after which a run with `once` ends in any case.
        quiet: Whether to print only errors, at the end.
        log_level: The lowest level to log.
        log_format: `auto`, `human` or `json`.
        instance: Which of several instances this is, such as `2/4`; empty if it runs alone.
    """

    def __init__(
        self,
        file: Path,
        load: Callable[[], Sequence[PipelineConfiguration]],
        *,
        once: bool,
        timeout: float | None,
        quiet: bool,
        log_level: str,
        log_format: str,
        instance: str = "",
    ) -> None:
        self._file = file
        self._load = load
        self._once = once
        self._timeout = timeout
        terminal = log_format == "auto" and sys.stderr.isatty()
        self._instance = instance
        self._live = terminal and not quiet and not instance and os.environ.get("TERM") != "dumb"
        self._human = quiet or terminal or log_format == "human"
        level = "critical" if quiet else "error" if self._live and log_level != "debug" else log_level
        self._log = make_log(level, human=self._human, instance=instance)
        self._tell: Callable[[str], Any] = complain if self._live else partial(self._log.info, kind="message")
        self._warn: Callable[[str], Any] = warn if self._live else partial(self._log.warning, kind="message")
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._began = time.monotonic()
        self._members: Sequence[Member] = ()
        self._group = PipelineGroup(())
        self._ending = False  # without a successor
        self._timed_out = False
        self._reloading: asyncio.Task[None] | None = None
        self._reload_again = False
        self._next: Sequence[Member] = ()

    async def run(self) -> int:
        """Run to the end, and return the exit code. Raises the error of a single pipeline that cannot be opened."""
        code = ExitCode.DONE
        async with AsyncExitStack() as stack:
            stack.enter_context(signals(self._stop))
            stack.enter_context(self._hangups())
            members: Sequence[Member] = [self._member(configuration) for configuration in self._load()]
            try:
                await stack.enter_async_context(serving(self._status))
            except RigatoniError as error:
                self._warn(f"`rigatoni status` will not see this process: {error}")
            if self._timeout is not None:
                asyncio.get_running_loop().call_later(self._timeout, self._time_out)
            while members and not self._ending:
                outcomes = await self._run(members)
                code = self._code(outcomes)
                if any(isinstance(each, PipelineReport) and each.abandoned for each in outcomes.values()):
                    sys.stderr.flush()
                    os._exit(code)  # a hanging thread would keep the process alive, and its locks
                members = await self._successors()
        return code

    async def _run(self, members: Sequence[Member]) -> Outcomes:
        self._members = members
        names = {member.name for member in members}
        # before the first await: a signal must find the group that it has to stop
        self._group = PipelineGroup(
            [member.pipeline for member in members], self._failed if len(members) > 1 else _nothing
        )
        for member in members:
            for text in (*member.configuration.warnings, *await _positions_advice(member, names)):
                self._warn(text)
        statistics = {member.name: member.pipeline.statistics for member in members}
        with _progress(statistics) if self._live else nullcontext():
            outcomes = await self._group.run(once=self._once)
        for name, figures in statistics.items():
            self._tell(_summary(name, figures.total, time.monotonic() - self._began))
        if len(members) == 1 and isinstance(error := outcomes[members[0].name], Exception):
            raise error
        return outcomes

    def _member(self, configuration: PipelineConfiguration) -> Member:
        own = [StartupNotice(configuration, self._tell, self._warn), LogListener(self._log, tracebacks=not self._human)]
        return Member(configuration, Pipeline.of(configuration, listeners=own))

    def _failed(self, name: str, error: Exception) -> None:
        """Report that one of several pipelines cannot be opened. The others continue."""
        if isinstance(error, RigatoniError):
            fail(error, f"{name} does not run: ")
        else:
            fail_on_bug(error, f"{name} does not run: ")

    # --- the end

    def _stop(self) -> None:
        """End without a successor: gracefully at the first call, immediately at the second."""
        first, self._ending = not self._ending, True
        if self._reloading is not None:
            self._reloading.cancel()
        if not (first and self._group.stopping):  # else they are already ending for a reload, which is now cancelled
            self._group.stop()

    def _time_out(self) -> None:
        """End gracefully, and report the streams that have not caught up."""
        self._timed_out = True
        for member in self._members:
            for name, figures in member.pipeline.statistics.streams.items():
                if figures.state != "stopped":
                    error = figures.last_error
                    trouble = f": {error.message}" if error and not error.recovered else ""
                    text = f"{member.name}/{name} had not caught up ({figures.state}) when --timeout was over{trouble}"
                    complain(text) if self._human else self._log.error(redacted(text), kind="message")
        self._stop()

    # --- a changed configuration

    def _hangups(self) -> Any:
        """Handle SIGHUP in this block: read the configuration again, or stop if it means that the terminal closed."""
        if self._once or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup
            return nullcontext()
        return signals(self._stop if self._live else self._reload, signal.SIGHUP)

    def _reload(self) -> None:
        """Apply the changed files, once more after a reload in progress."""
        if self._reloading is not None:
            self._reload_again = True
        elif self._members and not self._ending:
            self._reloading = asyncio.create_task(self._prepare_successors())

    async def _prepare_successors(self) -> None:
        """Prepare the new pipelines while the old ones run, then stop the old ones; or report why nothing changes."""
        try:
            self._next = await successors(self._members, self._load(), self._member)
        except Exception as error:
            text = str(error) if isinstance(error, RigatoniError) else "".join(traceback.format_exception(error))
            self._log.error("reload rejected, the running pipelines continue unchanged", reason=redacted(text))
            self._reloading = None
            self._repeat_reload()
        else:
            self._tell(f"{self._file}: read again; the pipelines stop and resume from their checkpoints")
            self._group.stop()

    def _repeat_reload(self) -> None:
        if self._reload_again:
            self._reload_again = False
            asyncio.get_running_loop().call_soon(self._reload)

    async def _successors(self) -> Sequence[Member]:
        """Return the pipelines that replace those that have ended, if any, and wait for a reload in progress."""
        if self._reloading is not None:
            await asyncio.wait([self._reloading])
        members, self._next, self._reloading = self._next, (), None
        if self._ending:
            for member in members:
                await member.pipeline.close()
            return ()
        self._repeat_reload()
        return members

    # --- status and exit code

    def _status(self) -> dict[str, Any]:
        return {
            "file": str(self._file.resolve()),
            "pid": os.getpid(),
            "instance": self._instance,
            "started": self._started,
            "counts": {count.name: dict(count.read()) for count in process_counts()},
            "pipelines": [
                {
                    "name": pipeline.name,
                    "streams": [
                        {"name": name, **plain(figures)} for name, figures in pipeline.statistics.streams.items()
                    ],
                }
                for pipeline in self._group.pipelines
            ],
        }

    def _code(self, outcomes: Outcomes) -> ExitCode:
        """Return the exit code, and report the workers' errors unless the log is JSON, which already contains them."""
        codes = [ExitCode.TIMED_OUT] if self._timed_out else []
        for name, outcome in outcomes.items():
            if isinstance(outcome, RigatoniError):
                codes.append(ExitCode.CANNOT_START)
            elif isinstance(outcome, Exception):
                codes.append(ExitCode.BUG)
            else:
                codes += self._codes_of(outcome, f"{name}/" if len(outcomes) > 1 else "")
        return worst(codes)

    def _codes_of(self, report: PipelineReport, prefix: str) -> Iterator[ExitCode]:
        if report.abandoned and not self._timed_out:  # else that is the cause
            yield ExitCode.ABANDONED
        for name, outcome in report.workers.items():
            if outcome.abandoned:
                reached = time_in_words(outcome.position.cluster_time) if outcome.position else "its start"
                self._tell(f"{prefix}{name}: aborted before its clean end; nothing is lost, it resumes from {reached}")
            if outcome.error is None:
                continue
            yield _code_of(outcome.error)
            if self._human and isinstance(outcome.error, RigatoniError):
                fail(outcome.error, f"{prefix}{name}: ")
            elif self._human:
                fail_on_bug(outcome.error, f"{prefix}{name}: ")


def _code_of(error: BaseException) -> ExitCode:
    """Return the exit code for a worker's error."""
    if not isinstance(error, RigatoniError):
        return ExitCode.BUG
    return ExitCode.RETRIES_USED_UP if error.transient else ExitCode.WORKER_FAILED


async def _positions_advice(member: Member, names: Collection[str]) -> Sequence[str]:
    """Return the warnings of `validate` about other positions in the state store, if it can be inspected in time."""
    state = member.configuration.state
    if not isinstance(state, StateInspector):
        return ()
    try:
        async with (
            asyncio.timeout(LOOK_TIMEOUT),
            nullcontext() if member.pipeline.holds(state) else state.looking(),
        ):
            renamed = await renaming_advice(member.configuration, names)
            return (*renamed, *await unwatched_advice(member.configuration))
    except (RigatoniError, TimeoutError):
        return ()


def _nothing(*_: object) -> None:
    """Ignore the call."""


def _progress(statistics: Mapping[str, Any]) -> Any:
    from rigatoni_core.cli.progress import Progress

    return Progress(statistics)


def _summary(name: str, total: StreamStatistics, seconds: float) -> str:
    found = f" and {total.found:,} that an earlier run had written" if total.found else ""
    return (
        f"{name}: {total.events:,} events in {total.batches:,} batches{found} in {duration(seconds)}, "
        f"{total.retries:,} retries, {total.rejected:,} rejected, {total.gaps:,} gaps"
    )
