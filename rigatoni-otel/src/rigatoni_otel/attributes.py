"""Attributes of spans and metrics.

Names come from OpenTelemetry's semantic conventions (1.30 and newer: "Messaging spans", "Recording errors") if these
define one. Other names begin with `rigatoni.`. No attribute contains an error's text, a resume token or document data.
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
"""Attributes of a batch's span: by the conventions, a consumer that processes several messages at once."""


def of_stream(stream: Stream) -> dict[str, str]:
    """Return the attributes that name the stream."""
    return {"rigatoni.pipeline": stream.pipeline, "rigatoni.stream": stream.name}


def of_error(error: BaseException) -> dict[str, str]:
    """Return the error's stable id, or `bug` for an error that Rigatoni does not define."""
    return {"error.type": error_id(error)}


def key_of(attribute: str) -> str:
    """Return the key of a metric's attribute: as in the conventions, or with the prefix `rigatoni.`."""
    return attribute if "." in attribute else f"rigatoni.{attribute}"
