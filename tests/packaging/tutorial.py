"""Follows the tutorials to the letter, from wheels in a fresh environment (`nox -s tutorial`).

python tests/packaging/tutorial.py FOLDER_WITH_WHEELS
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pages import ROOT, Reader

PAGES = {"first-destination.md": 8}
"""Each with the least number of blocks of commands, so that none is passed over unnoticed."""


def main(wheels: Path) -> None:
    for page, expected in PAGES.items():
        with tempfile.TemporaryDirectory() as name:
            place = Path(name)
            subprocess.run([sys.executable, "-m", "virtualenv", "-q", place / "venv"], check=True)
            path = f"{place / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
            environment = {**os.environ, "PATH": path, "PIP_FIND_LINKS": str(wheels), "PIP_QUIET": "1"}
            done = Reader(place, environment, installs=True).follow(ROOT / "docs" / "tutorials" / page)
            assert done["sh"] >= expected, f"{page} was hardly followed: {done}"
            print(f"{page}: {done['sh']} blocks of commands, all as the page says")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
