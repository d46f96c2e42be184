"""Follows docs/tutorials/first-destination.md to the letter, in a fresh environment (`nox -s tutorial`).

python tests/packaging/tutorial.py FOLDER_WITH_WHEELS

A `sh` block is run, line by line, by a shell that stops at the first failure; each line of the `text` block after it
must occur in what was printed. `<!-- file: path -->` writes the block below it; commands after `<!-- fails -->` must
fail.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "tutorials" / "first-destination.md"
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^>]+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```\n", re.DOTALL)


def main(wheels: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        subprocess.run([sys.executable, "-m", "virtualenv", "-q", place / "venv"], check=True)
        path = f"{place / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        follow(place, {**os.environ, "PATH": path, "PIP_FIND_LINKS": str(wheels), "PIP_QUIET": "1"})


def follow(folder: Path, environment: dict[str, str]) -> None:
    """Do what each block says, the next one where the one before ended."""
    printed, done = "", 0
    for block in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        mark, text = block["mark"] or "", block["text"]
        if block["language"] == "text":
            missing = [line for line in text.splitlines() if line not in printed]
            assert not missing, f"the page promises {missing}, but was printed:\n{printed}"
        elif mark.startswith("file: "):
            target = folder.joinpath(mark.removeprefix("file: "))
            target.write_text(text, encoding="utf-8")
        else:
            assert block["language"] == "sh", block[0]
            command = ["sh", "-e", "-c", f"{text}pwd > '{folder}/.where'"]
            answer = subprocess.run(
                command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            printed, done = answer.stdout, done + 1
            assert (answer.returncode != 0) == (mark == "fails"), f"{text}\n{printed}"
            if mark != "fails":
                folder = Path((folder / ".where").read_text(encoding="utf-8").strip())
    assert done >= 8, "the page was hardly followed"
    print(f"{PAGE.name}: {done} blocks of commands, all as the page says")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
