"""Reading back what a destination of files or objects holds: for the ability `ReadBack`."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from rigatoni_core.api.contracts import Deserializer, Serializer
from rigatoni_core.api.errors import UnreadableError
from rigatoni_core.api.executor import DaemonExecutor

from rigatoni_objects.listing import all_keys
from rigatoni_objects.paths import OWN, STEM
from rigatoni_objects.store import ObjectStore


def written(store: ObjectStore) -> list[str]:
    """The keys of a pipeline's objects of events, each stream's in the order of the events; `store` is about them."""
    found = []
    for key in all_keys(store, ""):
        stream, _, path = key.partition("/")
        if (match := STEM.search(path)) and not path.startswith(OWN):
            found.append((stream, match[1], key))
    return [key for _, _, key in sorted(found)]


async def documents_of(
    names: Callable[[], Sequence[str]], content: Callable[[str], bytes | None], serializer: Serializer
) -> AsyncIterator[Mapping[str, Any]]:
    """The documents of all these files or objects, one after another; `names` and `content` may block.

    What another serializer wrote, or what is damaged, is left out; `UnreadableError` names it after all the rest.
    """
    lane, unreadable = DaemonExecutor("rigatoni reading"), list[str]()
    try:
        for name in await lane.run(names):
            try:
                documents = await lane.run(partial(_documents, name, content, serializer))
            except UnreadableError as error:
                unreadable.append(f"{name}: {error}")
                continue
            for document in documents:
                yield document
    finally:
        lane.close()
    if unreadable:
        raise UnreadableError(
            f"{len(unreadable)} files or objects can not be read back; the first is {unreadable[0]}",
            remedy="What an earlier serializer wrote is read back with that one in the configuration.",
        )


def _documents(name: str, content: Callable[[str], bytes | None], serializer: Serializer) -> list[Mapping[str, Any]]:
    if not isinstance(serializer, Deserializer) or not name.endswith(serializer.suffix):
        raise UnreadableError(f"the serializer of {serializer.suffix} can not read it")
    if (found := content(name)) is None:
        raise UnreadableError("it vanished")
    return list(serializer.deserialize(found))
