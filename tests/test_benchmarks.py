"""The benchmarks run and report every row; nothing is asserted about times, which belong to a quiet machine."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_smallest_run_reports_every_row():
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--events",
        "2000",
        "--rounds",
        "1",
        "--only",
        "floor,formats,rows,s3,streams,memory,transforms,masking",
    ]
    answer = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr
    figures = json.loads(answer.stdout)
    assert set(figures) == {"floor", "formats", "rows", "s3", "streams", "memory", "transforms", "masking"}
    names = " ".join(figures["formats"])
    assert all(word in names for word in ("hand-written", "json", "gzip", "zstd", "csv", "avro", "parquet"))
    for section in figures.values():
        assert all(len(values) == 1 for values in section.values())
    assert all(value > 0 for values in figures["formats"].values() for value in values)
