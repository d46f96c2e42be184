"""Checks that core and modules stay small, and that no method is a stub. `nox -s lint` runs it, and so does a test.

    python tests/packaging/structure.py            # what breaks a rule
    python tests/packaging/structure.py --sizes    # the code lines of core, room by room

A *code line* holds code: neither a docstring, nor a comment, nor nothing. The limits of core count code lines, so that
explaining a function never costs anything (ARCHITECTURE.md, "Size of core").
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORE = "rigatoni-core/src/rigatoni_core"
SNAPSHOTS = (
    f"{CORE}/engine/snapshots/",
    *(f"{CORE}/api/{name}.py" for name in ("snapshots", "snapshot_ledger", "snapshot_notices", "snapshot_records")),
    f"{CORE}/observe/snapshot_figures.py",
)
LISTS = (f"{CORE}/api/_first_party.py",)
LIMITS = {
    (f"{CORE}/",): 9_000,
    (f"{CORE}/api/", f"{CORE}/engine/"): 4_500,
    SNAPSHOTS: 1_250,
}
"""The code lines that these folders and modules may have together. Snapshots count apart, in no other limit: a stream
that takes none does not enter them. Lists of names do not count: they grow with the plugins, and are not read."""

MODULE_LINES = 400
"""All lines that a module may have, tests aside."""

LARGER = {
    "rigatoni-mongodb/src/rigatoni_mongodb/source.py": "half of it are the options of one class, with their texts",
}
"""The modules that may have more lines, and why."""

_STUB = re.compile(r"\braise NotImplementedError\b")
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.NEWLINE,
    tokenize.NL,
}


def code_lines(source: str) -> int:
    """Count the lines of a module that hold code; strings that stand alone document what is around them."""
    documentation = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in _NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(code - documentation)


def modules(place: str = "") -> list[Path]:
    """Return the modules of this repository below a folder (`core/`), or one; new ones included, those of tests not."""
    pattern = place if place.endswith(".py") else f"{place}*.py"
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", pattern]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    paths = (ROOT / name for name in sorted(listed) if "tests" not in Path(name).parts)
    return [path for path in paths if path.is_file()]


def size(*places: str) -> int:
    """Return the code lines of these folders and modules; without those that count apart, unless they are named."""
    elsewhere = (*LISTS, *(() if places == SNAPSHOTS else SNAPSHOTS))
    apart = {path for place in elsewhere for path in modules(place)}
    paths = (path for place in places for path in modules(place))
    return sum(code_lines(path.read_text(encoding="utf-8")) for path in paths if path not in apart)


def problems() -> Iterator[str]:
    """Yield what is too large or a stub, and each exception that is no longer needed."""
    for places, limit in LIMITS.items():
        if (found := size(*places)) > limit:
            yield f"{' and '.join(places)}: {found} code lines, more than {limit}: move something out of core"
    for path in modules():
        name = path.relative_to(ROOT).as_posix()
        source = path.read_text(encoding="utf-8")
        lines = len(source.splitlines())
        if lines > MODULE_LINES and name not in LARGER:
            yield f"{name}: {lines} lines, more than {MODULE_LINES}: split it by nouns"
        if lines <= MODULE_LINES and name in LARGER:
            yield f"{name}: {lines} lines: it needs no exception any more"
        if _STUB.search(source):
            yield f"{name}: raises NotImplementedError: make the method abstract, or remove it"


def main(arguments: list[str]) -> int:
    """Print what breaks a rule. Returns the exit code."""
    if "--sizes" in arguments:
        for room in sorted(path for path in (ROOT / CORE).iterdir() if any(path.glob("*.py"))):
            print(f"{room.name:<9} {size(f'{CORE}/{room.name}/'):>6}")
        for places, limit in LIMITS.items():
            print(f"{size(*places):>6} of {limit:>6}  {' and '.join(places)}")
    found = list(problems())
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
