"""The port to a store of immutable named objects: the operations that the delivery protocol needs.

Implement `ObjectStore` for your own store, and `rigatoni_objects.destination.ObjectDestination` provides the full
delivery guarantee. `rigatoni_testing.contracts.ObjectStoreContract` tests an implementation.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

Record = Mapping[str, str]
"""An object's metadata. Names are `[a-z_]+` (Azure accepts only C# identifiers), values ASCII."""


class ObjectStore(ABC):
    """The objects of one stream, by keys relative to its folder. Methods block and are called concurrently on threads.

    Every method may raise a `DestinationError`, which is `Transient` if a retry may succeed. A request that failed may
    have taken effect, or may still do so: the caller checks again.
    """

    metadata_limit: int
    """Bytes of metadata (names and values together) that an object can carry. 0: none; records become objects."""
    ordered: bool = True
    """Whether `keys` returns keys in the order of their UTF-8 bytes and supports `after`.

    A store may sort a folder by its name without the slash: nothing depends on the order of `a/b` and `a.b`.
    """
    folds_case: bool = False
    """Whether names that differ only by case or by Unicode normalization name the same object."""
    key_limit: int = 0
    """The maximum length of a key in bytes, without the stream's folder; 0: no limit."""

    @abstractmethod
    def create(self, key: str, content: bytes | memoryview, *, media_type: str, record: Record) -> bool:
        """Create the object, content and metadata atomically, unless the key exists.

        Exactly one of several concurrent callers gets True. `keys` returns the new key immediately.

        Args:
            key: The object's key.
            content: Its content, at most a few hundred MiB.
            media_type: Its media type, for stores that keep one.
            record: Its metadata; empty if `metadata_limit` is 0.

        Returns:
            True if this call created the object, durably; False if the key exists, whose object is unchanged.
        """

    @abstractmethod
    def head(self, key: str) -> Record | None:
        """Return the object's metadata, perhaps empty; None if the key does not exist."""

    @abstractmethod
    def read(self, key: str) -> bytes | None:
        """Return the object's content; None if the key does not exist."""

    @abstractmethod
    def keys(self, prefix: str, *, after: str = "", limit: int) -> Sequence[str]:
        """Return up to `limit` keys that start with `prefix` and sort after `after`, in order.

        Fewer than `limit` keys mean that no more exist. A store that is not `ordered` returns all keys.
        """

    def make_durable(self, keys: Sequence[str]) -> None:
        """Make existing objects durable; another process may have created them without doing so. Default: nothing."""
        return

    def link(self, source: str, key: str) -> bool | None:
        """Create an object with the content of another one, without copying it, unless the key exists.

        Only for stores whose objects carry no records. Default: not possible.

        Returns:
            As `create`; None if the source does not exist, or if the store cannot do this.
        """
        return None

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects that were never committed (staged rows, void records), if they exist. Default: keep them."""
        return
