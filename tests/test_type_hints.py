"""`typing.get_type_hints` works on every public class and function, as tools that read annotations expect.

The modules that `rigatoni --help` imports must not import what their annotations name: that would double its time. What
they name exists all the same, where their block `if TYPE_CHECKING` says.
"""

import ast
import importlib
import inspect
import subprocess
import sys
import typing
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parent.parent
SOURCES = [path for path in sorted(ROOT.glob("rigatoni-*/src")) if path.parent.name != "rigatoni-native"]
MODULES = [
    ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
    for source in SOURCES
    for path in sorted(source.rglob("*.py"))
    if path.stem != "__main__"
]
HELP = """
import sys
from rigatoni_core.cli.app import command
sys.argv[1:] = ["--help"]
command()
print(*sys.modules, file=sys.stderr)
"""


@pytest.fixture(scope="session")
def light():
    """The modules that `rigatoni --help` imports."""
    return set(subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True).stderr.split())


def public(module):
    for name, value in vars(module).items():
        if isinstance(value, click.Command) and value.callback and value.callback.__module__ == module.__name__:
            yield inspect.unwrap(value.callback)
        elif not name.startswith("_") and getattr(value, "__module__", None) == module.__name__:
            if inspect.isclass(value):
                yield value
                yield from (each for key, each in vars(value).items() if inspect.isfunction(each) and key[0] != "_")
            elif inspect.isfunction(value):
                yield value


def imported_for_types(module):
    """What the module imports below `if TYPE_CHECKING`."""
    names = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for line in node.body:
                if isinstance(line, ast.ImportFrom):
                    found = importlib.import_module(line.module)
                    names |= {alias.name: getattr(found, alias.name) for alias in line.names}
                elif isinstance(line, ast.Import):
                    names |= {alias.name: importlib.import_module(alias.name) for alias in line.names}
    return names


@pytest.mark.parametrize("name", MODULES)
def test_the_annotations_of_public_names_can_be_read(name, light):
    module = importlib.import_module(name)
    names = imported_for_types(module) if name in light else None
    for each in public(module):
        typing.get_type_hints(each, localns=names)


def test_commands_of_plugins_are_looked_at():
    import rigatoni_ops.dlq

    assert {each.__name__ for each in public(rigatoni_ops.dlq)} >= {"list_", "show", "replay"}
