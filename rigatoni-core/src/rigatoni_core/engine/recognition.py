"""Recognition of the deployment: whether a source reads the one that a stream's records describe."""

from rigatoni_core.api.contracts import IdentityRefresher, Source
from rigatoni_core.api.errors import OtherDeploymentError
from rigatoni_core.api.events import Definition, Stream
from rigatoni_core.api.identity import Identity, proves_another, same_deployment


def recognize(stream: Stream, present: Identity, *, saved: Identity, kept: Identity) -> bool:
    """Compare the deployment that a source reads with what was recorded of it.

    Args:
        stream: The stream.
        present: The deployment that the source reads.
        saved: The deployment in the checkpoint. It vouches for `kept`, too.
        kept: The deployment that the destination recorded, which may be as old as the stream.

    Returns:
        Whether a record proves that it is the same; False if nothing can be compared.

    Raises:
        OtherDeploymentError: It is another one, or may be.
    """
    known, vouched = same_deployment(saved, present), same_deployment(kept, present.knowing(saved))
    if known is False:
        raise _other_deployment(f"the checkpoint of {stream}", saved, present)
    if vouched is False:
        raise _other_deployment(f"the destination's record of {stream}", kept, present)
    return bool(known or vouched)


async def recognize_now(source: Source, stream: Stream, *, saved: Identity, kept: Identity) -> tuple[Definition, bool]:
    """Recognize the deployment that a source reads now, as `recognize` does.

    What the source knows is as old as its opening. Before its deployment is taken for another one, it reads again.

    Returns:
        The stream's definition, and what `recognize` returned.

    Raises:
        OtherDeploymentError: It is another one, or may be.
        SourceError: The source cannot read again now.
    """
    definition = source.definition(stream)
    try:
        return definition, recognize(stream, definition.identity, saved=saved, kept=kept)
    except OtherDeploymentError:
        if not isinstance(source, IdentityRefresher):
            raise
    await source.refresh_identity(stream)
    definition = source.definition(stream)
    return definition, recognize(stream, definition.identity, saved=saved, kept=kept)


def _other_deployment(what: str, recorded: Identity, present: Identity) -> OtherDeploymentError:
    """Return the error for a record (`what`) of what `same_deployment` considers another deployment."""
    if proves_another(recorded, present):
        reason = f"this is {_named(present)}"
    else:
        reason = f"none of its {len(recorded.collections or ())} recorded collections exists in {_named(present)}"
    return OtherDeploymentError(f"{what} belongs to {_named(recorded)}, but {reason}")


def _named(identity: Identity) -> str:
    return f"the deployment {identity.name!r}" + (f" ({identity.id})" if identity.id else "")
