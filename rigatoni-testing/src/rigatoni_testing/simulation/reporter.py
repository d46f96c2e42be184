"""A listener for the notices of a simulated process."""

from collections.abc import Callable

import attrs
from rigatoni_core.api.contracts import Listener
from rigatoni_core.api.events import Position
from rigatoni_core.api.notices import BatchRead, CaughtUp, LeaseRenewed, LeaseYielded, Notice, ReplyRead, WorkerStopped

from rigatoni_testing.simulation.network import Network

_FREQUENT = (BatchRead, CaughtUp, LeaseRenewed, ReplyRead)
"""Notices that a story leaves out."""


@attrs.frozen
class Reporter(Listener):
    """Records notices in the story, and remembers streams that were handed over."""

    network: Network
    tell: Callable[[str], None] | None

    def notify(self, notice: Notice) -> None:
        """See `Listener`."""
        if isinstance(notice, LeaseYielded):
            self.network.yielded.add(notice.stream.key)
        if isinstance(notice, WorkerStopped) and not self.network.asked:
            self.network.complain(f"{self.network.process.name} ended its work on {notice.stream} without a request")
        if self.tell is None or isinstance(notice, _FREQUENT):
            return
        values = attrs.asdict(notice, recurse=False, filter=lambda field, value: field.name != "stream")
        told = ", ".join(f"{name} {_short(value)}" for name, value in values.items())
        self.tell(f"{self.network.process.name} reports for {notice.stream.name}: {type(notice).__name__} {told}")


def _short(value: object) -> str:
    if isinstance(value, Position):
        return str(value.resume_token)
    return f"{value:.3f}" if isinstance(value, float) else str(value)
