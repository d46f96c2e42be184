"""Events that a server cannot send: too large, without a required image, or failing a stage of the pipeline."""

import re
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError
from rigatoni_core.api.errors import RigatoniError

from rigatoni_mongodb.error_codes import IMAGE_MISSING, LOST, TOO_LARGE, is_resumable
from rigatoni_mongodb.errors import EventTooLargeError, ImageMissingError, enabling
from rigatoni_mongodb.features import parse_version

_CODES = (TOO_LARGE, IMAGE_MISSING, 2, 9, 14, 241)
"""Codes of events that cannot be sent, or on which an expression fails; most of the latter are named "Location…"."""

_SIZE = re.compile(r"BSONObj size: (\d+)")
_TIME_IN_TOKEN = re.compile(r'_data: "82([0-9A-F]{8})([0-9A-F]{8})')
_TIME = re.compile(r"clusterTime: Timestamp\((\d+), (\d+)\)")
_IMAGE = re.compile(r"(?:pre|post)-image")
_NAMES = re.compile(r'ns: \{ ?db: "([^"]*)", coll: "([^"]*)"')
_SHRINKING = (
    "Make such events smaller: MongoDB {} cannot split them. Remove large fields with $unset in the source's "
    'pipeline, or set full_document = "default" and full_document_before_change = "off". Or upgrade MongoDB to 6.0.9, '
    "7.0 or newer."
)


def refuses_an_event(error: PyMongoError) -> bool:
    """Return whether a server refused a reply because of one event. Earlier events can be read in smaller replies."""
    if not isinstance(error, OperationFailure) or is_resumable(error) or error.code in LOST:
        return False
    name = str((error.details or {}).get("codeName", ""))
    return error.code in _CODES or name.startswith("Location")


def refused_event(error: OperationFailure, what: str, resource: dict[str, Any], version: str) -> RigatoniError:
    """Return the error for an event that the server cannot send, without the server's text, which quotes its token."""
    reason = str((error.details or {}).get("errmsg") or error)
    inside, time = _TIME_IN_TOKEN.search(reason), _TIME.search(reason)
    place = (int(inside[1], 16), int(inside[2], 16)) if inside else time and (time[1], time[2])
    when = f" (cluster time {place[0]}.{place[1]})" if place else ""
    if error.code == TOO_LARGE:
        size = _SIZE.search(reason)
        return EventTooLargeError(
            f"{what}: an event{when} has {int(size[1]):,} bytes, but a reply is limited to 16 MiB"
            if size
            else f"{what}: an event{when} exceeds the limit of 16 MiB for a reply",
            remedy="" if _splits_events(version) else _SHRINKING.format(version),
        )
    image, names = _IMAGE.search(reason), _NAMES.search(reason)
    collection = names[2] if names else resource.get("collection")
    where = f" in {names[1]}.{names[2]}" if names else ""
    return ImageMissingError(
        f"{what}: the required {image[0] if image else 'image'} of a change{where}{when} does not exist",
        remedy=enabling(collection) if collection else f"For each watched collection: {enabling('ITS NAME')}",
    )


def _splits_events(version: str) -> bool:
    """Return whether this server supports $changeStreamSplitLargeEvent; True if its version is unknown."""
    numbers = parse_version(version)
    return not numbers or numbers >= (7,) or (6, 0, 9) <= numbers < (6, 1)
