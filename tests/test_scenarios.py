"""The table scenario -> test: every scenario has a test that runs, and every number in a test's name is a scenario."""

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TABLE = tomllib.loads((ROOT / "tests" / "scenarios.toml").read_text(encoding="utf-8"))
LEAST_REASON = 30
"""Characters of a reason that says something."""


def _tests() -> Iterator[str]:
    """The names of all tests of the repository that are not skipped always."""
    for path in [*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("rigatoni-*/tests/**/test_*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and _runs(node):
                yield node.name


def _runs(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    skipped = any("mark.skip(" in ast.unparse(decorator) for decorator in function.decorator_list)
    return function.name.startswith("test_") and not skipped


def _numbers(names: Iterable[str]) -> set[str]:
    return {number for name in names for number in re.findall(r"(?<=_)[A-Z]\d+(?=_)", name)}


def problems(scenarios: Iterable[str], void: dict[str, str], names: Iterable[str]) -> set[str]:
    """What is wrong with a table, given the names of the tests that run."""
    known, tested = set(scenarios), _numbers(names)
    return (
        {f"{number} has no test" for number in known - tested}
        | {f"{number} is no scenario, but in the name of a test" for number in tested - known - set(void)}
        | {f"{number} is void, but has a test" for number in tested & set(void)}
        | {f"{number} is void and a scenario" for number in known & set(void)}
        | {f"{number} is void for no reason" for number, reason in void.items() if len(reason) < LEAST_REASON}
    )


def test_every_scenario_has_a_test_and_every_number_is_a_scenario():
    assert not problems(TABLE["scenarios"], TABLE["void"], _tests())


REASON = "It was about something that does not exist any more."


@pytest.mark.parametrize(
    ("scenarios", "void", "names", "found"),
    [
        (["A1"], {}, ["test_A1_it_works"], set()),
        (["A1", "B2"], {}, ["test_A1_B2_they_work", "test_more"], set()),
        (
            ["A1", "B2"],
            {},
            ["test_A1_it_works", "test_B22_it_works"],
            {"B2 has no test", "B22 is no scenario, but in the name of a test"},
        ),
        (["A1"], {}, ["test_a1_it_works", "test_it_isA1_"], {"A1 has no test"}),
        ([], {"A1": REASON}, [], set()),
        ([], {"A1": REASON}, ["test_A1_it_works"], {"A1 is void, but has a test"}),
        ([], {"A1": "gone"}, [], {"A1 is void for no reason"}),
        (["A1"], {"A1": REASON}, ["test_A1_it_works"], {"A1 is void, but has a test", "A1 is void and a scenario"}),
    ],
)
def test_each_fault_of_a_table_is_found(scenarios, void, names, found):
    assert problems(scenarios, void, names) == found


def test_the_page_explains_every_scenario_and_marks_those_that_are_void():
    page = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([A-Z]\d+)(?: ★)? \| (.+) \|$", page, re.MULTILINE)
    assert sorted(code for code, _ in rows) == sorted([*TABLE["scenarios"], *TABLE["void"]])
    assert {code for code, words in rows if words.startswith("Void: ")} == set(TABLE["void"])
