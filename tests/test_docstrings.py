"""Docstrings of the public API are complete: arguments, results and errors, in Google style.

The rules, for every function and method of the modules in `tests/public_api.txt`:

- Each parameter has an entry in `Args:`.
- A function that returns or yields something has a section `Returns:` or `Yields:`, or its summary starts with "Return"
  or "Yield" (Google Python Style Guide, 3.8.3).
- Each error that the body raises by name, and does not catch itself, has an entry in `Raises:`. The text names none.

Exempt are properties, tests of contract suites, methods that refer to the contract which they implement ("See
`Listener`."), and parameters that the summary names in backticks.
"""

import ast
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = runpy.run_path(str(ROOT / "tests" / "public_api.py"))["MODULES"]

SECTION = r"^{}:\n((?:[ ]{{4}}.*\n?|\n)+)"
ENTRY = re.compile(r"^ {4}([\w*.`, ]+?)(?: \([^)]*\))?:", re.MULTILINE)


def public_functions(module):
    """Yield the qualified name, the class and the node of each public function and method of a module."""
    for node in ast.parse(MODULES[module].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for each in node.body:
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and is_checked(each):
                    yield f"{node.name}.{each.name}", node, each
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_checked(node):
            yield node.name, None, node


def is_checked(node):
    if node.name.startswith(("_", "test_")) and node.name != "__init__":
        return False
    decorators = {ast.unparse(mark).rpartition(".")[2] for mark in node.decorator_list}
    return not decorators & {"property", "cached_property", "setter", "overload"}


def entries(text, section):
    found = re.search(SECTION.format(section), text, re.MULTILINE)
    return {name.strip(" *`") for names in ENTRY.findall(found[1] if found else "") for name in names.split(",")}


def missing(owner, node):
    """Return what the docstring of a function lacks. Constructors are documented by their class."""
    documented = owner if node.name == "__init__" else node
    text = ast.get_docstring(documented) or ""
    summary = text.partition("\n\n")[0]
    if re.search(r"See `\w+`", text):
        return []
    arguments = node.args
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    names += [each.arg for each in (arguments.vararg, arguments.kwarg) if each]
    documented_names = entries(text, "Args") | set(re.findall(r"`(\w+)`", summary))
    lacking = [f"argument {name}" for name in names if name not in ("self", "cls") and name not in documented_names]
    returned = ast.unparse(node.returns) if node.returns else "None"
    says = re.match(r"(Return|Yield|Generate)s? ", summary) or re.search(r"^(Returns|Yields):$", text, re.MULTILINE)
    if returned not in ("None", "Self", "NoReturn", "Iterator[None]", "AsyncIterator[None]") and not says:
        lacking.append("what it returns")
    if re.search(r"Raises `?[A-Z]\w+Error", text):
        lacking.append("a section for the errors in its text")
    return lacking + [f"error {name}" for name in sorted(raised(node) - entries(text, "Raises"))]


def raised(node):
    """Return the classes of errors that the body raises by name and does not catch itself."""
    if isinstance(node, ast.Raise):
        error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return {error.id} if isinstance(error, ast.Name) and re.match(r"[A-Z]\w*(Error|Lost)$", error.id) else set()
    if isinstance(node, ast.Try):
        caught = " ".join(ast.unparse(handler.type) for handler in node.handlers if handler.type)
        tried = {name for each in node.body for name in raised(each) if not re.search(rf"\b{name}\b", caught)}
        return tried.union(*(raised(each) for each in (*node.handlers, *node.orelse, *node.finalbody)))
    return set().union(*(raised(each) for each in ast.iter_child_nodes(node)))


@pytest.mark.parametrize("module", MODULES)
def test_public_docstrings_are_complete(module):
    lacking = [
        f"{MODULES[module].relative_to(ROOT)}:{node.lineno}: {name}: {', '.join(wrong)}"
        for name, owner, node in public_functions(module)
        if (wrong := missing(owner, node))
    ]
    assert not lacking, "\n".join(lacking)
