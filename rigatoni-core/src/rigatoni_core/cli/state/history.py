"""The history of what people changed by hand: one JSON line for each change, with the whole old record."""

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
    """Where the history of a configuration's file or folder is kept, unless the caller says otherwise."""
    return file / "rigatoni.history.jsonl" if file.is_dir() else file.with_suffix(".history.jsonl")


def record_of(stream: Stream, checkpoint: Checkpoint | None) -> dict[str, Any] | None:
    """A checkpoint's record as plain JSON values, as `rigatoni state import` takes it."""
    if checkpoint is None:
        return None
    record: dict[str, Any] = json.loads(dump_checkpoint(stream, checkpoint))
    return record


@attrs.frozen
class History:
    """Appends to a file that only its owner may read: resume tokens can hold a document's _id."""

    path: Path

    def add(self, stream: Stream, action: str, before: object, after: object) -> None:
        """Note a change, durably, before it is made. Raises `ConfigurationError` where that is impossible."""
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
                remedy="Name a file that can be written with --history.",
            ) from None
