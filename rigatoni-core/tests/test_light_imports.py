"""What programs load when they run pipelines without files, and without plugins that are looked up."""

import subprocess
import sys
from pathlib import Path

import pytest
import rigatoni_core

PACKAGE = Path(rigatoni_core.__file__).parent
LOAD = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]; print(*sys.modules)"


@pytest.mark.parametrize("room", ["engine", "observe", "builtin"])
def test_the_engine_loads_neither_cattrs_nor_pluggy(room):
    """`builtin` without its module of hooks, which needs pluggy's marker."""
    names = [
        f"rigatoni_core.{room}.{path.stem}" for path in (PACKAGE / room).glob("[a-z]*.py") if path.stem != "plugin"
    ]
    loaded = subprocess.run([sys.executable, "-c", LOAD, *names], capture_output=True, text=True, check=True).stdout
    assert {name.partition(".")[0] for name in loaded.split()}.isdisjoint({"cattrs", "pluggy", "click", "rich"})
