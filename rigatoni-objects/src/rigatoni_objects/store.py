"""The port to a store of immutable named objects: what the delivery protocol asks of it, and nothing else.

Implement `ObjectStore` for a store of your own and `rigatoni_objects.destination.ObjectDestination` gives it the whole
guarantee. `rigatoni_testing.contracts.ObjectStoreContract` tests what is promised here.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

Record = Mapping[str, str]
"""What an object carries beside its content. Names are `[a-z_]+` (Azure takes C# identifiers only), values ASCII."""


class ObjectStore(ABC):
    """The objects of one stream, by keys relative to its folder. Calls block, come on threads, several at once.

    Every method may raise a `DestinationError`: a `Transient` one where a repetition may succeed. A request that fails
    so may have taken effect, now or later: the caller asks again.
    """

    metadata_limit: int
    """Bytes of record (names and values together) that an object can carry. 0: none; records are objects themselves."""
    ordered: bool = True
    """Whether `keys` returns keys in the order of their UTF-8 bytes and honours `after`.

    A store may sort a folder by its name without the slash: nothing depends on how `a/b` and `a.b` are ordered.
    """
    folds_case: bool = False
    """Whether names that differ only by case or by Unicode normalization name the same object."""
    key_limit: int = 0
    """Bytes that a key may be long, the stream's folder not included; 0 where there is no such limit."""

    @abstractmethod
    def create(self, key: str, content: bytes | memoryview, *, media_type: str, record: Record) -> bool:
        """Create the object, content and record together, unless the key exists.

        Returns True where this call created it, durably, False where the key exists: that object is unchanged. Of
        several callers at once exactly one gets True. A key that was created is returned by `keys` at once.

        Args:
            key: The object's key.
            content: Its content, at most a few hundred MiB.
            media_type: Its media type, for stores that keep one.
            record: What it carries; empty where `metadata_limit` is 0.
        """

    @abstractmethod
    def head(self, key: str) -> Record | None:
        """Return what the object carries (empty where it carries nothing), None where the key does not exist."""

    @abstractmethod
    def read(self, key: str) -> bytes | None:
        """Return the object's content, None where the key does not exist."""

    @abstractmethod
    def keys(self, prefix: str, *, after: str = "", limit: int) -> Sequence[str]:
        """Return up to `limit` keys that begin with `prefix`, those after the key `after`, in order.

        Fewer than `limit` mean that there are no more. A store that is not `ordered` returns all of them.
        """

    def make_durable(self, keys: Sequence[str]) -> None:
        """Make objects durable that exist, but that another process may have created without that. Default: nothing."""
        return

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects that never counted (staged rows, void records). Default: they stay."""
        return
