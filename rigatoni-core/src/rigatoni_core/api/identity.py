"""What a deployment is recognized by."""

from collections.abc import Mapping
from itertools import chain
from typing import Any, ClassVar

import attrs


@attrs.frozen
class Identity:
    """What is known of a deployment, to recognize it by: see `same_deployment`.

    Attributes:
        name: Its name for people, such as that of a replica set. Deployments share names, so it proves nothing.
        id: What it was given once and for ever, with its kind (`replica-set:...`, `cluster:...`); empty where the
            source may not read it.
        collections: Ids of collections that it has, the most lasting first; None where the source may not list them.
        former: Ids of collections that it is known to have had.
        listed: The name and the id of each collection in the scope of a stream; empty if they are unknown.
        listed_at: The cluster time of that listing: seconds and increment.
    """

    name: str = ""
    id: str = ""
    collections: tuple[str, ...] | None = None
    former: tuple[str, ...] = ()
    listed: tuple[tuple[str, str], ...] = ()
    listed_at: tuple[int, int] = attrs.field(default=(0, 0), eq=False)

    LIMIT: ClassVar[int] = 16
    """How many collections are enough to record."""

    def bounded(self) -> "Identity":
        """Return the part to recognize it by: the first `LIMIT` collections, no former ones, and no listing."""
        first = self.collections and self.collections[: self.LIMIT]
        return attrs.evolve(self, collections=first, former=(), listed=())

    def knowing(self, *records: "Identity") -> "Identity":
        """Return this identity, extended by the ids in records of the same deployment, so that it recognizes them.

        Args:
            records: Recorded identities of this deployment.
        """
        former = [id_ for record in records for id_ in (*(record.collections or ()), *record.former)]
        known = next((record.id for record in records if record.id), "")
        return attrs.evolve(self, id=self.id or known, former=tuple(dict.fromkeys((*self.former, *former))))


UNKNOWN = Identity()
"""Nothing is known of the deployment."""


def same_deployment(recorded: Identity, present: Identity) -> bool | None:
    """Decide whether a record was made of the deployment that a source reads now.

    Ids decide where both are known and of one kind. Otherwise a collection in common proves the same deployment. One
    that is missing proves nothing, since collections are dropped and replaced; but if all that were recorded are
    missing at once, the deployment is taken for another one until a person confirms it.

    Args:
        recorded: What a checkpoint or a destination's definition holds.
        present: What the source sees now: all collections that it can list, not a choice of them.

    Returns:
        True if it is the same, False if it is another one or may be, None if nothing can be compared: records of
        older versions hold a name only.
    """
    if proves_another(recorded, present):
        return False
    if recorded.id and recorded.id == present.id:
        return True
    if not recorded.collections or present.collections is None:
        return None
    return not set(recorded.collections).isdisjoint((*present.collections, *present.former))


def proves_another(recorded: Identity, present: Identity) -> bool:
    """Return whether the ids prove another deployment. Otherwise this one may only lack every recorded collection.

    Args:
        recorded: The recorded identity.
        present: The identity of the deployment that the source reads now.
    """
    kind = recorded.id.partition(":")[0]
    return bool(recorded.id) and recorded.id != present.id and kind == present.id.partition(":")[0]


def identity_record(identity: Identity) -> dict[str, Any]:
    """Return an identity as plain JSON values.

    Args:
        identity: The identity.
    """
    record = attrs.asdict(identity, filter=lambda field, _: not field.name.startswith("listed"))
    listing = {"listed": dict(identity.listed), "listed_at": list(identity.listed_at)} if identity.listed else {}
    return {**record, **listing}


def read_identity(record: Mapping[str, Any] | str) -> Identity:
    """Read an identity from a record.

    Args:
        record: What `identity_record` returned, or the name alone (format 1).

    Returns:
        The identity.

    Raises:
        KeyError: An entry is missing.
        TypeError: An entry has another type.
    """
    if isinstance(record, str):
        return Identity(record)
    name, id_, collections, former = (record[key] for key in ("name", "id", "collections", "former"))
    listed, time = tuple(record.get("listed", {}).items()), tuple(map(int, record.get("listed_at", (0, 0))))
    if not all(isinstance(text, str) for text in (name, id_, *(collections or ()), *former, *chain(*listed))):
        raise TypeError("a deployment's name and ids are texts")
    known = tuple(collections) if collections is not None else None
    return Identity(name, id_, known, tuple(former), listed, (time[0], time[1]))
