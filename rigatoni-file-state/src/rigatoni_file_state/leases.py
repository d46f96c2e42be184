"""The lease of a stream, as two files next to its checkpoint.

`<stream>.fence` holds the highest fencing token that was ever granted. It is replaced atomically and durably.
`<stream>.lease` holds the current lease and the last request for a handover. A reboot ends both, so this file is
overwritten in place without waiting for the disk: a renewal succeeds on a full disk, too. Its lock (flock) is held
during each change, and during each save, while the fencing token is compared and the checkpoint is replaced.
Everything slow, such as writing to the disk, is done before or after, so that a process that is suspended at any
moment rarely holds the lock.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import attrs

from rigatoni_file_state import files, locks
from rigatoni_file_state.expiry import Expiry

_BLOCK = 512
"""The size of a lease file is a multiple of this, in bytes, so that an overwrite rarely changes it."""

_TOKENS = 1 << 53
"""Larger fencing tokens are not ours (Redis and JSON cannot represent them exactly)."""


@attrs.frozen
class HeldLease:
    """The current lease of a stream. It is held while its instance lives and it has not expired."""

    owner: str
    fencing_token: int
    instance: str
    expires: Expiry

    def record(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**attrs.asdict(self, recurse=False), "expires": self.expires.record()}

    @classmethod
    def read(cls, record: Any) -> Self:
        """Read what `record` returned. Raises KeyError, TypeError or ValueError."""
        return cls(
            str(record["owner"]), int(record["fencing_token"]), str(record["instance"]), Expiry.read(record["expires"])
        )


@attrs.frozen
class LeaseRecord:
    """The content of a lease file."""

    lease: HeldLease | None = None
    wanted: Expiry | None = None

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Read the content; an empty record if it is damaged: then the process that wrote it has died."""
        try:
            record = json.loads(content)
            lease, wanted = record["lease"], record["wanted"]
            return cls(HeldLease.read(lease) if lease else None, Expiry.read(wanted) if wanted else None)
        except (KeyError, TypeError, ValueError):
            return cls()

    def dump(self) -> bytes:
        """Return the content of the file: JSON that people can read, padded with spaces."""
        record = {
            "lease": self.lease.record() if self.lease else None,
            "wanted": self.wanted.record() if self.wanted else None,
        }
        text = json.dumps(record, ensure_ascii=False).encode()
        return text.ljust(-(-(len(text) + 1) // _BLOCK) * _BLOCK - 1) + b"\n"


class LeaseFiles:
    """The two files of a stream.

    Args:
        base: Their path without the suffix.
    """

    def __init__(self, base: Path) -> None:
        self._lease = base.with_name(f"{base.name}.lease")
        self.fence = base.with_name(f"{base.name}.fence")

    def peek(self) -> LeaseRecord:
        """Return the current record without the lock."""
        return LeaseRecord.read(files.read(self._lease) or b"")

    def highest_token(self, stored: int | None) -> int | None:
        """Return the highest token that was granted or saved; None if there was none.

        Args:
            stored: The fencing token of the stored checkpoint or clear, if one exists.
        """
        lease = self.peek().lease
        known = (stored, read_token(self.fence), lease.fencing_token if lease else None)
        return max((token for token in known if token is not None and token < _TOKENS), default=None)

    @contextmanager
    def locked(self) -> Iterator["LockedLease"]:
        """Hold the lock of the stream in this block."""
        with locks.locked(self._lease) as descriptor:
            yield LockedLease(descriptor)


class LockedLease:
    """A lease file while its lock is held. It is not created again if it is deleted meanwhile."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.record = LeaseRecord.read(os.pread(descriptor, os.fstat(descriptor).st_size, 0))

    def write(self, record: LeaseRecord) -> None:
        """Overwrite the record in place."""
        content = record.dump()
        os.pwrite(self._descriptor, content, 0)
        os.ftruncate(self._descriptor, len(content))
        self.record = record


def read_token(fence: Path) -> int | None:
    """Return the token in a fence file; None if the file does not exist or is damaged."""
    text = (files.read(fence) or b"").strip()
    return int(text) if text.isdigit() and len(text) < 20 else None


def next_token(known: int | None) -> int:
    """Return a token above the fence and above the clock, in milliseconds, as `LeaseKeeper.acquire` demands."""
    return max(known or 0, time.time_ns() // 1_000_000) + 1
