"""The contract of sources, and their optional interfaces."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import ClassVar

from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.contracts.lifecycle import AsyncResource
from rigatoni_core.api.decoder import Decoder
from rigatoni_core.api.events import Definition, Position, Stream, Timestamp
from rigatoni_core.api.identity import Identity


class Source(AsyncResource):
    """The source of change events. It only reads."""

    decoder: ClassVar[Decoder]
    """The decoder of its raw documents, which its batches carry. Works without a connection."""

    @abstractmethod
    async def streams(self) -> Sequence[str]:
        """Return the names of the streams to run, one worker each; distinct and not overlapping.

        Also called before `__aenter__`; does no I/O.
        """

    @abstractmethod
    def definition(self, stream: Stream) -> Definition:
        """Return the stream's current definition. Called after `__aenter__`; does no I/O.

        Args:
            stream: The stream.
        """

    @abstractmethod
    def read(self, stream: Stream, *, after: Position | None) -> AsyncIterator[EventBatch | Heartbeat]:
        """Read the stream after a position, without end.

        Items are consecutive: no event between two of them is missing. The position carries the fingerprint of
        `definition`; a position with another one is never resumed by its token alone.

        Args:
            stream: The stream.
            after: The position. None means where a fresh stream begins.

        Yields:
            First the *anchor*, a heartbeat with the position at which reading starts. Then each reply of the server: a
            batch, or a heartbeat for a reply without events.

        Raises:
            PositionLostError: Resuming would skip changes.
            SourceError: Reading failed; `Transient` if another read may help.
        """

    def read_from_now(self, stream: Stream) -> AsyncIterator[EventBatch | Heartbeat]:
        """Read the stream like `read`, but from now, even if a fresh stream would begin elsewhere.

        Called after a lost position. Default: as a fresh stream, for sources that always begin at now.

        Args:
            stream: The stream.

        Yields:
            The items of `read`.
        """
        return self.read(stream, after=None)


class TimeReader(ABC):
    """Optional interface of a source: it resumes by time if its server refuses the token of a position."""

    @abstractmethod
    def read_by_time(
        self, stream: Stream, *, position: Position, delivered: Position | None
    ) -> AsyncIterator[EventBatch | Heartbeat]:
        """Read the stream like `read` from `position`, but find the place by cluster time.

        Args:
            stream: The stream.
            position: Where to resume. Nothing of the stream lies between `delivered` and this position.
            delivered: The place of the last delivered event: reading begins at its cluster time, and the first item is
                yielded only after the event with this token was found. Delivery continues after it. None if nothing was
                delivered yet: reading begins at the cluster time of `position`.

        Yields:
            The items of `read`.

        Raises:
            PositionLostError: The event was not found, or the history does not reach back to its time.
        """


class IdentityRefresher(ABC):
    """Optional interface of a source: it reads again how its deployment is recognized, after it was opened."""

    @abstractmethod
    async def refresh_identity(self, stream: Stream) -> None:
        """Read again what the `identity` of this stream's definition is made of.

        The engine calls it before a stream is refused as one of another deployment: an instance that waited for the
        stream's lease knows the deployment as of its own start, and another instance may have recorded what was created
        since.

        Args:
            stream: The stream.

        Raises:
            SourceError: The deployment cannot be asked now.
        """

    def recall(self, stream: Stream, recorded: Identity) -> None:  # noqa: B027 (most sources have nothing to do)
        """Take what the checkpoint recorded, to find what changed while nothing read the stream. Does no I/O.

        Called before each `read`. The source reports what was lost (`Heartbeat.gaps`), and only then replaces the
        `Identity.listed` of the stream's definition. Default: does nothing, for sources without a listing.

        Args:
            stream: The stream.
            recorded: The identity in the checkpoint; unknown without one.
        """


class Positioner(ABC):
    """Optional interface of a source: it makes positions for manual repairs. Called after `__aenter__`."""

    @abstractmethod
    def position_at(self, stream: Stream, time: Timestamp) -> Position:
        """Return the position right before the first event at this cluster time or later.

        Args:
            stream: The stream.
            time: The cluster time.
        """

    @abstractmethod
    def position_after(self, stream: Stream, token: str, time: Timestamp | None) -> Position:
        """Return the position right after the event with this resume token.

        Args:
            stream: The stream.
            token: The resume token, as the server or a person spells it.
            time: The event's cluster time or an earlier one, for a token that does not contain it.

        Raises:
            SourceError: It is not a token, or neither argument contains the time.
        """
