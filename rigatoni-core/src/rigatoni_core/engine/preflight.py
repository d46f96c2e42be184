"""Whether a stream can be read from where it stands: judged by the source itself, before anything is written."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, cast

from rigatoni_core.api.contracts import Source
from rigatoni_core.api.events import Position, Stream

FIRST_REPLY = 2.0
"""Seconds to wait for a server's first reply to a stream that resumes."""


async def try_reading(source: Source, stream: Stream, position: Position | None) -> None:
    """Open the stream where it would resume, and close it again.

    Some servers judge a position only with their first reply, so that is waited for, shortly.

    Raises:
        SourceError: The stream cannot be read: permissions, filters, or the position.
    """
    replies = cast("AsyncGenerator[Any]", source.read(stream, after=position))
    async with aclosing(replies) as reading:
        await anext(reading)
        if position is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_REPLY):
                    await anext(reading)
