"""Messages of the server, shortened to what errors, logs and records may show.

A server quotes data: the command with its session and the cluster's signature, resume tokens, which contain `_id`s, and
whole events. Only the first clause of the root cause describes the error; the rest is data, and is omitted.
"""

import re

from pymongo.errors import OperationFailure, PyMongoError
from rigatoni_core.api.events import ResumeToken, token_hash

MOST = 300
"""The maximum length of a server's message in characters."""

_CAUSED_BY = ":: caused by ::"
_END_OF_CLAUSE = re.compile(
    r"""[{\[<\n]             # a document, an array, a reply
      | \.\s+(?=[A-Z0-9])     # the next sentence
      | \bFirst\ element\b
      | \b_id\b\s*[:=]        # the value of an _id
      | \b_data\b\s*[:=]      # the value of a resume token
    """,
    re.VERBOSE,
)
_APPENDED = re.compile(r", (?:full error|Timeout): | \(configured timeouts")
"""Matches what PyMongo appends to its own messages: the whole reply, the topology."""

_OPAQUE = re.compile(
    r"""[0-9A-Fa-f]{24,}                                    # an ObjectId, a token
      | [0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}  # a UUID
      | (?=[A-Za-z_+/=-]*[0-9])[A-Za-z0-9_+/=-]{40,}        # Base64
    """,
    re.VERBOSE,
)


def server_message(error: PyMongoError) -> str:
    """Return the server's or the driver's message for an error, without the data that it quotes."""
    details = getattr(error, "details", None)
    text = details.get("errmsg") if isinstance(details, dict) else None
    if text or isinstance(error, OperationFailure):
        return first_clause(str(text or error))
    return _shown(_APPENDED.split(str(error), maxsplit=1)[0])


def first_clause(text: str) -> str:
    """Return the first clause of a message's root cause.

    Args:
        text: A message of the server or the driver.

    Returns:
        At most `MOST` characters on one line, without documents, commands, sessions and signatures. Characters that may
        be a resume token or an `_id` are replaced by `#` and the hash by which Rigatoni shows a token elsewhere.
    """
    cause = text.rpartition(_CAUSED_BY)[2].strip()
    return _shown(_END_OF_CLAUSE.split(cause, maxsplit=1)[0])


def _shown(text: str) -> str:
    line = _OPAQUE.sub(_hashed, " ".join(text.split()).rstrip(" .:,;(\"'"))
    return line[:MOST] or "no reason given"


def _hashed(found: "re.Match[str]") -> str:
    token = f'{{"_data":"{found[0]}"}}'  # a resume token's usual spelling, so that its hash is the one shown elsewhere
    return f"#{token_hash(ResumeToken(token))}"
