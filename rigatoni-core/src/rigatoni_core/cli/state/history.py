"""The history of manual changes: one JSON line for each change, with the complete old record."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.api.events import Checkpoint, Stream
from rigatoni_core.api.records import dump_checkpoint
from rigatoni_core.cli.state.components import whoami


def history_of(file: Path) -> Path:
    """Return the default path of the history for a configuration file or folder."""
    return file / "rigatoni.history.jsonl" if file.is_dir() else file.with_suffix(".history.jsonl")


def record_of(stream: Stream, checkpoint: Checkpoint | None) -> dict[str, Any] | None:
    """Return a checkpoint's record as plain JSON values, as `rigatoni state import` reads it."""
    if checkpoint is None:
        return None
    record: dict[str, Any] = json.loads(dump_checkpoint(stream, checkpoint))
    return record


@attrs.frozen
class History:
    """Appends to a file that only its owner may read, because resume tokens can contain a document's _id."""

    path: Path

    def add(self, stream: Stream, action: str, before: object, after: object) -> None:
        """Record a change durably, before it is made.

        Raises:
            ConfigurationError: The file cannot be written.
        """
        line = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "who": whoami(),
            "action": action,
            "pipeline": stream.pipeline,
            "stream": stream.name,
            "from": before,
            "to": after,
        }
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, json.dumps(line, ensure_ascii=False).encode() + b"\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ConfigurationError(
                f"the history {self.path} cannot be written, so nothing was changed: {error.strerror}",
                remedy="Name a writable file with --history.",
            ) from None
