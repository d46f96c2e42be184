"""Spells values as folder names that readers decode to the same values.

`hive` is the spelling of Hive and Spark (Hive, `FileUtils.escapePathName`): a percent sign and two digits for the ASCII
characters that they escape, every other character unchanged. `percent`, the spelling of version 0.1.0, escapes bytes of
UTF-8, each of which Hive decodes as one character.
"""

import hashlib
import re
import unicodedata
from typing import Literal

import attrs
from rigatoni_core.api.events import escaped

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
"""The folder name of an absent value; readers (Spark, DuckDB, pyarrow) decode it as null."""

LONGEST_VALUE = 120
"""The maximum length of a value in a folder name, in bytes. A longer value is truncated and gets a hash."""

_SPECIAL = re.compile(r"""[\0-\x1f"#%'*/:=?\\\x7f{[\]^]""")
"""The characters that Hive escapes, and NUL, which no file system allows."""
_SPECIAL_OR_CAPITAL = re.compile(r"""[\0-\x1f"#%'*/:=?\\\x7f{[\]^A-Z]""")
_LIKE_A_HASH = re.compile(r"~(?=[0-9a-f]{8}(?:[0-9a-f]{8})?\Z)")
_CUT_ESCAPE = re.compile(r"%[0-9A-F]?\Z")


@attrs.frozen
class Spelling:
    """Spells distinct values as distinct folder names. The one exception is the empty text, which Hive reads as null.

    Attributes:
        name: The spelling.
        folds_case: Whether the store treats names as equal that differ only by case or Unicode normalization. If so,
            capital ASCII letters are escaped, which readers undo. A value with other letters that have two cases, or
            that is not in normal form NFC, gets a hash.
    """

    name: Literal["hive", "percent"] = "hive"
    folds_case: bool = False

    def value(self, value: str | None) -> str:
        """Spell a value; `HIVE_NULL` for an absent one."""
        if value is None or (not value and self.name == "hive"):
            return HIVE_NULL
        text = self._text(value)
        return f"%5F{text[1:]}" if text == HIVE_NULL else text  # a value equal to the name of an absent one

    def key(self, name: str) -> str:
        """Spell the name of a partition. Readers ignore folders that start with an underscore, so it is escaped."""
        text = self._text(name)
        return f"%5F{text[1:]}" if text.startswith("_") else text

    def level(self, text: str) -> str:
        """Spell a whole level so that it is never hidden, and never `_rigatoni`."""
        if text.startswith("_") and text != HIVE_NULL:
            return f"%5F{text[1:]}"
        return f"%2E{text[1:]}" if text.startswith(".") else text

    def _text(self, value: str) -> str:
        if self.name == "percent":
            return escaped(value, LONGEST_VALUE)
        value = value.encode("utf-8", "replace").decode()
        special = _SPECIAL_OR_CAPITAL if self.folds_case else _SPECIAL
        text = special.sub(lambda match: f"%{ord(match[0]):02X}", value)
        text = _LIKE_A_HASH.sub("%7E", text)
        if len(encoded := text.encode()) > LONGEST_VALUE:
            beginning = encoded[: LONGEST_VALUE - 17].decode("utf-8", "ignore")
            return f"{_CUT_ESCAPE.sub('', beginning)}~{_hash(value, 16)}"
        if self.folds_case and _has_a_twin(value):
            return f"{text}~{_hash(value, 8)}"
        return text


def _hash(value: str, digits: int) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:digits]


def _has_a_twin(value: str) -> bool:
    """Return whether a store that folds case may confuse this value, with non-ASCII characters, with another."""
    return not value.isascii() and (
        not unicodedata.is_normalized("NFC", value) or any(map(_folds, filter(lambda each: each > "\x7f", value)))
    )


def _folds(character: str) -> bool:
    """Return whether a character has two cases, or such stores ignore it."""
    cases = {character, character.lower(), character.upper(), character.casefold()}
    return len(cases) > 1 or unicodedata.category(character) in ("Cf", "Cn") or character in _IGNORED


_IGNORED = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0") | frozenset(
    map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])
)
"""Ignorable characters of Unicode (Default_Ignorable_Code_Point), except those of the category Cf."""

HIVE = Spelling()
"""The spelling of new definitions."""
