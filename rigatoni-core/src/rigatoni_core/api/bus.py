"""The bus that carries notices from publishers to listeners.

A source or the engine publishes: `publish(Resumed(stream=stream, reason="...", seconds=0.2))`. The pipeline attaches
listeners (logging, statistics, metrics) with `listening`; without listeners nothing happens.
"""

import contextvars
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rigatoni_core.api.contracts import AsyncResource, Listener
from rigatoni_core.api.notices import Notice

_listeners: contextvars.ContextVar[tuple[Listener, ...]] = contextvars.ContextVar("listeners", default=())
_reported: set[type] = set()


def publish(notice: Notice) -> None:
    """Notify the listeners of this context. Never raises: a faulty listener is reported once, on stderr.

    Args:
        notice: The notice.
    """
    for listener in _listeners.get():
        try:
            listener.notify(notice)
        except Exception as error:
            _report(listener, error)


async def close(listener: AsyncResource) -> None:
    """Exit a listener. Never raises, because the pipeline has done its work by then; an error is reported on stderr.

    Args:
        listener: The listener, which was entered.
    """
    try:
        await listener.__aexit__(None, None, None)
    except Exception as error:
        _report(listener, error)


@contextmanager
def listening(listeners: Sequence[Listener]) -> Iterator[None]:
    """Attach these listeners in this block, and in tasks and threads started from it.

    Args:
        listeners: They receive the notices that are published in the block, after those that are attached already.
    """
    token = _listeners.set((*_listeners.get(), *listeners))
    try:
        yield
    finally:
        _listeners.reset(token)


def _report(listener: object, error: Exception) -> None:
    """Report the first error of each class of listener."""
    if type(listener) not in _reported:
        _reported.add(type(listener))
        sys.stderr.write(f"listener {type(listener).__name__} raised an exception, which is ignored: {error!r}\n")
