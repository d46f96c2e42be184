"""A check, by the source itself, that a stream can be read from its position, before anything is written."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, cast

from rigatoni_core.api.contracts import Destination, PositionKeeper, Source
from rigatoni_core.api.events import Checkpoint, Stream
from rigatoni_core.api.identity import Identity
from rigatoni_core.engine.recognition import recognize

FIRST_REPLY = 2.0
"""Seconds to wait for a server's first reply to a stream that resumes."""


async def try_reading(
    source: Source, stream: Stream, checkpoint: Checkpoint | None, destination: Destination | None
) -> None:
    """Open the stream where it would resume, and close it again.

    Some servers check a position only with their first reply, so this waits briefly for it.

    Args:
        source: What reads the stream.
        stream: The stream.
        checkpoint: Its checkpoint, if there is one.
        destination: Where it is written, unless that could not be opened: it may know the deployment too.

    Raises:
        SourceError: The stream cannot be read: permissions, filters, the position, or it is another deployment.
    """
    kept = await destination.recorded_identity(stream) if isinstance(destination, PositionKeeper) else Identity()
    if checkpoint is not None and checkpoint.open_gap is not None:
        kept = Identity()  # the gap leads to another deployment, which the destination records when the stream resumes
    saved = checkpoint.identity if checkpoint else Identity()
    recognize(stream, source.definition(stream).identity, saved=saved, kept=kept)
    position = checkpoint.position if checkpoint else None
    replies = cast("AsyncGenerator[Any]", source.read(stream, after=position))
    async with aclosing(replies) as reading:
        await anext(reading)
        if position is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_REPLY):
                    await anext(reading)
