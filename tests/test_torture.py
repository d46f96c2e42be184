"""Instances as a user runs them, on real servers that break; `nox -s torture` is the long version of it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(("destination", "instances"), [("local", 2), ("s3", 4)])
def test_G7_I3_I4_I5_Z7_whatever_breaks_when_every_change_arrives_once_and_in_order(tmp_path, destination, instances):
    command = [sys.executable, "-m", "torture", "--json", "--destination", destination, "--folder", str(tmp_path)]
    command += ["--instances", str(instances), "--seconds", "15", "--seed", str(instances)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    report = json.loads(answer.stdout)
    assert report["changes written"] == report["events delivered"] > 100
    assert sum(report.get(f"instance {what}", 0) for what in ("killed", "paused", "stopped")) > 0
    broken = ("network", "Redis", "disk")
    assert sum(times for what, times in report.items() if what.startswith(broken)) > 0
