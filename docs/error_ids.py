"""The page of all errors by id, from the same texts as `rigatoni explain`. `docs/tables.py` writes it."""

import re
from pathlib import Path

from rigatoni_core.config import Catalog
from rigatoni_ops.error_reference import explanations

ROOT = Path(__file__).parent.parent
HEAD = """\
# Errors by id

<!-- written by docs/tables.py -->

Every error has a stable id, which logs, metrics and `rigatoni status --json` show. `rigatoni explain ID` prints the
same text as this page. The message of an error names its place, and often a more precise remedy than this page. Python
programs catch [the classes](errors.rst).
"""


def page() -> str:
    """Return the text of the page."""
    found = [each for each in explanations(Catalog.discover()).values() if (ROOT / each.distribution).exists()]
    lines, last = [HEAD], None
    for each in sorted(found, key=lambda each: (each.distribution != "rigatoni-core", each.distribution, each.id)):
        if each.distribution != last:
            lines += [f"## {each.distribution}", ""]
            last = each.distribution
        lines += [f"### {each.id}", "", _escaped(each.meaning), ""]
        if each.details:
            lines += [_escaped(each.details), ""]
        lines += [f"**What to do:** {_escaped(each.remedy)} {each.retry}", ""]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """Return the text of a docstring as Markdown: outside of code, `*` and `<` are themselves."""
    return re.sub(r"(`[^`]*`)|([*<])", lambda match: match[1] or f"\\{match[2]}", text)
