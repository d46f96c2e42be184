"""Several instances on one machine: their number, and what makes a process one of them.

The command `supervise` of rigatoni-ops starts them and keeps them running.
"""

import os
import signal
import threading
from collections.abc import Sequence
from typing import Literal

from rigatoni_core.api.components import component_name
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import LeaseKeeper, Membership
from rigatoni_core.api.errors import ConfigurationError


def instances_of(wanted: int | Literal["auto"] | None, configurations: Sequence[PipelineConfiguration]) -> int:
    """Return the number of instances to run: as given on the command line, else the largest of the configurations.

    Raises:
        ConfigurationError: There would be several instances, and a state store cannot divide the streams among them.
    """
    numbers = [wanted] if wanted else [each.instances for each in configurations]
    count = max(_cores() if each == "auto" else each for each in numbers)
    for each in configurations if count > 1 else ():
        if not (each.state.durable and isinstance(each.state, LeaseKeeper) and isinstance(each.state, Membership)):
            raise ConfigurationError(
                f"{each.name} cannot run in {count} instances: the state store {component_name(type(each.state))} has "
                "no leases that processes share, so each instance would write every stream",
                remedy='Keep the state in a store with leases, type = "file" or "redis", or run one instance.',
            )
    return count


def end_with_parent() -> None:
    """Stop this process gracefully when its supervisor has ended in any way: only that holds the other end of stdin."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="rigatoni-parent", daemon=True).start()


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
