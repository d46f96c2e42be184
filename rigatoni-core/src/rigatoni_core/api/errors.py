"""Every error that Rigatoni raises on purpose, grouped by what the reader can do about it.

The tree::

    RigatoniError
      ConfigurationError        fix the file
        UnknownComponentError     no installed plugin provides that name
        AmbiguousComponentError   several installed plugins provide that name
      PluginError               fix the installation
        BrokenPluginError         the plugin raises or is malformed
        IncompatiblePluginError   the plugin asks for another rigatoni-core
      SourceError               the source failed
        PositionLostError         the saved position cannot be resumed from
          TokenRefusedError         not by its token, but the history may reach back to it
        OtherDeploymentError      the source reads another deployment than before
        WatchChangedError         a new stream cannot continue those that are no longer watched
        StreamEndedError          the source ended a stream, although a stream has no end
      DestinationError          the destination failed
        ForeignObjectError        something that is not ours stands under our name
        DefinitionChangedError    another owner changed the stream's definition
        ChainError                the destination's chain of batches contradicts the stream
        DeadLetterError           a dead letter can not be written
          DeadLettersDownError      at present
        UnreadableError           what was written can not be read back
      RejectedEventsError       these events can not be written, whatever the number of attempts
      TooManyRejectedError      so many events are rejected that the cause is not in single ones
      StateStoreError           the state store failed
        CorruptCheckpointError    the stored record can not be read
        LeaseLostError            another owner holds the stream
      ListenerError             a listener could not be opened
      PipelineTimeoutError      a bounded step took too long
      NoAnswerError             a running process does not report its status
      ShutdownError             the work was abandoned because the pipeline stops

Each class says by type whether trying again can help: classes that also derive from `Transient` are retried,
all others are not. `AccessDenied` marks errors that a retry fixes only after an administrator has acted. Plugins
derive their own leaves (`class S3ThrottledError(DestinationError, Transient)`) and translate foreign exceptions in
their own `errors.py`. Anything that is not a `RigatoniError` is a bug: it stops that worker with its traceback.
"""

from collections.abc import Mapping
from typing import ClassVar


class Transient:
    """Mark of an error that may vanish by itself, so that trying again may help."""


class AccessDenied:
    """Mark of an error of credentials or rights: the other side refuses this user, and may stop refusing it.

    At start such an error stops the worker, since the configuration is wrong. After the stream has worked, a password
    was rotated or a right was taken away: the worker is *failing*, and retries at its longest delay.
    """


class RigatoniError(Exception):
    """What happened and where (`str(error)`), and what to do next (`remedy`).

    `id` is stable: it may be searched for, documented and alerted on. `retry_after` is the server's hint in seconds
    when to try again, if it gave one. Texts never hold secrets.
    """

    id: ClassVar[str] = "rigatoni"
    default_remedy: ClassVar[str] = ""

    def __init__(self, message: str, *, remedy: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy or self.default_remedy
        self.retry_after = retry_after

    @property
    def transient(self) -> bool:
        """Whether trying again may help; decided by type alone."""
        return isinstance(self, Transient)


def error_id(error: BaseException) -> str:
    """What an error counts as: its stable id, or `bug` for what was not raised on purpose. Never its text."""
    return error.id if isinstance(error, RigatoniError) else "bug"


class ConfigurationError(RigatoniError):
    """The configuration is wrong. `faults` holds every fault found, not only the first."""

    id = "configuration"

    def __init__(self, message: str, *, remedy: str = "", faults: tuple[str, ...] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self.faults = faults


class UnknownComponentError(ConfigurationError):
    """No installed plugin registers the name."""

    id = "unknown-component"


class AmbiguousComponentError(ConfigurationError):
    """Several plugins register the name; the prefix `plugin/` tells them apart."""

    id = "ambiguous-component"


class PluginError(RigatoniError):
    """A plugin cannot be used."""

    id = "plugin"


class BrokenPluginError(PluginError):
    """A plugin fails when it is imported, or registers something wrong."""

    id = "broken-plugin"


class IncompatiblePluginError(PluginError):
    """A plugin needs another API level or another version of rigatoni-core."""

    id = "incompatible-plugin"


class SourceError(RigatoniError):
    """The source cannot be opened or read."""

    id = "source"


class PositionLostError(SourceError):
    """The source can not go on from the saved position: continuing anywhere else would skip changes.

    The worker decides by `on_lost_position` what happens.
    """

    id = "position-lost"
    default_remedy = (
        "Look at the record with `rigatoni state show`. To go on from another position, set it with "
        "`rigatoni state set`; to go on from now without the lost changes, set "
        'on_lost_position = "restart_from_now": the loss is recorded as a gap.'
    )


class TokenRefusedError(PositionLostError):
    """The source refuses the token of the saved position, though its history may still reach back to it.

    The worker tries the same token once more and then resumes by time, if the source is a `TimeReader`; only when that
    fails is the position lost.
    """

    id = "token-refused"


class OtherDeploymentError(SourceError):
    """The source reads another deployment than the one that the stream's records were made of, or may do.

    Not a lost position: most often the configuration names the wrong deployment, so `on_lost_position` does not apply.
    """

    id = "other-deployment"
    default_remedy = (
        "Correct the source's uri; no position and no file was changed. If the uri is right, run `rigatoni state "
        "confirm-deployment FILE`."
    )


class StreamEndedError(SourceError, Transient):
    """`Source.read` returned. A stream has no end, so the worker enters again instead of ending without a word."""

    id = "stream-ended"
    default_remedy = "The worker enters again by itself. If this repeats, report it to the authors of the source."


class WatchChangedError(SourceError):
    """A new stream covers what other streams watched before, but where these ended cannot be determined."""

    id = "watch-changed"
    default_remedy = (
        "Restore the old `watch` to continue the old streams. Or set where the new stream begins with "
        "`rigatoni state set`; some events are then delivered twice, or skipped with a gap on record."
    )


class DamagedEventError(SourceError, Transient):
    """An event whose resume token can not be read: nobody could go on after it, so it has to be read again."""

    id = "damaged-event"
    default_remedy = (
        "The worker reads again from its checkpoint by itself. Where it comes to the same event again and again, "
        "something between the source and here changes bytes (a proxy, a compressor, memory): look there."
    )


class DestinationError(RigatoniError):
    """The destination cannot be opened or written."""

    id = "destination"


class ForeignObjectError(DestinationError):
    """An object that Rigatoni has not written has the name of one that it must write."""

    id = "foreign-object"
    default_remedy = "Nothing was overwritten. Move the foreign object away, or give this pipeline a place of its own."


class DefinitionChangedError(DestinationError):
    """A newer definition of the stream is active, so this instance must not write."""

    id = "definition-changed"
    default_remedy = (
        "Another instance runs this stream with a newer definition: stop this one, or update its configuration."
    )


class ChainError(DestinationError):
    """The destination holds a batch that does not follow from the stream."""

    id = "chain"
    default_remedy = (
        "The destination holds a batch that this stream does not contain. Compare deployments and configuration."
    )


class DeadLetterError(DestinationError):
    """Rejected events cannot be stored as dead letters."""

    id = "dead-letter"
    default_remedy = (
        "Nothing is lost, the checkpoint stayed. Give [pipeline.dead_letters] a destination and a serializer that take "
        'every event (type = "local" with serializer = { type = "json" } do), then start again.'
    )


class DeadLettersDownError(DeadLetterError, Transient):
    """The destination of dead letters is unavailable."""

    id = "dead-letters-down"


class UnreadableError(DestinationError):
    """The destination holds content that its deserializer cannot read."""

    id = "unreadable"


class RejectedEventsError(RigatoniError):
    """These events can never be written as they are: `events` maps their index in the batch to the reason.

    Of a reason that is a `RigatoniError` the text is repeated, so it must hold no values of the document; of any other
    only the type. Dead letters hold all of it.
    """

    id = "rejected-events"

    def __init__(self, events: Mapping[int, Exception], *, remedy: str = "") -> None:
        first = min(events)
        others = f" and {len(events) - 1} more" if len(events) > 1 else ""
        super().__init__(f"event {first} of the batch was rejected{others}: {public(events[first])}", remedy=remedy)
        self.events = dict(events)


class TooManyRejectedError(RigatoniError):
    """More events were rejected than `max_rejected` allows."""

    id = "too-many-rejected"
    default_remedy = (
        "Nothing is lost, the checkpoint stayed. Fix the cause (`rigatoni dlq list` shows the dead letters so far), "
        "then start again; raise max_rejected only if so many are expected."
    )


def public(reason: BaseException) -> str:
    """An exception as logs may show it: one of ours with its text, any other by its type (it may quote a document)."""
    return str(reason) if isinstance(reason, RigatoniError) else type(reason).__name__


class StateStoreError(RigatoniError):
    """The state store cannot be opened, read or written."""

    id = "state-store"


class CorruptCheckpointError(StateStoreError):
    """A stored checkpoint cannot be decoded."""

    id = "corrupt-checkpoint"
    default_remedy = (
        "The stored bytes are untouched. Restore the record with `rigatoni state import` or `rigatoni state rebuild`, "
        'or set on_lost_position = "restart_from_now" to go on without it: the loss is recorded as a gap.'
    )


class LeaseLostError(StateStoreError):
    """Another owner may hold the stream: the worker stops before its next write and asks for the lease again."""

    id = "lease-lost"
    default_remedy = "Nothing to do, unless it happens often: then look at the state store, or raise lease_ttl."


class ListenerError(RigatoniError):
    """A listener cannot be started."""

    id = "listener"


class PipelineTimeoutError(RigatoniError, Transient):
    """An operation exceeded its time limit."""

    id = "timeout"


class NoAnswerError(RigatoniError):
    """A running process does not report its status."""

    id = "no-answer"
    default_remedy = "Its event loop is busy or hangs: look at its log, and at what the machine is doing."


class ShutdownError(RigatoniError):
    """The pipeline ended before all of its work was done."""

    id = "shutdown"
