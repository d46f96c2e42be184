"""The table scenario -> test: nothing is covered only by intention."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TABLE = tomllib.loads((ROOT / "tests" / "scenarios.toml").read_text(encoding="utf-8"))


def _tests_by_scenario():
    """Scenario numbers to the tests that carry them, over the whole repository."""
    found: dict[str, list[str]] = {}
    for path in [*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("rigatoni-*/tests/test_*.py")]:
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            for number in re.findall(r"(?<=_)[A-Z]\d+(?=_)", name):
                found.setdefault(number, []).append(f"{path.relative_to(ROOT)}::{name}")
    return found


def test_every_scenario_has_a_test_or_stands_in_the_open_list():
    missing = set(TABLE["scenarios"]) - set(_tests_by_scenario()) - set(TABLE["open"])
    assert not missing, sorted(missing)


def test_the_open_list_is_true():
    covered = set(TABLE["open"]) & set(_tests_by_scenario())
    assert not covered, f"these have tests now: {sorted(covered)}"
    assert all(len(reason) > 20 for reason in TABLE["open"].values())


def test_no_test_carries_a_number_that_is_no_scenario():
    known = set(TABLE["scenarios"])
    unknown = {number: names for number, names in _tests_by_scenario().items() if number not in known}
    assert not unknown, unknown
