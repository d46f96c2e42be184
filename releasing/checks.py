"""Checks before a release."""

import re
import subprocess
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path


def tag_of(name: str, version: str) -> str:
    return f"{name}-v{version}"


def faults_of(root: Path, name: str, version: str, *, tagged: bool = False) -> Iterator[str]:
    """Return the reasons why this version of the distribution cannot be released from this clone."""
    project = root / name / "pyproject.toml"
    if not project.exists():
        names = ", ".join(sorted(path.parent.name for path in root.glob("rigatoni-*/pyproject.toml")))
        yield f"there is no distribution {name}; there are {names}"
        return
    written = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]
    if written != version:
        yield f"{name}/pyproject.toml says version {written}, not {version}"
    changelog = (root / name / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE):
        yield f"{name}/CHANGELOG.md has no section: ## [{version}] - YYYY-MM-DD"
    if not re.search(r"^## \[Unreleased\]$", changelog, re.MULTILINE):
        yield f"{name}/CHANGELOG.md has no section: ## [Unreleased]"
    if git(root, "status", "--porcelain"):
        yield "the working tree has changes that are not committed"
    if (branch := git(root, "rev-parse", "--abbrev-ref", "HEAD")) not in ("main", "HEAD"):
        yield f"releases are made from main, not from {branch}"
    if bool(git(root, "tag", "--list", tag_of(name, version))) != tagged:
        yield f"the tag {tag_of(name, version)} is {'not there' if tagged else 'there already'}"


def faults_of_files(built: Path, name: str) -> Iterator[str]:
    """Return the faults of the wheel and the source distribution in a folder."""
    package = name.replace("-", "_")
    (wheel,), (source,) = list(built.glob("*.whl")), list(built.glob("*.tar.gz"))
    with zipfile.ZipFile(wheel) as archive:
        inside = archive.namelist()
    if f"{package}/py.typed" not in inside:
        yield f"{wheel.name} lacks {package}/py.typed: type checkers would ignore its types"
    if not any(path.endswith(".dist-info/licenses/LICENSE") for path in inside):
        yield f"{wheel.name} lacks the text of its licence"
    strangers = [path for path in inside if not path.startswith((f"{package}/", f"{package}-"))]
    if strangers:
        yield f"{wheel.name} would put {strangers[0]} beside its package"
    with tarfile.open(source) as archive:
        names = {path.partition("/")[2] for path in archive.getnames()}
    for wanted in ("README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml"):
        if wanted not in names:
            yield f"{source.name} lacks {wanted}"


def git(root: Path, *arguments: str) -> str:
    """Return the output of git. Raises CalledProcessError."""
    return subprocess.run(["git", "-C", root, *arguments], check=True, capture_output=True, text=True).stdout.strip()
