"""Tests each plugin with the oldest and the newest core that it allows, from wheels (`nox -s compatibility`).

A released core is built from its tag, the present one from the clone. The tests are those of the plugin's contract:
`tests/test_contract.py`.
"""

import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from releasing.checks import git
from releasing.environments import Environment, clone_without_sources, run, wheels_of

ROOT = Path(__file__).parent.parent
CORE = "rigatoni-core"


def main() -> int:
    with tempfile.TemporaryDirectory() as place:
        wheels = wheels_of(ROOT, Path(place) / "wheels")
        for project in sorted(ROOT.glob("rigatoni-*/pyproject.toml")):
            plugin = project.parent.name
            contract = project.parent / "tests" / "test_contract.py"
            if plugin == CORE or not contract.exists():
                continue
            allowed = _allowed(project)
            for version in sorted({allowed[0], allowed[-1]}):
                core = _core(version, Path(place), wheels)
                _try(plugin, core, wheels, Path(place) / f"{plugin}-{version}")
                print(f"{plugin}: its contract holds with {CORE} {version}", flush=True)
    return 0


def versions() -> dict[Version, str]:
    """Return the versions of core with their tags. That of the present version is empty."""
    present = tomllib.loads((ROOT / CORE / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    tags = git(ROOT, "tag", "--list", f"{CORE}-v*").split()
    return {Version(tag.removeprefix(f"{CORE}-v")): tag for tag in tags} | {Version(present): ""}


def _allowed(project: Path) -> list[Version]:
    """Return the versions of core that the project allows, oldest first. Raises ValueError if there is none."""
    dependencies = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    wanted = next((each for each in map(Requirement, dependencies) if each.name == CORE), Requirement(CORE))
    found = sorted(version for version in versions() if version in wanted.specifier)
    if not found:
        raise ValueError(f"{project.parent.name} allows no version of core that there is: {wanted}")
    return found


def _core(version: Version, place: Path, wheels: Path) -> Path:
    """Return core's wheel of this version."""
    if not (tag := versions()[version]):
        return next(wheels.glob("rigatoni_core-*.whl"))
    clone, built = place / tag, place / f"{tag}-wheel"
    if not built.exists():
        subprocess.run(["git", "clone", "-q", "--branch", tag, ROOT, clone], check=True)
        run(sys.executable, "-m", "build", "--quiet", "--wheel", "--outdir", built, clone / CORE)
    return next(built.glob("*.whl"))


def _try(plugin: str, core: Path, wheels: Path, place: Path) -> None:
    environment = Environment(place / "venv")
    (wheel,) = wheels.glob(f"{plugin.replace('-', '_')}-*.whl")
    others = place / "wheels"
    shutil.copytree(wheels, others, ignore=shutil.ignore_patterns("rigatoni_core-*", wheel.name))
    shutil.copy(core, others)
    environment.install_for_tests(wheel, others)
    clone = clone_without_sources(ROOT, place / "clone")
    environment.run("python", "-m", "pytest", "-q", f"{plugin}/tests/test_contract.py", cwd=clone)


if __name__ == "__main__":
    sys.exit(main())
