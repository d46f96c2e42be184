"""What stands against a release is said, all at once; and what a distribution imports it also requires."""

import ast
import io
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from releasing.checks import faults_of, faults_of_files, tag_of  # noqa: E402
from releasing.compatibility import CORE, versions  # noqa: E402

DISTRIBUTIONS = sorted(path.parent.name for path in ROOT.glob("rigatoni-*/pyproject.toml"))


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", *identity, "-C", folder, *arguments], check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path):
    """A clone with one distribution that is ready."""
    folder = tmp_path / "rigatoni-acme"
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[project]\nname = "rigatoni-acme"\nversion = "1.2.0"\n')
    (folder / "CHANGELOG.md").write_text(
        "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-11-25\n\n### Added\n- It.\n"
    )
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path)
    return tmp_path


def commit(folder):
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "x")


def test_a_distribution_that_is_ready_has_no_fault(clone):
    assert list(faults_of(clone, "rigatoni-acme", "1.2.0")) == []
    git(clone, "tag", tag_of("rigatoni-acme", "1.2.0"))
    assert list(faults_of(clone, "rigatoni-acme", "1.2.0")) == ["the tag rigatoni-acme-v1.2.0 is there already"]
    assert list(faults_of(clone, "rigatoni-acme", "1.2.0", tagged=True)) == []


def test_everything_that_stands_against_a_release_is_said_at_once(clone):
    git(clone, "checkout", "-q", "-b", "feature")
    (clone / "rigatoni-acme" / "CHANGELOG.md").write_text("# Changelog\n")
    faults = "\n".join(faults_of(clone, "rigatoni-acme", "1.3.0"))
    for said in ("says version 1.2.0, not 1.3.0", "[1.3.0] - YYYY", "[Unreleased]", "not committed", "from feature"):
        assert said in faults
    assert list(faults_of(clone, "rigatoni-amce", "1.2.0")) == [
        "there is no distribution rigatoni-amce; there are rigatoni-acme"
    ]


def files(folder, inside, source=("README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml")):
    with zipfile.ZipFile(folder / "rigatoni_acme-1.2.0-py3-none-any.whl", "w") as archive:
        for name in inside:
            archive.writestr(name, "")
    with tarfile.open(folder / "rigatoni_acme-1.2.0.tar.gz", "w:gz") as archive:
        for name in source:
            archive.addfile(tarfile.TarInfo(f"rigatoni_acme-1.2.0/{name}"), io.BytesIO())
    return list(faults_of_files(folder, "rigatoni-acme"))


def test_what_was_built_is_looked_into(tmp_path):
    info = "rigatoni_acme-1.2.0.dist-info"
    good = ["rigatoni_acme/__init__.py", "rigatoni_acme/py.typed", f"{info}/METADATA", f"{info}/licenses/LICENSE"]
    assert files(tmp_path, good) == []
    assert "py.typed" in files(tmp_path, good[:1])[0]
    assert "licence" in files(tmp_path, good[:3])[0]
    assert "tests/test_it.py" in files(tmp_path, [*good, "tests/test_it.py"])[0]
    assert "CHANGELOG.md" in files(tmp_path, good, ["README.md", "LICENSE", "pyproject.toml"])[0]


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_every_distribution_has_a_section_of_its_version(name):
    version = tomllib.loads((ROOT / name / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / name / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[:2] == ["Unreleased", version]
    assert list((ROOT / name / "src").glob("*/py.typed"))


def test_the_present_core_is_one_that_plugins_are_tried_with():
    assert "" in versions().values()
    assert str(max(versions())) == tomllib.loads((ROOT / CORE / "pyproject.toml").read_text())["project"]["version"]


OF_PACKAGE = metadata.packages_distributions()
TOGETHER = {"botocore": {"boto3"}, "attrs": {"rigatoni-core"}}
"""Packages that are part of another's promise: boto3 hands out botocore's errors, components are attrs classes."""
OPTIONAL = {"rigatoni_native": "rigatoni-bson"}
"""Packages that are used when they are there, and by whom."""


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_what_is_imported_is_required_and_nothing_else(name):
    project = tomllib.loads((ROOT / name / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {})
    required = {canonical(Requirement(each).name) for each in project["dependencies"]}
    optional = {canonical(Requirement(each).name) for extra in extras.values() for each in extra}
    imported = set()
    own = name.replace("-", "_")
    for path in (ROOT / name / "src").rglob("*.py"):
        testing = "testing" in path.parts or path.stem == "testing"
        for package in imports(path) - set(sys.stdlib_module_names) - {own, "_typeshed"}:
            if OPTIONAL.get(package) == name:
                continue
            providers = {canonical(each) for each in OF_PACKAGE.get(package, [])} | TOGETHER.get(package, set())
            if package.startswith("rigatoni_"):  # an editable one does not say what it provides
                providers = {canonical(package)}
            assert providers, f"{path}: {package} is not installed"
            assert providers & (required | (optional if testing else set())), f"{path} imports {package}"
            imported |= providers & required
    assert required - imported <= BROUGHT_ALONG.get(name, set())


BROUGHT_ALONG = {"rigatoni-testing": {"pytest-asyncio"}}  # its suites are coroutines
"""Requirements that are not imported by name, with the reason."""


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def imports(path):
    """The top-level packages that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.name)
def test_workflows_ask_for_no_more_rights_than_they_need(path):
    import yaml

    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job.get("permissions", {}) == ({"id-token": "write"} if name == "publish" else {})
        for step in job["steps"]:
            assert "uses" not in step or "@" in step["uses"]
            # what others may choose, such as a branch's name, reaches a script only through the environment
            assert "${{" not in step.get("run", "") or not re.search(r"\${{ *github", step["run"])
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_the_workflow_tries_every_python_that_is_promised():
    import yaml

    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    pythons = workflow["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert pythons == ["3.11", "3.12", "3.13", "3.14"]
    for name in DISTRIBUTIONS:
        project = tomllib.loads((ROOT / name / "pyproject.toml").read_text())["project"]
        assert project["requires-python"] == f">={pythons[0]}"
