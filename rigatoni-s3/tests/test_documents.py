"""The examples of docs/s3.md match the code."""

import json
import re
from pathlib import Path

from rigatoni_s3 import errors

PAGE = (Path(__file__).parents[2] / "docs" / "s3.md").read_text(encoding="utf-8")


def test_the_policy_allows_every_action_that_is_used_and_no_other():
    (policy,) = (json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
    allowed = {
        action
        for statement in policy["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    assert allowed == set(errors._ACTIONS.values())
