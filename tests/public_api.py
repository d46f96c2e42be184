"""The public API of core, name by name with signatures, as plugins and programs may use it.

    python tests/public_api.py            writes tests/public_api.txt
    python tests/public_api.py --check    prints the differences, and exits with 1 if there are any

A change of that file is a change of the API. The changelog lists it, and removals wait for the next minor version.
"""

import ast
import difflib
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "rigatoni-core" / "src" / "rigatoni_core"
LISTED = Path(__file__).with_suffix(".txt")
TESTING = ROOT / "rigatoni-testing" / "src" / "rigatoni_testing"
MODULES = {
    **{f"rigatoni_core.api.{path.stem}": path for path in sorted((SOURCE / "api").glob("[a-z]*.py"))},
    **{
        f"rigatoni_core.api.contracts.{path.stem}": path
        for path in sorted((SOURCE / "api/contracts").glob("[a-z]*.py"))
    },
    "rigatoni_core.config": SOURCE / "config" / "__init__.py",
    **{f"rigatoni_core.engine.{name}": SOURCE / "engine" / f"{name}.py" for name in ("group", "pipeline")},
    **{
        f"rigatoni_testing.{name.replace('/', '.')}": TESTING / f"{name}.py"
        for name in (
            "batches",
            "commands",
            "contracts/destination",
            "contracts/lease",
            "contracts/listener",
            "contracts/plugin",
            "contracts/serializer",
            "contracts/source",
            "contracts/state",
            "contracts/transactional",
            "contracts/transform",
            "notices",
            "scripted",
            "serializers",
            "strategies",
        )
    },
}


def listing() -> str:
    """Return the whole API, one line for each name."""
    return "\n".join(line for name, path in MODULES.items() for line in _module(name, path)) + "\n"


def _module(name: str, path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield name
    yield from _names(tree.body, "  ")


def _names(body: list[ast.stmt], indent: str) -> Iterator[str]:
    for node in body:
        match node:
            case ast.ClassDef() if _public(node.name):
                bases = ", ".join(map(ast.unparse, node.bases))
                yield f"{indent}class {node.name}({bases})"
                yield from _names(node.body, indent + "  ")
            case ast.FunctionDef() | ast.AsyncFunctionDef() if _public(node.name):
                kind = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
                marks = "".join(f"@{ast.unparse(mark)} " for mark in node.decorator_list)
                returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
                yield f"{indent}{marks}{kind} {node.name}({ast.unparse(node.args)}){returned}"
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List(elts=names)):
                yield from (f"{indent}{ast.literal_eval(name)}" for name in names)
            case ast.AnnAssign(target=ast.Name(id=name)) if _public(name):
                yield f"{indent}{ast.unparse(node)}"
            case ast.Assign(targets=[ast.Name(id=name)]) if _public(name):
                yield f"{indent}{name}"


def _public(name: str) -> bool:
    return not name.startswith("_") or name in ("__init__", "__aenter__", "__aexit__", "__getitem__", "__len__")


def main() -> int:
    if "--check" not in sys.argv[1:]:
        LISTED.write_text(listing(), encoding="utf-8")
        return 0
    listed = LISTED.read_text(encoding="utf-8").splitlines()
    changes = list(difflib.unified_diff(listed, listing().splitlines(), "as listed", "as it is", lineterm="", n=0))
    print("\n".join(changes))
    return 1 if changes else 0


if __name__ == "__main__":
    sys.exit(main())
