"""What the transforms of this distribution share: one function for each raw event."""

from abc import abstractmethod
from collections.abc import Iterable
from itertools import chain

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Transform
from rigatoni_core.api.errors import ConfigurationError, RejectedEventsError, RigatoniError

from rigatoni_transforms.errors import UnreadableEventError


class RawTransform(Transform):
    """Transforms events one by one, as raw BSON. A damaged event is rejected."""

    accepts = frozenset({"bson"})

    @abstractmethod
    def raw(self, event: bytes) -> bytes | None:
        """Return the event as it is after this transform: the same object if it is unchanged, None to drop it.

        Raises:
            ConfigurationError: The options do not suit the stream. The worker stops.
            RigatoniError: The event is rejected for this reason.
            ValueError, IndexError, struct.error: The bytes are no BSON.
        """

    def transform(self, events: EventBatch) -> EventBatch:
        """See `Transform`."""
        copies = chain.from_iterable(segment.copies() for segment in events.segments)
        return self.one_by_one(events, enumerate(copies))

    def one_by_one(self, events: EventBatch, given: Iterable[tuple[int, bytes]]) -> EventBatch:
        """Transform some events of a batch, given by index and raw bytes; the others stay."""
        changed: dict[int, bytes] = {}
        dropped: set[int] = set()
        rejected: dict[int, RigatoniError] = {}
        for index, event in given:
            try:
                after = self.raw(event)
            except ConfigurationError:
                raise
            except RigatoniError as error:
                rejected[index] = error
            except Exception as error:  # any error on damaged bytes; its text might quote them
                rejected[index] = UnreadableEventError(f"the event is not readable BSON ({type(error).__name__})")
            else:
                if after is None:
                    dropped.add(index)
                elif after is not event:
                    changed[index] = after
        if rejected:
            raise RejectedEventsError(rejected, remedy=next(iter(rejected.values())).remedy)
        after_all = events.replaced(changed)
        return after_all.without(dropped) if dropped else after_all
