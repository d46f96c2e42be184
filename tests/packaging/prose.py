"""Checks the words of this project: pages, docstrings, help, messages and comments. `nox -s lint` runs it.

    python tests/packaging/prose.py            # what is new
    python tests/packaging/prose.py --all      # every occurrence
    python tests/packaging/prose.py --write    # lower the counts in prose.toml to what is left

`BANNED` names phrases that readers have to decode, and what to write instead. `prose.toml` counts, file by file, the
occurrences that are older than this check. A count may only fall; where there is no such file, `--write` starts one.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
COUNTS = Path(__file__).with_suffix(".toml")
BANNED = {
    r"can not": "cannot",
    r"(go|goes|going|went|gone) on": "resume, continue; happen",
    r"anew|starts? over": "start fresh; again",
    r"mend(s|ed|ing)?": "fix, repair, recover",
    r"answers|answered": "return (a function), respond (a server)",
    r"asked again": "retry",
    r"in silence": "silently",
    r"whoever|whatever|whichever": "name the actor or the thing",
    r"nobody|somebody": "name the actor, or: not held, unused, unattended",
    r"by hand": "manually; hand-written",
    r"bad day": "incident; troubleshooting",
    r"happenings?": "notice",
    r"fault of the file": "configuration error",
    r"unwise": "not recommended",
    r"the greater (one|of the two)": "the larger value",
    r"(in|before) its turn": "in order, ahead of time",
    r"settles|settled": "decides, fixes; commits",
    r"(take|takes|taken|took|give|gives|given|gave) up": "start processing; abandon",
    r"(come|comes|came) to": "reach",
    r"(is|are|was|were) (not )?there": "exists, does not exist",
    r"(and|or) (its|the|their) like": "and compatible stores; and similar",
    r"beside": "next to, with",
    r"told|says so|say so": "report, log",
    r"as long as[^.,;]* not": "until",
}
"""Patterns of whole words, in any case, and what to write instead (CONTRIBUTING.md, "Language")."""

_NO_PROSE = re.compile(r"^```.*?^```|<!--.*?-->", re.MULTILINE | re.DOTALL)
_BANNED = [(re.compile(rf"\b({pattern})\b", re.IGNORECASE), instead) for pattern, instead in BANNED.items()]


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a file that people read, each with its line: paragraphs, or strings and comments of Python."""
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        shown = _NO_PROSE.sub(lambda it: "\n" * it[0].count("\n"), content)
        line = 1
        for paragraph in re.split(r"(\n\s*\n)", shown):
            yield line, paragraph
            line += paragraph.count("\n")
        return
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def found(path: Path) -> list[str]:
    """Return each banned phrase of a file: its place, its words and what to write instead."""
    return [
        f'{path.relative_to(ROOT)}:{line}: "{match[0]}": write {instead}'
        for line, text in prose(path)
        for pattern, instead in _BANNED
        for match in pattern.finditer(" ".join(text.split()))
    ]


def files() -> list[Path]:
    """Return the pages and the sources of all distributions that git knows."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "*.md", "rigatoni-*/src/*.py", "plugin-template/src/*.py"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def main(arguments: list[str]) -> int:
    """Print what is new, or everything. Return 1 where a file has more banned phrases than its count allows."""
    started = COUNTS.exists()
    counts = tomllib.loads(COUNTS.read_text(encoding="utf-8")) if started else {}
    occurrences = {path.relative_to(ROOT).as_posix(): found(path) for path in files()}
    occurrences = {name: each for name, each in occurrences.items() if each}
    if "--write" in arguments:
        lowered = {name: len(each) for name, each in sorted(occurrences.items())}
        if started:
            lowered = {name: min(count, counts.get(name, 0)) for name, count in lowered.items()}
        lines = [f'"{name}" = {count}\n' for name, count in lowered.items() if count]
        COUNTS.write_text("# Banned phrases left in each file: see prose.py.\n" + "".join(lines), encoding="utf-8")
        return 0
    failed = [name for name, each in occurrences.items() if len(each) > counts.get(name, 0)]
    for name in sorted(occurrences if "--all" in arguments else failed):
        sys.stdout.writelines(f"{each}\n" for each in occurrences[name])
    for name in failed:
        count, allowed = len(occurrences[name]), counts.get(name, 0)
        sys.stdout.write(f"{name} has {count} banned phrases, {allowed} are allowed: rewrite the new ones.\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
