"""The contract of transforms."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar

import attrs

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts.formats import FormatReader
from rigatoni_core.api.events import Stream
from rigatoni_core.api.notices import Notice
from rigatoni_core.api.options import texts


@attrs.define(kw_only=True)
class Transform(FormatReader):
    """Changes, drops or rejects events between the batch and the destination.

    Runs on threads, several batches at once, ahead of time while the batch before is written. It does no I/O. A batch
    may come again after a crash, cut elsewhere: so what becomes of an event depends on nothing but the event and the
    options. The transforms of a stream are part of its definition: others begin a new definition.
    """

    protects: ClassVar[bool] = False
    """Whether it keeps data from leaving the database.

    Such transforms come first. What they return is all that leaves: dead letters hold it instead of the event as it
    was read. An event that they reject is not written anywhere; the setting `on_mask_error` decides about it.
    """

    streams: Annotated[
        tuple[str, ...], "The streams that it is applied to, such as `shop.orders` or `shop.*`; all unless given"
    ] = attrs.field(default=(), converter=texts)

    @property
    def version(self) -> int:
        """Part of the definition: it grows when the same options give other events. Default 1.

        A constant of the class, or an option if the user changes what the options do not show, such as a function.
        """
        return 1

    @abstractmethod
    def transform(self, events: EventBatch) -> EventBatch:
        """Return the batch without the dropped events (`EventBatch.without`), with changed documents (`replaced`).

        The order stays, no event is added, and the batch that was given is unchanged. It may hold no event.

        Args:
            events: The batch, which must not be changed.

        Raises:
            RejectedEventsError: Names every event that cannot be transformed, all at once, by its index in `events`.
        """

    def applies_to(self, stream: Stream) -> bool:
        """Return whether it transforms this stream. A `*` in `streams` stands for any text.

        Args:
            stream: The stream.
        """
        patterns = (".*".join(map(re.escape, name.split("*"))) for name in self.streams)
        return not self.streams or any(re.fullmatch(pattern, stream.name, re.DOTALL) for pattern in patterns)


class StreamChecker(ABC):
    """Optional interface of a transform: it compares its options with the streams."""

    @abstractmethod
    def check_streams(self, names: Sequence[str]) -> None:
        """Refuse options that name what no event of these streams can be of. Called before anything starts.

        Args:
            names: The streams that it is applied to, such as `shop.orders` or `shop.*`.

        Raises:
            ConfigurationError: The transform would change nothing, although the options ask for it.
        """


class Reporter(ABC):
    """Optional interface of a transform: it reports what it noticed about events that pass."""

    @abstractmethod
    def reports(self, stream: Stream) -> Sequence[Notice]:
        """Return the notices about a stream since the last call, which the worker publishes.

        Called on the event loop after each batch; threads may transform other batches at the same time.

        Args:
            stream: The stream.
        """
