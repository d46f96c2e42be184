"""Hostile plugins, as installed distributions: listed with reason and remedy, and harmless to all others."""

import json
import os
import re
import subprocess
import sys

import pytest

HOOK = """
from rigatoni_core.api.hookspecs import Component, hookimpl
from rigatoni_core.api.contracts import Serializer
import attrs
@attrs.define
class Fine(Serializer):
    accepts = frozenset("*")
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
    "unknown-hook": "from rigatoni_core.api.hookspecs import hookimpl\n@hookimpl\ndef rigatoni_nonsense(): return []",
    "odd-name": HOOK.format(body='yield Component("../evil", lambda: Fine)'),
    "endless": HOOK.format(
        body='n = 0\n    while True:\n        n += 1\n        yield Component(f"n{n}", lambda: Fine)'
    ),
    "twice": HOOK.format(body='yield Component("one", lambda: Fine); yield Component("one", lambda: Fine)'),
    "returns-nothing": HOOK.format(body="return None"),
    "no-loader": HOOK.format(body='yield Component("idle", 42)'),
    "no-hook": "def rigatoni_serializers(): return []",
    "escape\x1b[31m": FINE,
    "colours": "raise RuntimeError('\x1b[31mred\\nlines')",
    "recursion": "def again(): again()\nagain()",
    "summary-is-no-text": HOOK.format(body='yield Component("odd", lambda: Fine, summary=b"bytes")'),
    "name-is-no-text": HOOK.format(body="yield Component(None, lambda: Fine)"),
    "async-hook": HOOK.format(body="yield Component('x', lambda: Fine)").replace("def rigatoni", "async def rigatoni"),
    "not-even-an-exception": "raise GeneratorExit",
    "no-syntax": "def (",
    "error-without-words": "class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute",
    "too-new": FINE,
}


def install(folder, name, code, requires="rigatoni-core"):
    """A distribution as pip leaves it behind, made by hand."""
    module = "hostile_" + re.sub(r"\W", "_", name)
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\nRequires-Dist: {requires}\n")
    (info / "entry_points.txt").write_text(f"[rigatoni]\n{name} = {module}\n")


def rigatoni(folder, *arguments, **variables):
    return subprocess.run(
        [sys.executable, "-m", "rigatoni_core.cli", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), *sys.path)), **variables},
    )


@pytest.fixture
def hostile(tmp_path):
    for name, code in HOSTILE.items():
        install(tmp_path, name, code, "rigatoni-core>=99" if name == "too-new" else "rigatoni-core")
    install(tmp_path, "good", FINE)
    install(tmp_path, "noisy", "print('noise on stdout')\n" + FINE.replace('"fine"', '"noisy"'))
    install(tmp_path, "slow", "import time; time.sleep(0.5)\n" + FINE.replace('"fine"', '"slow"'))
    install(tmp_path, "patching", "import sys\nsys.stdout = None\n" + FINE.replace('"fine"', '"patching"'))
    install(tmp_path, "moving", "import os\nos.chdir('/')\n" + FINE.replace('"fine"', '"moving"'))
    return tmp_path


USABLE = {"good", "noisy", "slow", "patching", "moving", "builtin"}


def test_K6_hostile_plugins_are_listed_with_reason_and_remedy_and_affect_no_other(hostile):
    answer = rigatoni(hostile, "plugins", "list", "--json")
    assert answer.returncode == 0
    plugins = {plugin["plugin"]: plugin for plugin in json.loads(answer.stdout)}
    assert len(HOSTILE) > 20
    assert len(set(HOSTILE) | USABLE) <= len(plugins)
    assert "\x1b" not in answer.stdout + answer.stderr
    for name in HOSTILE:
        name = name.replace("\x1b", "\N{REPLACEMENT CHARACTER}")
        assert plugins[name]["status"] == ("incompatible" if name == "too-new" else "broken"), plugins[name]
        assert plugins[name]["reason"]
        assert plugins[name]["remedy"]
        assert plugins[name]["provides"] == []
    assert "no luck today" in plugins["raises-at-import"]["reason"]
    assert "halfway" in plugins["hook-raises"]["reason"]
    assert [plugins[name]["reason"] for name in USABLE if plugins[name]["status"] != "ok"] == []
    assert "noise on stdout" in answer.stderr


def test_K6_a_broken_plugin_is_named_where_its_component_is_wanted(tmp_path):
    install(tmp_path, "acme", "import a_module_that_nobody_has")
    answer = rigatoni(tmp_path, "plugins", "show", "acme")
    assert answer.returncode == 2
    assert "a_module_that_nobody_has" in answer.stderr
    assert "pip install --force-reinstall hostile_acme" in answer.stderr


def test_K6_entry_points_that_can_not_be_read_concern_their_distribution_alone(tmp_path):
    install(tmp_path, "garbled", FINE)
    (tmp_path / "hostile_garbled-1.0.dist-info" / "entry_points.txt").write_text("[rigatoni]\nthis is no entry point\n")
    answer = rigatoni(tmp_path, "plugins", "list", "--json")
    plugins = {plugin["distribution"]: plugin for plugin in json.loads(answer.stdout)}
    assert plugins["hostile_garbled"]["status"] == "broken"
    assert plugins["rigatoni-core"]["status"] == "ok"


def test_K6_a_class_without_a_required_method_is_an_error_when_it_is_used(tmp_path):
    install(
        tmp_path,
        "lazy",
        HOOK.format(body='yield Component("lazy", lambda: Lazy)').replace(
            "@hookimpl", "@attrs.define\nclass Lazy(Serializer):\n    accepts = media_type = 'x'\n@hookimpl"
        ),
    )
    answer = rigatoni(tmp_path, "plugins", "show", "lazy")
    assert answer.returncode == 2
    assert "Lazy does not implement serialize" in answer.stderr


def test_K6_a_clash_is_an_error_only_where_the_bare_name_is_used(tmp_path):
    install(tmp_path, "one", FINE)
    install(tmp_path, "two", FINE)
    assert rigatoni(tmp_path, "plugins", "list").returncode == 0
    answer = rigatoni(tmp_path, "plugins", "show", "fine")
    assert answer.returncode == 2
    assert "one/fine" in answer.stderr
    assert "two/fine" in answer.stderr
    assert rigatoni(tmp_path, "plugins", "show", "two/fine").returncode == 0


def test_K6_a_class_of_the_wrong_kind_is_an_error_when_it_is_used(tmp_path):
    install(tmp_path, "wrong", HOOK.format(body='yield Component("wrong", lambda: dict)'))
    answer = rigatoni(tmp_path, "plugins", "show", "wrong")
    assert answer.returncode == 2
    assert "Serializer" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_unknown_name_says_what_is_installed_and_which_name_is_near():
    answer = rigatoni("", "plugins", "show", "memry")
    assert answer.returncode == 2
    assert 'did you mean "memory"?' in answer.stderr
    assert "pip install" not in answer.stderr
    assert "Traceback" not in answer.stderr


def test_K6_check_loads_what_can_be_loaded_and_exits_with_2_where_something_can_not(hostile):
    install(hostile, "wrong", HOOK.format(body='yield Component("wrong", lambda: dict)'))
    answer = rigatoni(hostile, "plugins", "check", "--json")
    assert answer.returncode == 2, answer.stderr
    results = {
        result["plugin"].replace("\N{REPLACEMENT CHARACTER}", "\x1b"): result["faults"]
        for result in json.loads(answer.stdout)
    }
    assert results["good"] == results["builtin"] == []
    assert all(fault["remedy"] for name in HOSTILE for fault in results[name])
    assert "Serializer" in results["wrong"][0]["message"]
    assert rigatoni(hostile, "plugins", "check", "good").returncode == 0
    assert "plugins list" in rigatoni(hostile, "plugins", "check", "goo").stderr


def test_json_answers_an_error_as_json_on_stdout_and_in_words_on_stderr():
    answer = rigatoni("", "plugins", "show", "memry", "--json")
    assert json.loads(answer.stdout)["error"]["id"] == "unknown-component"
    assert 'did you mean "memory"?' in answer.stderr


def test_a_denied_plugin_is_listed_and_never_imported(tmp_path):
    trace = f"open({str(tmp_path / 'trace')!r}, 'a').write(__name__ + ' ')\n"
    for name in ("one", "two", "three"):
        install(tmp_path, name, trace + FINE)
    lists = {"RIGATONI_PLUGINS_ALLOW": "hostile-one, Hostile_Two", "RIGATONI_PLUGINS_DENY": "hostile.two"}
    answer = rigatoni(tmp_path, "plugins", "list", "--json", **lists)
    plugins = {plugin["plugin"]: plugin for plugin in json.loads(answer.stdout)}
    assert {name: plugins[name]["status"] for name in ("one", "two", "three", "builtin")} == {
        "one": "ok",
        "two": "denied",
        "three": "denied",
        "builtin": "ok",
    }
    assert plugins["two"]["remedy"]
    assert (tmp_path / "trace").read_text().split() == ["hostile_one"]
    denied = {"RIGATONI_PLUGINS_DENY": "hostile_one"}
    wanted = rigatoni(tmp_path, "plugins", "show", "one", **denied)
    assert "installed but denied" in wanted.stderr
    assert rigatoni(tmp_path, "plugins", "check", "one", **denied).returncode == 0


def test_a_file_and_the_environment_restrict_which_plugins_are_imported(tmp_path):
    trace = f"open({str(tmp_path / 'trace')!r}, 'a').write(__name__ + ' ')\n"
    for name in ("one", "two", "three"):
        install(tmp_path, name, trace + FINE.replace('"fine"', f'"{name}"'))
    file = tmp_path / "pipeline.toml"
    file.write_text(
        """
        plugins = { allow = ["Hostile_One", "hostile.two"], deny = ["hostile-two"] }
        [pipeline]
        name = "p"
        [pipeline.source]
        type = "mongodb"
        [pipeline.destination]
        type = "stdout"
        serializer = { type = "three" }
        [pipeline.state]
        type = "memory"
        """
    )
    listed = json.loads(rigatoni(tmp_path, "plugins", "list", "--file", str(file), "--json").stdout)
    status = {plugin["plugin"]: plugin["status"] for plugin in listed}
    assert (status["one"], status["two"], status["three"], status["builtin"]) == ("ok", "denied", "denied", "ok")
    narrowed = rigatoni(
        tmp_path, "plugins", "list", "--file", str(file), "--json", RIGATONI_PLUGINS_ALLOW="hostile-three"
    )
    assert {plugin["status"] for plugin in json.loads(narrowed.stdout) if plugin["plugin"] != "builtin"} == {"denied"}
    answer = rigatoni(tmp_path, "validate", "--offline", str(file))
    assert answer.returncode == 2
    assert "is installed but denied" in answer.stderr
    assert set((tmp_path / "trace").read_text().split()) == {"hostile_one"}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("plugins = 1", "plugins: must be a table"),
        ('plugins = { allow = "rigatoni-s3" }', "plugins.allow: must be a list"),
        ("plugins = { deny = [1] }", "plugins.deny: must be a list"),
        ("plugins = { alow = [] }", 'did you mean "allow"'),
    ],
)
def test_K1_a_wrong_list_of_plugins_is_a_fault_of_the_file(tmp_path, table, said):
    (tmp_path / "pipeline.toml").write_text(table)
    answer = rigatoni(tmp_path, "validate", "--offline", str(tmp_path / "pipeline.toml"))
    assert answer.returncode == 2
    assert said in answer.stderr


def test_check_names_heavy_imports_and_undocumented_options(tmp_path):
    option = FINE.replace("class Fine(Serializer):", "class Fine(Serializer):\n    depth: int = 1")
    install(tmp_path, "heavy", "import click\n" + option)
    answer = rigatoni(tmp_path, "plugins", "check", "heavy", "--json")
    assert answer.returncode == 2
    messages = [fault["message"] for fault in json.loads(answer.stdout)[0]["faults"]]
    assert any("importing hostile_heavy also imports click" in message for message in messages), messages
    assert any("the option depth of serializer fine has no help text" in message for message in messages), messages
