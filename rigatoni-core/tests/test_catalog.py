"""Hostile plugins, as installed distributions: listed with reason and remedy, and harmless to all others."""

import json
import os
import subprocess
import sys

import pytest

HOOK = """
from rigatoni_core.hookspecs import Component, hookimpl
from rigatoni_core.contracts import Serializer
import attrs
@attrs.define
class Fine(Serializer):
    media_type = "text/plain"
    suffix = ".txt"
    def serialize(self, events): return b""
@hookimpl
def rigatoni_serializers():
    {body}
"""
FINE = HOOK.format(body='yield Component("fine", lambda: Fine, summary="works")')

HOSTILE = {
    "raises-at-import": "raise RuntimeError('no luck today')",
    "exits": "raise SystemExit(3)",
    "needs-more": "import a_module_that_nobody_has",
    "hook-raises": HOOK.format(body='yield Component("half", lambda: Fine); raise ValueError("halfway")'),
    "not-records": HOOK.format(body="yield 42"),
    "not-iterable": HOOK.format(body="return 42"),
    "unknown-hook": "from rigatoni_core.hookspecs import hookimpl\n@hookimpl\ndef rigatoni_nonsense(): return []",
    "odd-name": HOOK.format(body='yield Component("../evil", lambda: Fine)'),
    "too-new": FINE,
}


def install(folder, name, code, requires="rigatoni-core"):
    """A distribution as pip leaves it behind, made by hand."""
    module = "hostile_" + name.replace("-", "_")
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: hostile-{name}\nVersion: 1.0\nRequires-Dist: {requires}\n"
    )
    (info / "entry_points.txt").write_text(f"[rigatoni]\n{name} = {module}\n")


def rigatoni(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "rigatoni_core.cli", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )


@pytest.fixture
def hostile(tmp_path):
    for name, code in HOSTILE.items():
        install(tmp_path, name, code, "rigatoni-core>=99" if name == "too-new" else "rigatoni-core")
    install(tmp_path, "good", FINE)
    install(tmp_path, "noisy", "print('noise on stdout')\n" + FINE.replace('"fine"', '"noisy"'))
    return tmp_path


def test_K6_hostile_plugins_are_listed_with_reason_and_remedy_and_harm_nobody(hostile):
    answer = rigatoni(hostile, "plugins", "list", "--json")
    assert answer.returncode == 1
    plugins = {plugin["plugin"]: plugin for plugin in json.loads(answer.stdout)}
    assert set(HOSTILE) | {"good", "noisy", "builtin"} <= set(plugins)
    for name in HOSTILE:
        assert plugins[name]["status"] == ("incompatible" if name == "too-new" else "broken"), plugins[name]
        assert plugins[name]["reason"]
        assert plugins[name]["remedy"]
        assert plugins[name]["provides"] == []
    assert "no luck today" in plugins["raises-at-import"]["reason"]
    assert "halfway" in plugins["hook-raises"]["reason"]
    assert plugins["good"]["status"] == "ok"
    assert plugins["noisy"]["status"] == "ok"


def test_K6_a_clash_is_an_error_only_where_the_bare_name_is_used(tmp_path):
    install(tmp_path, "one", FINE)
    install(tmp_path, "two", FINE)
    assert rigatoni(tmp_path, "plugins", "list").returncode == 0
    answer = rigatoni(tmp_path, "plugins", "show", "fine")
    assert answer.returncode == 2
    assert "one/fine" in answer.stderr
    assert "two/fine" in answer.stderr
    assert rigatoni(tmp_path, "plugins", "show", "two/fine").returncode == 0


def test_K6_a_class_of_the_wrong_kind_is_said_when_it_is_used(tmp_path):
    install(tmp_path, "wrong", HOOK.format(body='yield Component("wrong", lambda: dict)'))
    answer = rigatoni(tmp_path, "plugins", "show", "wrong")
    assert answer.returncode == 2
    assert "Serializer" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_unknown_name_says_what_is_installed_and_what_to_install():
    answer = rigatoni("", "plugins", "show", "memry")
    assert answer.returncode == 2
    assert 'did you mean "memory"?' in answer.stderr
    assert "pip install rigatoni-memry" in answer.stderr
    assert "Traceback" not in answer.stderr
