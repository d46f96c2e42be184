"""Reads the documents of a pipeline's files or objects back, for the ability `ReadBack`."""

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
    """Return the keys of a pipeline's event objects in `store`: by stream, then in the order of events."""
    found = []
    for key in all_keys(store, ""):
        stream, _, path = key.partition("/")
        if (match := STEM.search(path)) and not path.startswith(OWN):
            found.append((stream, match[1], key))
    return [key for _, _, key in sorted(found)]


async def documents_of(
    names: Callable[[], Sequence[str]], content: Callable[[str], bytes | None], serializer: Serializer
) -> AsyncIterator[Mapping[str, Any]]:
    """Yield the documents of all these files or objects.

    Args:
        names: Returns the names; may block.
        content: Returns the content of a name, None if it does not exist; may block.
        serializer: Deserializes the contents.

    Raises:
        UnreadableError: After all other documents, if files were damaged or written by another serializer.
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
            f"{len(unreadable)} files or objects could not be read back; the first is {unreadable[0]}",
            remedy="Restore damaged files from a backup. If another serializer wrote them, configure that one.",
        )


def _documents(name: str, content: Callable[[str], bytes | None], serializer: Serializer) -> list[Mapping[str, Any]]:
    if not name.endswith(serializer.suffix):
        raise UnreadableError(f"the serializer of {serializer.suffix} cannot read it")
    if (found := content(name)) is None:
        raise UnreadableError("it vanished")
    return deserialized(found, serializer)


def deserialized(content: bytes, serializer: Serializer) -> list[Mapping[str, Any]]:
    """Return the documents of a content.

    Args:
        content: The content of a file or an object.
        serializer: What wrote it.

    Raises:
        UnreadableError: It is damaged, or the serializer reads nothing.
    """
    if not isinstance(serializer, Deserializer):
        raise UnreadableError(f"the serializer of {serializer.suffix} cannot read it")
    return list(serializer.deserialize(content))
