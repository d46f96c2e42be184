"""All distributions are alike: the same metadata, the same licence, the same modules in every plugin."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NATIVE = "rigatoni-native"  # in Rust: another build backend
NAMES = sorted(path.parent.name for path in ROOT.glob("rigatoni-*/pyproject.toml"))
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
COMMON = {
    "readme": "README.md",
    "license": "Apache-2.0",
    "license-files": ["LICENSE"],
    "requires-python": f">={PYTHONS[0]}",
}
CLASSIFIERS = [
    "Development Status :: 4 - Beta",
    "Intended Audience :: Developers",
    "Intended Audience :: System Administrators",
    "Programming Language :: Python :: 3 :: Only",
    *(f"Programming Language :: Python :: {python}" for python in PYTHONS),
    "Topic :: Database",
    "Typing :: Typed",
]
KEYWORDS = ["mongodb", "change-data-capture"]
MODULES = {
    "rigatoni_sources": "source",
    "rigatoni_destinations": "destination",
    "rigatoni_states": "store",
    "rigatoni_serializers": "serializer",
    "rigatoni_listeners": "listener",
    "rigatoni_transforms": "transform",
}
"""The module that holds the component, by the hook with which a plugin registers it."""


def project_of(name):
    return tomllib.loads((ROOT / name / "pyproject.toml").read_text(encoding="utf-8"))


PLUGINS = [name for name in NAMES if "rigatoni" in project_of(name)["project"].get("entry-points", {})]
PLUGINS.remove("rigatoni-core")  # its `builtin` provides two kinds, one module each


def package_of(name):
    return ROOT / name / "src" / name.replace("-", "_")


@pytest.mark.parametrize("name", NAMES)
def test_the_metadata_that_all_share_is_the_same(name):
    project = project_of(name)["project"]
    assert {key: project.get(key) for key in COMMON} == COMMON
    rust = ["Programming Language :: Rust"] if name == NATIVE else []
    assert sorted(project["classifiers"]) == sorted([*CLASSIFIERS, *rust])
    assert project["keywords"][:2] == KEYWORDS
    assert len(project["keywords"]) > len(KEYWORDS), "say what this distribution is about"
    assert 20 < len(project["description"]) < 100
    assert not project["description"].endswith(".")
    assert (ROOT / name / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("name", [name for name in NAMES if name != NATIVE])
def test_all_distributions_are_built_in_the_same_way(name):
    whole = project_of(name)
    assert whole["build-system"] == {"requires": ["hatchling>=1.27"], "build-backend": "hatchling.build"}
    assert whole["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [f"src/{name.replace('-', '_')}"]


def required():
    """What all distributions require, with their extras."""
    projects = [project_of(name)["project"] for name in NAMES]
    extras = [extra for project in projects for extra in project.get("optional-dependencies", {}).values()]
    return [each for group in (*(project["dependencies"] for project in projects), *extras) for each in group]


def test_core_has_an_extra_for_every_distribution_that_is_no_library():
    extras = project_of("rigatoni-core")["project"]["optional-dependencies"]
    single = {extra: each for extra, each in extras.items() if extra not in {"start", "testing"}}
    libraries = {f"rigatoni-{name}" for name in ("arrow", "bson", "core", "objects", "tables", "testing")}
    assert sorted(single.values()) == [[f"{name}>=0.1,<0.2"] for name in NAMES if name not in libraries]
    for extra, (requirement,) in single.items():
        assert requirement.startswith(f"rigatoni-{extra}")
    table = (ROOT / "docs" / "distributions.md").read_text(encoding="utf-8").partition("## Installation")[2]
    assert {*single, "start"} <= set(re.findall(r"`(\w+)`", table))
    (start,) = extras["start"]
    assert set(re.findall(r"\w+", start.partition("[")[2])) <= set(single)


def test_all_distributions_allow_the_same_releases_of_pymongo():
    """`nox -s pymongo` tests with the oldest and the newest."""
    assert {each for each in required() if each.startswith("pymongo")} == {"pymongo>=4.13,<5"}


def test_distributions_that_another_requires_are_taken_from_the_workspace():
    """Without this entry an installer does not build the distribution that requires it."""
    siblings = {re.match(r"[a-z0-9-]+", each)[0] for each in required() if each.startswith("rigatoni-")}
    workspace = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]["sources"]
    assert siblings <= set(workspace)


@pytest.mark.parametrize("name", PLUGINS)
def test_every_plugin_has_its_component_in_the_module_of_its_kind(name):
    package = package_of(name)
    (entry,) = project_of(name)["project"]["entry-points"]["rigatoni"].items()
    assert entry == (name.removeprefix("rigatoni-"), f"{package.name}.plugin")
    hooks = {node.name for node in ast.parse((package / "plugin.py").read_text()).body if hasattr(node, "name")}
    kinds = {module for hook, module in MODULES.items() if hook in hooks}
    assert kinds, "plugin.py registers nothing"
    assert kinds <= {path.stem for path in package.glob("*.py")}


@pytest.mark.parametrize("name", [*PLUGINS, "plugin-template"])
def test_every_plugin_defines_its_errors_in_errors_py(name):
    (package,) = (ROOT / name / "src").iterdir()
    public = re.compile(r"^class [A-Z]\w*\((\w+, )*\w*(Error|Transient)\b.*\):$", re.MULTILINE)
    defining = {path.name for path in package.rglob("*.py") if public.search(path.read_text(encoding="utf-8"))}
    assert defining <= {"errors.py"}


@pytest.mark.parametrize("name", NAMES)
def test_every_distribution_has_the_files_of_one(name):
    files = {path.name for path in (ROOT / name).iterdir()}
    assert files >= {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "src", "tests"}
    assert (ROOT / name / "README.md").read_text(encoding="utf-8").startswith(f"# {name}\n\n")


@pytest.mark.parametrize("name", NAMES)
def test_every_readme_has_the_same_sections_in_the_same_order(name):
    text = (ROOT / name / "README.md").read_text(encoding="utf-8")
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    sections = re.findall(r"^## (.+)$", outside, re.MULTILINE)
    errors = package_of(name) / "errors.py"
    last = ["Errors", "Development"] if errors.is_file() else ["Development"]
    assert sections[:2] == ["Install", "Configuration" if name in PLUGINS else "Usage"]
    assert sections[-len(last) :] == last
    assert ("<!-- generated: errors -->" in text) == errors.is_file()
    assert f"pip install {name}" in text or f'pip install "{name}[' in text
    assert "(CHANGELOG.md)" in text
    kinds = {path.stem for path in package_of(name).glob("*.py")} if name in PLUGINS else set()
    if kinds & {"destination", "store"}:
        assert "Guarantee and conditions" in sections
