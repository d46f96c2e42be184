"""The attributes of spans and metrics.

Where OpenTelemetry's semantic conventions (1.30 and newer: "Messaging spans", "Recording errors") have a name, it is
used; ours begin with `rigatoni.`. No attribute holds a text of an error, a resume token or anything out of a document.
"""

from importlib import metadata

from rigatoni_core.api.errors import error_id
from rigatoni_core.api.events import Stream

SCOPE = "rigatoni"
"""The name of the instrumentation scope."""

VERSION = metadata.version("rigatoni-otel")

MESSAGING = {
    "messaging.system": "rigatoni",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
}
"""What the span of a batch is, by the conventions: a consumer processes messages, several at once."""


def of_stream(stream: Stream) -> dict[str, str]:
    """Which stream it is about."""
    return {"rigatoni.pipeline": stream.pipeline, "rigatoni.stream": stream.name}


def of_error(error: BaseException) -> dict[str, str]:
    """What kind of error it was: its stable id, `bug` where it is none of ours."""
    return {"error.type": error_id(error)}


def key_of(attribute: str) -> str:
    """The key of a metric's own attribute: as the conventions have it, or one of ours."""
    return attribute if "." in attribute else f"rigatoni.{attribute}"
