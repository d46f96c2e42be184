"""The dead letters of a pipeline: read, chosen by ID, and as plain values."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Self

import attrs
import click
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import Destination
from rigatoni_core.api.dead_letters import DeadLetter, kept_letters
from rigatoni_core.api.errors import ConfigurationError, UnreadableError
from rigatoni_core.api.words import printable, time_in_words


@attrs.frozen
class Letters:
    """What was read: each letter with whether it was replayed, and the error if some could not be read."""

    found: Sequence[tuple[DeadLetter, bool]]
    error: UnreadableError | None

    @classmethod
    def read(cls, configuration: PipelineConfiguration, stream: str | None) -> Self:
        """Read the letters of the pipeline, or of one of its streams.

        Raises:
            ConfigurationError: The pipeline keeps no dead letters, or none that can be read back.
        """
        return asyncio.run(cls._read(configuration, stream))

    @classmethod
    async def _read(cls, configuration: PipelineConfiguration, stream: str | None) -> Self:
        found: list[tuple[DeadLetter, bool]] = []
        async with place_of(configuration) as place:
            try:
                async for letter, replayed in kept_letters(place, configuration.name):
                    if stream in (None, letter.stream.name):
                        found.append((letter, replayed))
            except UnreadableError as error:
                return cls(found, error)
        return cls(found, None)

    def chosen(self, ids: Sequence[str]) -> Sequence[tuple[DeadLetter, bool]]:
        """Return the letters with these IDs, or with IDs that begin with them.

        Raises:
            click.UsageError: No letter has such an ID, or several have.
        """
        beginnings = tuple(id_.lower().removeprefix("#") for id_ in ids)
        for beginning in beginnings:
            count = sum(letter.id.startswith(beginning) for letter, _ in self.found)
            if count != 1:
                raise click.UsageError(f'{count or "no"} dead letters have an ID that begins with "{beginning}"')
        return [(letter, replayed) for letter, replayed in self.found if letter.id.startswith(beginnings)]


def place_of(configuration: PipelineConfiguration) -> Destination:
    """Return the destination of the dead letters.

    Raises:
        ConfigurationError: The pipeline keeps none.
    """
    if configuration.dead_letters is None:
        raise ConfigurationError(
            f"the pipeline {configuration.name} keeps no dead letters",
            remedy="Add the table [pipeline.dead_letters]; it takes any destination.",
        )
    return configuration.dead_letters


def record_of(letter: DeadLetter, replayed: bool, configuration: PipelineConfiguration) -> dict[str, Any]:
    """Return a letter as plain values, without the event and the error's text: these may be long and private."""
    time = letter.position.cluster_time
    operation = namespace = None
    with contextlib.suppress(Exception):  # its damage may be why the event was rejected
        event = configuration.source.decoder.event(memoryview(letter.event))
        operation, namespace = printable(str(event.operation)), printable(str(event.namespace or ""))
    return {
        "id": letter.id,
        "stream": letter.stream.name,
        "operation": operation,
        "namespace": namespace or None,
        "time": time_in_words(time),
        "cluster_time": [time.seconds, time.increment] if time else None,
        "ordinal": letter.position.ordinal,
        "bytes": len(letter.event),
        "plugin": letter.plugin,
        "error_id": letter.error_id,
        "attempt": letter.attempt,
        "status": "replayed" if replayed else "waiting",
    }


def described(letter: DeadLetter, record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a person wants to know of a letter, title by title."""
    seconds, increment = record["cluster_time"] or ("?", "?")
    operation, namespace = record["operation"] or "undecodable", record["namespace"] or "?"
    if letter.event:
        yield "event", f"{operation} of {namespace}, {record['bytes']} bytes"
    else:
        yield "event", f"content not kept, since a mask failed on it; hash of the document key {letter.key_hash or '?'}"
    yield "time", f"{record['time']}, cluster time {seconds}.{increment}, ordinal {record['ordinal']}"
    yield "rejected by", f"{letter.plugin}, at attempt {letter.attempt}"
    yield "error", printable(letter.error, len(letter.error))
    yield "status", record["status"]
