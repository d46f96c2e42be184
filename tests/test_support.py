"""The support matrix says what is tested, and no more."""

import re
from pathlib import Path

import pytest
import yaml
from rigatoni_mongodb.diagnosis.server import REFUSED_KINDS, UNTRIED_KINDS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/support.md").read_text(encoding="utf-8")
WORDS = {"tested", "expected", "untried", "refused"}
ROWS = [
    (name, support, note)
    for name, support, note in re.findall(r"^\| (.+?) \| (\w+) \| (.+) \|$", PAGE, re.MULTILINE)
    if support != "support"
]
EVERYWHERE = {"ordinary", "Linux with glibc, x86-64"}
"""Rows that all tests prove."""


def support_of(name):
    return next(support for row, support, _ in ROWS if row.startswith(name))


def test_each_row_has_one_of_the_four_words():
    explained = set(re.findall(r"^\| (\w+) \| ", PAGE.partition("## MongoDB")[0], re.MULTILINE)) - {"word"}
    assert explained == WORDS
    assert {support for _, support, _ in ROWS} == WORDS
    assert len(ROWS) > 40


@pytest.mark.parametrize("row", [row for row in ROWS if row[1] == "tested"], ids=lambda row: row[0])
def test_what_is_tested_links_to_its_tests(row):
    name, _, note = row
    links = re.findall(r"\]\(\.\./([^)]+)\)", note)
    assert links or name in EVERYWHERE
    assert all((ROOT / link).is_file() for link in links)


def test_the_python_versions_are_those_of_ci():
    workflow = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
    versions = workflow["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert support_of(f"CPython {', '.join(versions)}") == "tested"


def test_servers_that_doctor_recognizes_are_in_the_matrix():
    assert {support_of(f"{'Azure ' if 'Cosmos' in kind else ''}{kind}") for kind in REFUSED_KINDS} == {"refused"}
    assert {support_of(kind) for kind in UNTRIED_KINDS} == {"untried"}
