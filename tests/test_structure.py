"""Core and modules stay small, no method is a stub, and the check that says so can fail."""

import subprocess

import pytest
import structure


def test_the_repository_keeps_the_rules():
    assert list(structure.problems()) == []


def test_code_lines_are_those_with_code():
    source = '"""Module."""\n\n# comment\nx = (  # why\n    1,\n\n)\n"""About x."""\ntext = """a\n\nb"""\n'
    source += 'def it():\n    """Return\n\n    nothing."""\n    return None\n'
    assert structure.code_lines(source) == 3 + 3 + 2, "x, text and it"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder in place of the repository, with limits that it keeps."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "module.py").write_text("x = 1\n")
    monkeypatch.setattr(structure, "ROOT", tmp_path)
    monkeypatch.setattr(structure, "LIMITS", {("core/",): 1})
    monkeypatch.setattr(structure, "LARGER", {})
    assert structure.main([]) == 0
    return tmp_path


def test_comments_and_docstrings_do_not_count_against_core(repository):
    (repository / "core" / "module.py").write_text('"""Module."""\n# comment\nx = 1\n')
    assert structure.main([]) == 0


@pytest.mark.parametrize(
    ("name", "source", "found"),
    [
        ("core/another.py", "y = 1\n", "core/: 2 code lines, more than 1"),
        ("elsewhere.py", "#\n" * 401, "elsewhere.py: 401 lines, more than 400"),
        ("stub.py", "def it():\n    raise NotImplementedError\n", "stub.py: raises NotImplementedError"),
    ],
)
def test_what_breaks_a_rule_is_found(name, source, found, repository, capsys):
    (repository / name).write_text(source)
    assert structure.main([]) == 1
    assert found in capsys.readouterr().out


def test_an_exception_must_be_needed(repository, monkeypatch, capsys):
    monkeypatch.setattr(structure, "LARGER", {"core/module.py": "it once was"})
    assert structure.main([]) == 1
    assert "needs no exception" in capsys.readouterr().out


def test_modules_of_tests_may_be_larger(repository):
    (repository / "tests").mkdir()
    (repository / "tests" / "test_it.py").write_text("#\n" * 401)
    assert structure.main([]) == 0
