"""What sources and destinations promise so that a changed `watch` loses and repeats nothing.

A stream *succeeds* former streams if it covers namespaces that those watched, and they are no longer watched. See
`rigatoni_core.engine.succession` for the rule.
"""

from abc import abstractmethod
from collections.abc import Collection, Sequence

import attrs

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Positioner, PositionKeeper, StreamCloser
from rigatoni_core.api.events import Coverage, Definition, Position, Stream


class ScopeReader(Positioner):
    """Optional ability of a source: it knows what the name of a stream covers, also of one that is not watched.

    `definition` and `read` of such a source take a stream that is not watched, too.
    """

    @abstractmethod
    def shared(self, scope: str, others: Collection[str]) -> Collection[frozenset[str]]:
        """Return which of the other scopes can hold the same event as this scope, and which of them together.

        Args:
            scope: The name of a stream.
            others: The names of other streams.

        Returns:
            For each possible namespace of `scope`: the set of those `others` that include it. Each set once; the empty
            set is among them if some namespace is in none of the others. Does no I/O.

        Raises:
            ValueError: A name is not a stream's.
        """

    @abstractmethod
    def included(self, scope: str, events: EventBatch) -> Collection[int]:
        """Return the indices of the events that a stream of this name would have delivered as well.

        Args:
            scope: The name of the stream.
            events: The batch.
        """


@attrs.frozen
class History:
    """What a destination has on record of a stream.

    Attributes:
        known: Whether there is any record of the stream.
        closed: Whether the stream was closed since it began last.
        ended: Whether where it ended is on record, too.
        coverage: What it delivered each time it was begun and ended; only of a closed stream.
        left_out: What it leaves out, because others delivered it; only of a stream that is not closed.
    """

    known: bool = False
    closed: bool = False
    ended: bool = False
    coverage: tuple[Coverage, ...] = ()
    left_out: tuple[Coverage, ...] = ()


class SuccessionKeeper(PositionKeeper, StreamCloser):
    """Optional ability of a position keeper: it keeps on record what streams delivered that others succeed.

    A transactional destination implements it with the record that holds its position.
    """

    @abstractmethod
    async def recorded_streams(self, pipeline: str) -> Sequence[Stream]:
        """Return the streams of the pipeline that have a record here, closed ones included.

        Args:
            pipeline: The name of the pipeline.
        """

    @abstractmethod
    async def history(self, stream: Stream) -> History:
        """Return the recorded history of the stream.

        Args:
            stream: The stream.

        Raises:
            DefinitionChangedError: The stream began here in this run, and was closed by another instance since.
        """

    @abstractmethod
    async def end_stream(
        self, stream: Stream, definition: Definition, position: Position, rest: Collection[str]
    ) -> None:
        """Put on record where a closed stream ended; if that is on record already, that remains in force.

        Args:
            stream: A stream that was closed, or of which there is no record.
            definition: What it would be now.
            position: Where it ended.
            rest: The `token_hash` of each event of the position's cluster time that it had still to deliver.
        """

    @abstractmethod
    async def succeed(
        self, stream: Stream, definition: Definition, position: Position, left_out: Sequence[Coverage]
    ) -> Position:
        """Begin a stream that has no record or is closed, like `begin`: on record before its first event.

        Args:
            stream: The stream.
            definition: What it is.
            position: Where it begins, wherever the stream ended before.
            left_out: What was delivered from there on already. It stays in force when the definition changes.

        Returns:
            The position in force: another one if a concurrent run was faster.
        """

    @abstractmethod
    def left_out(self, stream: Stream) -> Sequence[Coverage]:
        """Return the recorded ranges that the stream leaves out. Called after `begin` or `succeed`; does no I/O.

        Args:
            stream: The stream.
        """
