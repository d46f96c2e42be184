"""The site: the repository's own pages, and a reference out of the code. `python -m nox -s docs` builds it.

The source folder is the repository, so that links between READMEs and pages work on the site as on any forge.
"""

from typing import Any

import click

project = "Rigatoni"
author = "the Rigatoni authors"
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/**.md",
    "docs/**.rst",
    "rigatoni-*/README.md",
    "rigatoni-*/CHANGELOG.md",
]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
myst_heading_anchors = 3
default_role = "code"  # docstrings quote code as Markdown does
smartquotes = False  # options begin with two dashes
autodoc_member_order = "bysource"
autodoc_typehints = "description"

html_theme = "furo"
html_title = "Rigatoni"
html_copy_source = False
suppress_warnings = ["misc.highlighting_failure"]  # Pygments does not know DuckDB's operators
highlight_language = "none"  # for literal blocks that name no language
pygments_style = "friendly"


def as_printed(app: Any, context: click.Context, lines: list[str]) -> None:
    """Columns in a command's help stay columns: its lines, `| ...` where sphinx-click made them, become literal."""
    text = []
    for number, line in enumerate(lines):
        if line.startswith("| ") and not (number and lines[number - 1].startswith("| ")):
            text += ["::", ""]
        text.append(f"    {line[2:]}" if line.startswith("| ") else line)
    lines[:] = text


def as_orphan(app: Any, name: str, source: list[str]) -> None:
    """Changelogs are in no table of contents: READMEs link to them."""
    if name.endswith("/CHANGELOG"):
        source[0] = f"---\norphan: true\n---\n{source[0]}"


def setup(app: Any) -> None:
    app.connect("source-read", as_orphan)
    app.connect("sphinx-click-process-description", as_printed)
