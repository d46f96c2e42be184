"""docs/guarantees.md: each sentence about what happens names a test, and each such test is there."""

import re
from pathlib import Path

import pytest
from rigatoni_core.api import notices, snapshot_notices

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
PROOFS = sorted(set(re.findall(r"\[proof\]\(\.\./([^ )]+) \"(\w+)\"\)", PAGE)))


@pytest.mark.parametrize(("path", "name"), PROOFS)
def test_the_named_test_is_there(path, name):
    assert re.search(rf"^ *(async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_sentence_about_what_happens_or_is_seen_names_its_test():
    faults = PAGE.split("\n## ")[1:-1]
    assert len(faults) > 8
    for fault in faults:
        promised = fault.split("What to do:")[0]
        assert promised != fault, f"nothing to do is said: {fault[:40]}"
        sentences = re.split(r"\n- ", promised)[1:]
        assert len(sentences) > 1
        for sentence in sentences:
            assert "[proof](../" in sentence, sentence


def test_the_page_of_guarantees_names_only_notices_that_exist():
    named = set(re.findall(r"`([A-Z]\w+)`", PAGE))
    assert named
    assert all(hasattr(notices, name) or hasattr(snapshot_notices, name) for name in named), named
