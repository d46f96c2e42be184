"""Commands of plugins, as installed distributions: listed without importing them, lazily loaded, harmless if broken."""

import json
import os
import subprocess
import sys
from importlib import metadata
from io import StringIO

import pytest
from rigatoni_core.api.errors import DestinationError
from rigatoni_core.cli import output
from rigatoni_core.cli.application import Terminal
from rigatoni_core.plugins import commands

FINE = '''
from pathlib import Path

import click
from rigatoni_core.api.commands import Application, ExitCode, pass_application, takes_file
from rigatoni_core.api.errors import DestinationError


@click.command()
@takes_file
@click.option("--fail", is_flag=True, help="Fail.")
@pass_application
def command(app: Application, file: Path, overrides: tuple[str, ...], fail: bool) -> ExitCode:
    """Names the pipelines in FILE."""
    if fail:
        raise DestinationError("it burns", remedy="Pour water.")
    for configuration in app.configurations(file, overrides):
        app.echo(configuration.name)
    return ExitCode.TIMED_OUT
'''

BROKEN = {
    "raises": "raise RuntimeError('no luck today')",
    "exits": "raise SystemExit(3)",
    "needs": "import a_module_that_nobody_has",
    "number": "command = 42",
    "nothing": "",
    "noisy": "print('noise')\nraise ValueError('after the noise')",
}

FILE = """
[pipeline]
name = "{name}"
destination = {{ type = "stdout", serializer = {{ type = "json" }} }}
state = {{ type = "memory" }}
source = {{ type = "mongodb", uri = "mongodb://localhost:1/", watch = ["shop.orders"] }}
"""


@pytest.fixture
def install(tmp_path):
    """Makes a distribution that registers one command, as pip leaves it behind."""

    def install(name, code=FINE, requires="rigatoni-core", distribution=None):
        module = f"command_{name.replace('-', '_')}"
        (tmp_path / f"{module}.py").write_text(code)
        distribution = distribution or f"acme-{name}"
        info = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        head = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\nRequires-Dist: {requires}\n"
        (info / "METADATA").write_text(head)
        (info / "entry_points.txt").write_text(f"[{commands.GROUP}]\n{name} = {module}:command\n")

    return install


@pytest.fixture
def rigatoni(tmp_path):
    def call(*arguments, **variables):
        return subprocess.run(
            [sys.executable, "-m", "rigatoni_core.cli", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), *sys.path)), **variables},
        )

    return call


def test_a_command_runs_with_the_application_and_its_exit_code_counts(install, rigatoni, tmp_path):
    install("names")
    (tmp_path / "file.toml").write_text(FILE.format(name="p"))
    called = rigatoni("names", "file.toml", "--set", "name=other")
    assert (called.stdout, called.returncode) == ("other\n", 6), called.stderr
    assert rigatoni("names", "nowhere.toml").returncode == 2
    failed = rigatoni("names", "file.toml", "--fail")
    assert failed.returncode == 3
    assert failed.stderr == "error: it burns\nwhat to do: Pour water.\n"


def test_help_names_every_command_and_those_that_are_broken(install, rigatoni):
    install("names")
    for name, code in BROKEN.items():
        install(name, code)
    shown = rigatoni("--help")
    assert shown.returncode == 0
    assert "Traceback" not in shown.stderr
    lines = {line.split()[0]: line for line in shown.stdout.splitlines() if line.strip()}
    assert "Names the pipelines in FILE." in lines["names"]
    for name in BROKEN:
        assert f"`rigatoni plugins check {name}`" in lines[name]


def test_listing_imports_no_command(install, rigatoni):
    for name, code in BROKEN.items():
        install(name, code)
    listed = rigatoni("plugins", "list", "--json")
    plugins = {plugin["plugin"]: plugin for plugin in json.loads(listed.stdout)}
    assert "noise" not in listed.stdout + listed.stderr
    for name in BROKEN:
        assert plugins[name]["status"] == "ok"
        assert [(each["kind"], each["name"]) for each in plugins[name]["provides"]] == [("command", name)]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_command_is_an_error_with_a_remedy_where_it_is_called(install, rigatoni, name):
    install(name, BROKEN[name])
    called = rigatoni(name)
    assert called.returncode == 2
    assert f'the command "{name}" of the plugin "{name}" (acme-{name} 1.0) cannot be used' in called.stderr
    assert f"acme-{name}" in called.stderr.partition("what to do: ")[2]
    assert "Traceback" not in called.stderr
    assert rigatoni("plugins", "check", name).returncode == 2


@pytest.mark.parametrize(
    ("name", "requires", "status", "reason"),
    [("names", "rigatoni-core>=99", "incompatible", ">=99"), ("run", "rigatoni-core", "broken", "cannot replace")],
)
def test_what_is_wrong_with_a_command_is_listed(install, rigatoni, name, requires, status, reason):
    install(name, requires=requires)
    listed = json.loads(rigatoni("plugins", "list", "--json").stdout)
    (plugin,) = [each for each in listed if each["distribution"] == f"acme-{name}"]
    assert plugin["status"] == status
    assert reason in plugin["reason"]
    assert plugin["remedy"]
    assert plugin["provides"] == []
    assert "Names the pipelines" not in rigatoni(name, "--help").stdout


def test_two_commands_of_one_name_are_an_error_where_they_are_called(install, rigatoni):
    install("names")
    install("names", distribution="zeta-names")
    called = rigatoni("names", "file.toml")
    assert called.returncode == 2
    assert "acme-names" in called.stderr
    assert "zeta-names" in called.stderr
    assert "Names the pipelines" in rigatoni("names", "--help", RIGATONI_PLUGINS_DENY="zeta_names").stdout


def test_a_command_that_the_environment_denies_is_never_imported(install, rigatoni):
    install("noisy", BROKEN["noisy"])
    for variables in ({"RIGATONI_PLUGINS_DENY": "Acme.noisy"}, {"RIGATONI_PLUGINS_ALLOW": "rigatoni-json"}):
        assert "noisy" not in rigatoni("--help", **variables).stdout
        called = rigatoni("noisy", **variables)
        assert called.returncode == 2
        assert "is installed but denied" in called.stderr
        assert "after the noise" not in called.stderr


def test_a_file_denies_a_command_its_pipelines(install, rigatoni, tmp_path):
    install("names")
    (tmp_path / "file.toml").write_text('[plugins]\ndeny = ["acme-names"]\n' + FILE.format(name="p"))
    called = rigatoni("names", "file.toml")
    assert called.returncode == 2
    assert "file.toml denies acme-names, which provides the command rigatoni names" in called.stderr
    assert called.stdout == ""


def test_a_command_that_is_not_installed_names_what_is_near(rigatoni):
    called = rigatoni("validat")
    assert called.returncode == 2
    assert 'did you mean "validate"?' in called.stderr


def test_check_names_what_a_command_lacks(install, rigatoni):
    install("heavy", "import click\nimport sqlite3, attrs\n@click.command()\ndef command(): pass\n")
    checked = rigatoni("plugins", "check", "heavy")
    assert checked.returncode == 2
    assert "the command heavy has no help text" in checked.stdout
    assert "the README does not mention `rigatoni heavy`" in checked.stdout
    assert "importing command_heavy also imports attr" in checked.stdout


def test_show_explains_a_command(install, rigatoni):
    install("names")
    (shown,) = json.loads(rigatoni("plugins", "show", "names", "--json").stdout)
    assert (shown["kind"], shown["summary"]) == ("command", "Names the pipelines in FILE.")
    assert "`rigatoni names --help`" in rigatoni("plugins", "show", "names").stdout


def test_the_quick_list_is_what_the_standard_library_finds(install, monkeypatch, tmp_path):
    install("names")
    install("other")
    (tmp_path / "acme_other-1.0.dist-info" / "entry_points.txt").write_text(
        f"#\n[rigatoni]\nother = x\n\n[{commands.GROUP}]\n# two\na=b:c\nother = some_module : command [x]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    standard = metadata.entry_points(group=commands.GROUP)
    assert len(standard) >= 3
    found = [(each.name, *each.value.replace(" ", "").split(":")) for each in commands.entries()]
    assert sorted(found) == sorted((each.name, each.module, each.attr) for each in standard)


def test_the_terminal_prints_results_and_the_rest_apart_and_no_secret(capsys, monkeypatch):
    monkeypatch.setattr(output, "_redactions", [])
    terminal = Terminal()
    terminal.hide(lambda text: text.replace("s3cret", "***"))
    terminal.echo("s3cret said")
    terminal.table(("name", "value"), [("a", "s3cret")])
    terminal.as_json({"key": "s3cret"})
    terminal.echo_err("s3cret complained")
    terminal.warn("s3cret warned")
    terminal.fail(DestinationError("s3cret failed", remedy="Say s3cret."), "here: ")
    with terminal.progress("s3cret steps", 2) as advance:
        advance(2)
    printed = capsys.readouterr()
    assert printed.out.splitlines() == ["*** said", "name  value", "a     ***", "{", '  "key": "***"', "}"]
    assert [line.split(": ", 1)[-1] for line in printed.err.splitlines()] == [
        "*** complained",
        "*** warned",
        "here: *** failed",
        "Say ***.",
    ]


def test_progress_is_drawn_on_a_terminal_and_results_stay_where_they_belong(monkeypatch, capsys):
    class Screen(StringIO):
        def isatty(self):
            return True

    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with Terminal().progress("Reading", 3) as advance:
        advance(3)
    Terminal().echo("a result")
    Terminal().write(b"bytes")
    assert capsys.readouterr().out == "a result\nbytes"
    assert "a result" not in screen.getvalue()
    assert "Reading" in screen.getvalue()
    assert "3/3" in screen.getvalue()
