"""`rigatoni new-plugin`: what is written, and what is refused. `nox -s template` installs and tests what it makes."""

import ast
import subprocess
import sys
import tomllib

import pytest
from rigatoni_core.api.components import KINDS


def new(folder, *arguments):
    command = [sys.executable, "-m", "rigatoni_core.cli", "new-plugin", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_is_whole_small_and_its_own(tmp_path, kind):
    answer = new(tmp_path, "rigatoni-acme-lake", "--kind", kind)
    assert answer.returncode == 0, answer.stderr
    folder, module = tmp_path / "rigatoni-acme-lake", {"state": "store"}.get(kind, kind)
    files = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    module = "store" if kind == "state" else kind
    assert set(files) == {
        "pyproject.toml",
        "README.md",
        "CHANGELOG.md",
        "src/rigatoni_acme_lake/__init__.py",
        "src/rigatoni_acme_lake/py.typed",
        "src/rigatoni_acme_lake/plugin.py",
        "src/rigatoni_acme_lake/errors.py",
        f"src/rigatoni_acme_lake/{module}.py",
        f"tests/test_{module}.py",
    }
    assert not [name for name, text in files.items() if "template" in text.lower()]
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["entry-points"]["rigatoni"] == {"acme-lake": "rigatoni_acme_lake.plugin"}
    for name, text in files.items():
        if name.endswith(".py"):
            ast.parse(text, name)
    hooks = [node.name for node in ast.parse(files["src/rigatoni_acme_lake/plugin.py"]).body if hasattr(node, "name")]
    assert hooks == [f"load_{kind}", KINDS[kind][0]]
    assert f"## {kind.capitalize()}" in files["README.md"]
    assert files["README.md"].count("\n## ") == 1


def test_a_new_command_has_an_entry_point_of_its_own(tmp_path):
    answer = new(tmp_path, "rigatoni-acme-lake", "--kind", "command")
    assert answer.returncode == 0, answer.stderr
    folder = tmp_path / "rigatoni-acme-lake"
    files = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert set(files) == {
        "pyproject.toml",
        "README.md",
        "CHANGELOG.md",
        "src/rigatoni_acme_lake/__init__.py",
        "src/rigatoni_acme_lake/py.typed",
        "src/rigatoni_acme_lake/errors.py",
        "src/rigatoni_acme_lake/command.py",
        "tests/test_command.py",
    }
    assert not [name for name, text in files.items() if "template" in text.lower()]
    project = tomllib.loads(files["pyproject.toml"])
    assert project["project"]["entry-points"] == {
        "rigatoni.commands": {"acme-lake": "rigatoni_acme_lake.command:command"}
    }
    assert project["tool"]["pytest"]
    for name, text in files.items():
        if name.endswith(".py"):
            ast.parse(text, name)
    assert "rigatoni acme-lake pipeline.toml" in files["README.md"]
    assert files["README.md"].count("\n## ") == 1


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "rigatoni-acme").mkdir()
    answer = new(tmp_path, "rigatoni-acme", "--kind", "state")
    assert answer.returncode == 2
    assert "nothing was changed" in answer.stderr
    assert list((tmp_path / "rigatoni-acme").iterdir()) == []


@pytest.mark.parametrize("name", ["acme", "rigatoni-", "rigatoni-Acme", "rigatoni-a--b", "../rigatoni-acme"])
def test_a_name_that_is_none_is_refused(tmp_path, name):
    answer = new(tmp_path, name, "--kind", "state")
    assert answer.returncode == 2
    assert "rigatoni-acme" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_kind_that_is_none_is_refused(tmp_path):
    answer = new(tmp_path, "rigatoni-acme", "--kind", "sink")
    assert answer.returncode == 2
    assert "source, destination, state, serializer, transform, listener, command" in answer.stderr
