"""Watches the leases in Redis, and measures how long each stream has no working owner."""

import collections
import threading
import time
from collections.abc import Sequence
from typing import Any

from redis import Redis, exceptions


class Watch(threading.Thread):
    """Reads the leases a hundred times per second until `finish` is set."""

    def __init__(self, url: str, keys: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self.keys = keys
        self.holders: dict[str, int] = {}  # key -> process
        self.takeovers: dict[str, list[float]] = collections.defaultdict(list)
        self.finish = threading.Event()
        self._redis: Any = Redis.from_url(url, decode_responses=True, protocol=2)
        self._fallen: dict[str, tuple[float, int, str]] = {}  # key -> since when, process, what happened
        self._lock = threading.Lock()

    def fell(self, process: int, what: str) -> None:
        """Record that this process was just killed, paused or stopped."""
        with self._lock:
            for key, holder in self.holders.items():
                if holder == process:
                    self._fallen[key] = (time.monotonic(), process, what)

    def forget(self) -> None:
        """Discard pending measurements, because another fault affects them."""
        with self._lock:
            self.holders, self._fallen = {}, {}

    def run(self) -> None:
        while not self.finish.is_set():
            try:
                leases = self._redis.mget(self.keys)
            except (exceptions.ConnectionError, exceptions.TimeoutError):
                self.forget()
                continue
            with self._lock:
                self.holders = {
                    key: int(lease.split(":")[1]) for key, lease in zip(self.keys, leases, strict=True) if lease
                }
                for key, holder in self.holders.items():
                    if key in self._fallen and holder != self._fallen[key][1]:
                        since, _, what = self._fallen.pop(key)
                        self.takeovers[what].append(time.monotonic() - since)
            time.sleep(0.01)
