"""The prose check finds banned phrases where people read them, and nowhere else."""

import tomllib

import prose
import pytest

TEXTS = {
    "page.md": "# Title\n\nThis can\nnot be.\n",
    "docstring.py": 'def it() -> None:\n    """Nobody\n    reads it."""\n',
    "message.py": 'raise ValueError(f"{1} is asked again")\n',
    "comment.py": "x = 1  # goes on\n",
}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder in place of the repository, all of whose files are checked."""
    monkeypatch.setattr(prose, "ROOT", tmp_path)
    monkeypatch.setattr(prose, "COUNTS", tmp_path / "prose.toml")
    monkeypatch.setattr(prose, "files", lambda: sorted(path for path in tmp_path.iterdir() if path.suffix != ".toml"))
    return tmp_path


@pytest.mark.parametrize("name", TEXTS)
def test_a_banned_phrase_is_found_in(name, repository):
    (repository / name).write_text(TEXTS[name])
    assert len(prose.found(repository / name)) == 1


def test_code_is_not_prose(repository):
    (repository / "page.md").write_text("```sh\necho can not\n```\n\n<!-- nobody -->\n\nFine.\n")
    (repository / "module.py").write_text('whatever = "anew"\n')
    assert prose.main([]) == 0


def test_a_count_may_only_fall(repository, capsys):
    page = repository / "page.md"
    page.write_text("nobody, whoever")
    (repository / "prose.toml").write_text('"page.md" = 2\n')
    assert prose.main([]) == 0
    page.write_text("nobody, whoever, somebody")
    assert prose.main([]) == 1
    assert 'page.md:1: "somebody": write ' in capsys.readouterr().out
    page.write_text("nobody")
    assert prose.main(["--write"]) == 0
    page.write_text("nobody, whoever")
    assert prose.main([]) == 1
    assert prose.main(["--write"]) == 0, "writing never raises a count"
    assert prose.main([]) == 1


def test_the_repository_has_no_count_for_a_file_that_does_not_exist():
    counts = tomllib.loads(prose.COUNTS.read_text(encoding="utf-8"))
    assert all((prose.ROOT / name).is_file() for name in counts)
