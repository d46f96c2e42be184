"""How values are spelled as folder names, so that readers get them back.

`hive` is the spelling of Hive and Spark (Hive, `FileUtils.escapePathName`): a percent sign and two digits for the ASCII
characters that they escape, every other character as itself. `percent`, the spelling of version 0.1.0, escapes the
bytes of UTF-8, which Hive's readers take for one character each.
"""

import hashlib
import re
import unicodedata
from typing import Literal

import attrs
from rigatoni_core.api.events import escaped

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
"""What stands for an absent value in a folder name; readers (Spark, DuckDB, pyarrow) take it as null."""

LONGEST_VALUE = 120
"""Bytes of a value in a folder name; a longer one keeps its beginning and gets a hash."""

_SPECIAL = re.compile(r"""[\0-\x1f"#%'*/:=?\\\x7f{[\]^]""")
"""What Hive escapes, and the zero character, which no file system takes."""
_SPECIAL_OR_CAPITAL = re.compile(r"""[\0-\x1f"#%'*/:=?\\\x7f{[\]^A-Z]""")
_LIKE_A_HASH = re.compile(r"~(?=[0-9a-f]{8}(?:[0-9a-f]{8})?\Z)")
_CUT_ESCAPE = re.compile(r"%[0-9A-F]?\Z")


@attrs.frozen
class Spelling:
    """Spells values as folder names: different values differently, but for the empty text, which Hive takes for null.

    Attributes:
        name: Which spelling it is.
        folds_case: Whether the store takes names for equal that differ only by case or by Unicode normalization, so
            that such values need different names. Capital ASCII letters are escaped then, which readers undo; a value
            with other letters that have two cases, or that is not in the normal form NFC, ends in a hash.
    """

    name: Literal["hive", "percent"] = "hive"
    folds_case: bool = False

    def value(self, value: str | None) -> str:
        """Spell a value; `HIVE_NULL` for an absent one."""
        if value is None or (not value and self.name == "hive"):
            return HIVE_NULL
        text = self._text(value)
        return f"%5F{text[1:]}" if text == HIVE_NULL else text  # a value that looks like the absent one

    def key(self, name: str) -> str:
        """Spell the name of a partition; readers hide what begins with an underscore."""
        text = self._text(name)
        return f"%5F{text[1:]}" if text.startswith("_") else text

    def level(self, text: str) -> str:
        """A whole level, made of fixed text and values: never hidden, and never our own `_rigatoni`."""
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
    """Whether a store that folds case may take another value, with other characters than ASCII, for this one."""
    return not value.isascii() and (
        not unicodedata.is_normalized("NFC", value) or any(map(_folds, filter(lambda each: each > "\x7f", value)))
    )


def _folds(character: str) -> bool:
    """Whether a character has two cases, or is one that such stores ignore."""
    cases = {character, character.lower(), character.upper(), character.casefold()}
    return len(cases) > 1 or unicodedata.category(character) in ("Cf", "Cn") or character in _IGNORED


_IGNORED = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0") | frozenset(
    map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])
)
"""Characters that Unicode calls ignorable (Default_Ignorable_Code_Point), but for those of the category Cf."""

HIVE = Spelling()
"""The spelling of new definitions."""
