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
        ForeignObjectError        a foreign object has the name of one of ours
        DefinitionChangedError    another owner changed the stream's definition
        ChainError                the destination's chain of batches contradicts the stream
        DeadLetterError           a dead letter cannot be written
          DeadLettersDownError      at present
        UnreadableError           stored data cannot be read back
      RejectedEventsError       these events can never be written
      TooManyRejectedError      too many events are rejected for the cause to be in single events
      StateStoreError           the state store failed
        CorruptCheckpointError    the stored record cannot be read
        LeaseLostError            another owner holds the stream
      ListenerError             a listener could not be opened
      PipelineTimeoutError      a bounded step took too long
      NoAnswerError             a running process does not report its status
      ShutdownError             the work was abandoned because the pipeline stops

The type decides whether a retry can help: classes that also derive from `Transient` are retried,
all others are not. `AccessDenied` marks errors that a retry fixes only after an administrator has acted. Plugins
derive their own leaves (`class S3ThrottledError(DestinationError, Transient)`) and translate foreign exceptions in
their own `errors.py`. Anything that is not a `RigatoniError` is a bug: it stops that worker with its traceback.
"""

import re
from collections.abc import Mapping
from typing import ClassVar


class Transient:
    """Marks an error that may pass, so that a retry may help."""


class AccessDenied:
    """Marks an error of credentials or permissions that an administrator can fix while Rigatoni runs.

    At start such an error stops the worker, since the configuration is wrong. After the stream has worked, a password
    was rotated or a permission was revoked: the worker is *failing*, and retries at its longest delay.
    """


class RigatoniError(Exception):
    """An error with a message and a remedy, whose texts never contain secrets.

    `id` is stable, for searches, documentation and alerts: the name of the class in kebab case, without `Error`. A
    class that is renamed keeps its id by setting it.

    Args:
        message: What happened and where. `str(error)` returns it.
        remedy: What the user should do, starting with a verb. Default: that of the class.
        retry_after: Seconds until a retry, if the server sent such a hint.
    """

    id: ClassVar[str] = "rigatoni"
    default_remedy: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "id" not in vars(cls):
            cls.id = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__.removesuffix("Error")).lower()

    def __init__(self, message: str, *, remedy: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy or self.default_remedy
        self.retry_after = retry_after

    @property
    def transient(self) -> bool:
        """Whether a retry may help; decided by type alone."""
        return isinstance(self, Transient)


def error_id(error: BaseException) -> str:
    """Return the stable id of an error, or `bug` for any other exception.

    Args:
        error: Any exception.
    """
    return error.id if isinstance(error, RigatoniError) else "bug"


class ConfigurationError(RigatoniError):
    """The configuration is wrong.

    Args:
        message: The first fault, or all of them.
        remedy: What the user should do. Default: that of the class.
        faults: Every fault found, not only the first.
    """

    def __init__(self, message: str, *, remedy: str = "", faults: tuple[str, ...] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self.faults = faults


class UnknownComponentError(ConfigurationError):
    """No installed plugin registers the name."""


class AmbiguousComponentError(ConfigurationError):
    """Several plugins register the name; the prefix `plugin/` tells them apart."""


class PluginError(RigatoniError):
    """A plugin cannot be used."""


class BrokenPluginError(PluginError):
    """A plugin fails when it is imported, or registers something wrong."""


class IncompatiblePluginError(PluginError):
    """A plugin needs another API level or another version of rigatoni-core."""


class SourceError(RigatoniError):
    """The source cannot be opened or read."""


class PositionLostError(SourceError):
    """The source cannot resume from the saved position: continuing elsewhere would skip changes.

    The setting `on_lost_position` decides what the worker does.
    """

    default_remedy = (
        "Inspect the record with `rigatoni state show`. To resume from another position, set it with "
        "`rigatoni state set`; to continue from now without the lost changes, set "
        'on_lost_position = "restart_from_now": the loss is recorded as a gap.'
    )


class TokenRefusedError(PositionLostError):
    """The source refuses the token of the saved position, though its history may still reach back to it.

    The worker tries the same token once more and then resumes by time, if the source is a `TimeReader`; only when that
    fails is the position lost.
    """


class OtherDeploymentError(SourceError):
    """The source reads another deployment than the one that the stream's records were made of, or may do.

    Not a lost position: most often the configuration names the wrong deployment, so `on_lost_position` does not apply.
    """

    default_remedy = (
        "Correct the source's uri; no position and no file was changed. If the uri is right, run `rigatoni state "
        "confirm-deployment FILE`."
    )


class StreamEndedError(SourceError, Transient):
    """`Source.read` returned. A stream has no end, so the worker enters again instead of ending silently."""

    default_remedy = "If this repeats, report it to the authors of the source. The worker retries."


class WatchChangedError(SourceError):
    """A new stream covers what other streams watched before, but where these ended cannot be determined."""

    default_remedy = (
        "Restore the old `watch` to continue the old streams. Or set where the new stream begins with "
        "`rigatoni state set`; some events are then delivered twice, or skipped with a gap on record."
    )


class DamagedEventError(SourceError, Transient):
    """An event without a readable resume token: no position can follow it, so it must be read again."""

    default_remedy = (
        "If this repeats, check the path from the source (proxies, compression, memory) for corruption. "
        "The worker reads again from its checkpoint."
    )


class DestinationError(RigatoniError):
    """The destination cannot be opened or written."""


class ForeignObjectError(DestinationError):
    """An object that Rigatoni has not written has the name of one that it must write."""

    default_remedy = "Move the foreign object away, or give this pipeline its own location. Nothing was overwritten."


class DefinitionChangedError(DestinationError):
    """A newer definition of the stream is active, so this instance must not write."""

    default_remedy = (
        "Stop this instance, or update its configuration: another one runs this stream with a newer definition."
    )


class ChainError(DestinationError):
    """The destination holds a batch that does not follow from the stream."""

    default_remedy = (
        "Compare deployments and configuration: the destination holds a batch that this stream does not contain."
    )


class DeadLetterError(DestinationError):
    """Rejected events cannot be stored as dead letters."""

    default_remedy = (
        "Give [pipeline.dead_letters] a destination and a serializer that accept "
        'every event, such as type = "local" with serializer = { type = "json" }, then restart. Nothing is lost.'
    )


class DeadLettersDownError(DeadLetterError, Transient):
    """The destination of dead letters is unavailable."""


class UnreadableError(DestinationError):
    """The destination holds content that its deserializer cannot read."""


class RejectedEventsError(RigatoniError):
    """Events that can never be written as they are.

    The message repeats the text of a reason that is a `RigatoniError`, so such a text must not contain values of the
    document. For other reasons it shows only the type. Dead letters contain the full text.

    Args:
        events: The reasons by the index of the event in the batch.
        remedy: What the user should do. Default: that of the class.
    """

    def __init__(self, events: Mapping[int, Exception], *, remedy: str = "") -> None:
        first = min(events)
        others = f" and {len(events) - 1} more" if len(events) > 1 else ""
        super().__init__(f"event {first} of the batch was rejected{others}: {public(events[first])}", remedy=remedy)
        self.events = dict(events)


class TooManyRejectedError(RigatoniError):
    """More events were rejected than `max_rejected` allows."""

    default_remedy = (
        "Fix the cause (`rigatoni dlq list` shows the dead letters so far), then restart. "
        "Raise max_rejected only if this many are expected. Nothing is lost."
    )


def public(reason: BaseException) -> str:
    """Return an exception's text as logs may show it: only the type of foreign exceptions, which may quote documents.

    Args:
        reason: Any exception.
    """
    return str(reason) if isinstance(reason, RigatoniError) else type(reason).__name__


class StateStoreError(RigatoniError):
    """The state store cannot be opened, read or written."""


class CorruptCheckpointError(StateStoreError):
    """A stored checkpoint cannot be decoded."""

    default_remedy = (
        "Restore the record with `rigatoni state import` or `rigatoni state rebuild` (the stored bytes are untouched), "
        'or set on_lost_position = "restart_from_now" to continue without it: the loss is recorded as a gap.'
    )


class LeaseLostError(StateStoreError):
    """Another owner may hold the stream: the worker stops before its next write and requests the lease again."""

    default_remedy = "If this happens often, check the state store, or raise lease_ttl. Otherwise ignore it."


class ListenerError(RigatoniError):
    """A listener cannot be started."""


class PipelineTimeoutError(RigatoniError, Transient):
    """An operation exceeded its time limit."""

    id = "timeout"


class NoAnswerError(RigatoniError):
    """A running process does not report its status."""

    default_remedy = "Check its log and the load of the machine: its event loop is busy or hangs."


class ShutdownError(RigatoniError):
    """The pipeline ended before all of its work was done."""
