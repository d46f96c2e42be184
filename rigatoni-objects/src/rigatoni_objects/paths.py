"""Where the records of a stream's chain are, relative to the stream's folder.

_rigatoni/definition-N.json             what defines the batches of number N, and the position before the first
_rigatoni/closing-N.json                from now on no batch of number N may begin
_rigatoni/leads/N/<stem>                leads of batches that may have several objects, where objects carry records
_rigatoni/batches/N/<day>/<stem>.json   leads, where objects cannot carry records: the record is their content
_rigatoni/records/<sha256>.json         records that are too long for an object to carry
"""

import re

from rigatoni_core.api.events import Position

from rigatoni_objects.file_layout import day, stem

OWN = "_rigatoni/"
DEFINITIONS = f"{OWN}definition-"
LEADS = f"{OWN}leads/"
BATCHES = f"{OWN}batches/"

STEM = re.compile(r"(?:^|/)((\d{10})\.\d{10}-\d{8,}-[0-9a-f]{16})[^/]*$")
"""Finds the stem, and in it the seconds, in the name of an object or lead."""


def definition_path(number: int) -> str:
    return f"{DEFINITIONS}{number}.json"


def closing_path(number: int) -> str:
    return f"{OWN}closing-{number}.json"


def record_path(digest: str) -> str:
    return f"{OWN}records/{digest}.json"


def leads_folder(number: int) -> str:
    """Where the leads of a definition are that carry their record."""
    return f"{LEADS}{number}/"


def batches_folder(number: int) -> str:
    """Where the leads of a definition are whose content is their record."""
    return f"{BATCHES}{number}/"


def lead_path(number: int, first: Position) -> str:
    return f"{leads_folder(number)}{stem(first)}"


def batch_path(number: int, first: Position) -> str:
    return f"{batches_folder(number)}{day(first)}/{stem(first)}.json"
