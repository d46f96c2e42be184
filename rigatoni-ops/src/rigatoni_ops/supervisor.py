"""The supervisor of several instances: starts them, restarts those that crash, passes signals on."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from rigatoni_core.api.commands import Application, ExitCode
from rigatoni_core.api.exit_codes import worst

GRACE = 15.0
"""Seconds that an instance may take to end after its own time limits, before it is killed."""
OPENING_TIMEOUT = 30.0
"""Seconds to wait until the first instance has opened its components, before the others start."""
HEALTHY_AFTER = 60.0
"""An instance that crashes sooner than this after its start has crashed quickly. Seconds."""
QUICK_CRASHES = 5
"""Quick crashes in a row after which an instance is not restarted."""
LONGEST_DELAY = 30.0
"""Seconds to wait before a restart, before jitter, at most."""
DECISIONS = (
    ExitCode.DONE,
    ExitCode.WORKER_FAILED,
    ExitCode.WRONG,
    ExitCode.CANNOT_START,
    ExitCode.RETRIES_USED_UP,
    ExitCode.TIMED_OUT,
)
"""The exit codes after which an instance is not restarted, because it would end the same way again."""


class Supervisor:
    """Runs several instances of the command line of this process until they end, and restarts those that crash.

    Args:
        app: Asks the instances for their status.
        count: The number of instances.
        log: Gets what happens to instances. They write their own logs.
        timeout: Seconds after which the instances end by themselves, if they do.
        shutdown_timeout: Seconds that an instance may take to stop gracefully.
        reloads: Whether SIGHUP makes the instances read their files again. Otherwise it stops them.
    """

    def __init__(
        self, app: Application, count: int, log: Any, *, timeout: float | None, shutdown_timeout: float, reloads: bool
    ) -> None:
        self._app = app
        self._count = count
        self._log = log
        self._timeout = timeout
        self._shutdown_timeout = shutdown_timeout
        self._reloads = reloads
        self._processes: dict[str, Process] = {}
        self._stopping = asyncio.Event()
        self._timed_out = False
        self._reloading: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Run to the end of all instances, and return the worst exit code."""
        labels = [f"{number}/{self._count}" for number in range(1, self._count + 1)]
        with self._signals():
            if self._timeout is not None:
                asyncio.get_running_loop().call_later(self._timeout + GRACE, self._time_out)
            first = asyncio.create_task(self._keep(labels[0]))
            failed = await self._opened(first)  # so that a cause that all share is reported once
            codes = await asyncio.gather(first, *(self._keep(label) for label in labels[1:] if not failed))
        codes += [ExitCode.TIMED_OUT] if self._timed_out else []
        unknown = set(codes).difference(DECISIONS, (ExitCode.ABANDONED, ExitCode.BUG))  # mostly of signals
        return max(unknown) if unknown else worst(each for each in ExitCode if each in codes)

    async def _keep(self, label: str) -> int:
        """Run an instance, again after each crash, and return the exit code of its end."""
        crashes, code = 0, int(ExitCode.DONE)
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._run(label)
            if self._stopping.is_set() or code in DECISIONS:
                break
            crashes = 1 if time.monotonic() - began > HEALTHY_AFTER else crashes + 1
            if crashes == QUICK_CRASHES:
                self._log.error("instance not restarted", instance=label, exit_code=code, crashes=crashes)
                return code
            delay = delay_after(crashes)
            self._log.error("instance crashed", instance=label, exit_code=code, restarts_in=round(delay, 1))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
                return ExitCode.DONE
        self._log.info("instance ended", instance=label, exit_code=code)
        return code

    async def _run(self, label: str) -> int:
        """Run one process to its end, and return its exit code; 128 and the signal if a signal ended it."""
        process = await asyncio.create_subprocess_exec(*_command(label), stdin=subprocess.PIPE, process_group=0)
        self._processes[label] = process
        self._log.info("instance started", instance=label, pid=process.pid)
        if self._stopping.is_set():  # meanwhile
            process.terminate()
        code = await process.wait()
        del self._processes[label]
        if code == -signal.SIGTERM and self._stopping.is_set():  # before it could handle the signal
            return ExitCode.DONE
        if code == -signal.SIGKILL and self._stopping.is_set():
            return ExitCode.ABANDONED
        return 128 - code if code < 0 else code

    async def _opened(self, first: asyncio.Task[int]) -> bool:
        """Wait until the first instance has opened its components, and return whether it has failed instead."""
        waiting = asyncio.create_task(self._until(lambda status: any(each["streams"] for each in status["pipelines"])))
        await asyncio.wait([first, waiting], timeout=OPENING_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        return first.done() and first.result() != ExitCode.DONE

    async def _until(self, condition: Callable[[Mapping[str, Any]], bool], process: Process | None = None) -> None:
        """Wait until the status of the process, or of any, is as described."""
        while True:
            wanted = {each.pid for each in ([process] if process else self._processes.values())}
            for pid, status in await asyncio.to_thread(lambda: list(self._app.running())):
                if pid in wanted and isinstance(status, Mapping) and condition(status):
                    return
            await asyncio.sleep(0.1)

    # --- signals

    def _stop(self) -> None:
        """Stop all instances: gracefully at the first call, immediately at the second; kill those that hang."""
        limit = GRACE + (0 if self._stopping.is_set() else self._shutdown_timeout)
        self._stopping.set()
        self._send(signal.SIGTERM)
        asyncio.get_running_loop().call_later(limit, self._send, signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                process.send_signal(number)

    def _time_out(self) -> None:
        """Stop the instances that were restarted, and so have time left."""
        if self._processes:
            self._timed_out = True
            self._stop()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Handle signals in this block. SIGHUP stays ignored under nohup."""
        loop = asyncio.get_running_loop()
        handlers = {signal.SIGINT: self._stop, signal.SIGTERM: self._stop}
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            handlers[signal.SIGHUP] = self._reload if self._reloads else self._stop
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    def _reload(self) -> None:
        for process in self._processes.values():
            task = asyncio.create_task(self._forward_hangup(process))
            self._reloading.add(task)
            task.add_done_callback(self._reloading.discard)

    async def _forward_hangup(self, process: Process) -> None:
        """Send SIGHUP as soon as the process handles it: earlier, the signal would end it."""
        ended, serving = asyncio.create_task(process.wait()), asyncio.create_task(self._until(lambda _: True, process))
        await asyncio.wait([ended, serving], return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGHUP)


def delay_after(crashes: int) -> float:
    """Return the seconds to wait before a restart: they double with each crash, plus or minus a fifth."""
    return min(2.0 ** (crashes - 1), LONGEST_DELAY) * random.uniform(0.8, 1.2)  # noqa: S311 (no secret)


def _command(label: str) -> Sequence[str]:
    """Return the command line of this process with the option that makes it one of the instances."""
    interpreter = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]
    command, *arguments = sys.argv[1:]
    return [sys.executable, *interpreter[1:], command, "--instance", label, *arguments]
