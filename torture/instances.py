"""Instances of the pipeline as a user runs them, which are killed, paused, stopped, and restarted."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

COMMAND = (sys.executable, "-m", "rigatoni_core.cli", "run", "pipeline.toml")
CAN_NOT_START, CUT_OFF = 3, 4
"""Exit codes: a server was down at the start; something hung at the stop (docs/operating.md)."""


class Instance:
    """One `rigatoni run`, restarted under the same name. Its leases last `ttl` seconds."""

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str], ttl: float) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes]  # since `start`
        self._is_started = False
        self._folder = folder
        self._environment = {**os.environ, **environment}
        self._ttl = ttl
        self._resume_at: float | None = None
        self._start_at: float | None = None
        self._started_at = 0  # in the log

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._started_at = log.tell()
            self.process = subprocess.Popen(
                [*COMMAND, "--log-format", "json"],
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._is_started, self._start_at = True, None

    def suffer(self, what: str, moments: random.Random) -> None:
        """Kill, pause or stop the instance. `tend` brings it back."""
        if what == "paused":
            os.killpg(self.process.pid, signal.SIGSTOP)
            self._resume_at = time.monotonic() + self._ttl * moments.uniform(1.2, 2.0)
            return
        if what == "killed":
            self.kill()
        else:
            self.process.terminate()
            self.ended()
        self._start_at = time.monotonic() + moments.uniform(0.0, self._ttl)

    def tend(self) -> None:
        """Resume or restart the instance when it is due."""
        now = time.monotonic()
        if self._start_at is None and (code := self.process.poll()) is not None:
            if code != CAN_NOT_START:
                raise RuntimeError(f"{self.name} ended with {code}: see {self.log}")
            self._start_at = now + 0.5
        if self._resume_at is not None and now >= self._resume_at:
            os.killpg(self.process.pid, signal.SIGCONT)
            self._resume_at = None
        if self._start_at is not None and now >= self._start_at:
            self.start()

    @property
    def works(self) -> bool:
        """Return whether it runs, and holds a lease or waits for one."""
        if self._resume_at is not None or self._start_at is not None:
            return False
        with self.log.open("rb") as log:
            log.seek(self._started_at)
            return b'"lease a' in log.read()

    def ended(self) -> None:
        """Wait for its graceful end. A second signal would end it immediately."""
        code = self.process.wait(timeout=90)
        if code not in (0, CUT_OFF, -signal.SIGTERM):  # the signal, if it arrived before the handler was installed
            raise RuntimeError(f"{self.name} ended with {code}: see {self.log}")

    def kill(self) -> None:
        if self._is_started and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
