"""Instances as a user runs them, on real servers; examples/standby.py is the long version of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "examples" / "standby.py"


@pytest.mark.parametrize("instances", [2, 5])
def test_I4_I5_Z7_instances_that_are_killed_paused_and_stopped_lose_and_repeat_nothing(tmp_path, instances):
    command = [sys.executable, str(SCRIPT), "--instances", str(instances), "--seconds", "8", "--seed", str(instances)]
    answer = subprocess.run([*command, "--folder", str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    figures = dict(re.findall(r"^  (\S.*?)  +(\S+)", answer.stdout, re.MULTILINE))
    assert int(figures["changes written"]) == int(figures["events in the files"]) > 100
    assert sum(int(figures[f"instances {what}"]) for what in ("killed", "paused", "stopped")) > 0
    assert int(figures["takeovers"]) > 0
