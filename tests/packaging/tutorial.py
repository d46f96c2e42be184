"""Follows the tutorials to the letter, from wheels in a fresh environment (`nox -s tutorial`).

python tests/packaging/tutorial.py FOLDER_WITH_WHEELS
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pages import ROOT, Reader
from rigatoni_mongodb.testing.server import mongodb_server

PAGES = {"first-pipeline.md": 7, "first-destination.md": 7, "first-command.md": 5}
"""Each with the least number of blocks of commands, so that none is passed over unnoticed."""


def main(wheels: Path) -> None:
    for page, expected in PAGES.items():
        with tempfile.TemporaryDirectory() as name, mongodb_server(Path(name) / "mongodb") as uri:
            place = Path(name) / "place"
            subprocess.run([sys.executable, "-m", "virtualenv", "-q", place / "venv"], check=True)
            environment = {
                **os.environ,
                "PATH": f"{place / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
                "PIP_FIND_LINKS": str(wheels),
                "PIP_QUIET": "1",
                "MONGODB_URI": uri,
                "RIGATONI_RUNTIME_DIR": f"{name}/run",
            }
            done = Reader(place, environment, installs=True).follow(ROOT / "docs" / "tutorials" / page)
            assert done["sh"] >= expected, f"{page} was hardly followed: {done}"
            print(f"{page}: {done['sh']} blocks of commands, all as the page says")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
