"""The site: the repository's own pages, and a reference out of the code. `python -m nox -s docs` builds it.

The source folder is the repository, so that links between READMEs and pages work on the site as on any forge.
"""

project = "Rigatoni"
author = "the Rigatoni authors"
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "docs/**.md",
    "docs/**.rst",
    "rigatoni-*/README.md",
]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click"]
myst_heading_anchors = 3
default_role = "code"  # docstrings quote code as Markdown does
autodoc_member_order = "bysource"
autodoc_typehints = "description"

html_theme = "furo"
html_title = "Rigatoni"
html_copy_source = False
suppress_warnings = ["misc.highlighting_failure"]  # Pygments does not know DuckDB's operators
pygments_style = "friendly"
