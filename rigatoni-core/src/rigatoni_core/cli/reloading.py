"""Whether a running process may take up a changed configuration (SIGHUP)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rigatoni_core.plugins.component_options import fields_of

if TYPE_CHECKING:
    from rigatoni_core.config import PipelineConfiguration


def refusal(running: "Sequence[PipelineConfiguration]", wanted: "Sequence[PipelineConfiguration]") -> str:
    """Why the pipelines can not be stopped and started again with what is wanted, in words; empty where they can.

    They go on from their checkpoints then, whatever else has changed: so these must be found again.
    """
    known = {each.name: each for each in running}
    for new in wanted:
        old = known.get(new.name)
        if old is None:
            continue
        if not old.state.durable:
            return f"{old.name}: its state store forgets every position at the end, so it can only be stopped"
        if not _same(old.state, new.state):
            return (
                f"{old.name}: its state store has changed, and the positions would stay behind: stop it, move them "
                "with `rigatoni state export` and `import`, and start it again"
            )
    if not known.keys() & {new.name for new in wanted}:
        return f"none of the running pipelines ({', '.join(known)}) is in it: stop them and start anew"
    return ""


def _same(one: object, other: object) -> bool:
    """Whether two components have the same class and the same options, secrets included."""
    return type(one) is type(other) and all(
        getattr(one, field.name) == getattr(other, field.name) for field in fields_of(type(one))
    )
