"""Paths of the records of a stream's chain, relative to the stream's folder.

_rigatoni/definition-N.json             the definition of the batches of number N, and the position before the first;
                                        a closing definition has no batches: other streams continue this one
_rigatoni/closing-N.json                closes definition N to new batches
_rigatoni/leads/N/<stem>                leads of batches that may have several objects, if objects carry records
_rigatoni/batches/N/<day>/<stem>.json   leads if objects cannot carry records: the record is their content
_rigatoni/records/<sha256>.json         records that are too long for an object's metadata
_rigatoni/staged/<sha256>               objects of a chunk of a snapshot, until all of them have their names
_rigatoni/<name>.json                   records of `RecordKeeper`, such as the plan of a snapshot
"""

import re

from rigatoni_core.api.events import Position

from rigatoni_objects.file_layout import day, stem

OWN = "_rigatoni/"
DEFINITIONS = f"{OWN}definition-"
LEADS = f"{OWN}leads/"
BATCHES = f"{OWN}batches/"

STEM = re.compile(r"(?:^|/)((\d{10})\.\d{10}-\d{8,}-[0-9a-f]{16})[^/]*$")
"""Matches the stem, and the seconds in it, in the path of an object or lead."""


def definition_path(number: int) -> str:
    """Return the key of a definition by its number."""
    return f"{DEFINITIONS}{number}.json"


def closing_path(number: int) -> str:
    """Return the key of the mark that closes a definition."""
    return f"{OWN}closing-{number}.json"


def record_path(digest: str) -> str:
    """Return the key of a record that is too long for metadata, by its digest."""
    return f"{OWN}records/{digest}.json"


def staged_path(digest: str) -> str:
    """Return the key of a staged object, by the digest of its content."""
    return f"{OWN}staged/{digest}"


def kept_path(name: str) -> str:
    """Return the key of a record of `RecordKeeper`."""
    return f"{OWN}{name}.json"


def leads_folder(number: int) -> str:
    """Return the folder of a definition's leads that carry their record."""
    return f"{LEADS}{number}/"


def batches_folder(number: int) -> str:
    """Return the folder of a definition's leads whose content is their record."""
    return f"{BATCHES}{number}/"


def lead_path(number: int, first: Position) -> str:
    """Return the key of the lead of a batch by its first position."""
    return f"{leads_folder(number)}{stem(first)}"


def batch_path(number: int, first: Position) -> str:
    """Return the key of the record of a batch by its first position."""
    return f"{batches_folder(number)}{day(first)}/{stem(first)}.json"
