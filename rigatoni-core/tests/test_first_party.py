"""The list of this project's components against the repository, and that no other name is suggested."""

import re
import tomllib
from pathlib import Path

import pytest
from rigatoni_core.api import _first_party as first_party
from rigatoni_core.api.components import KINDS
from rigatoni_core.api.errors import UnknownComponentError
from rigatoni_core.plugins.catalog import Catalog

ROOT = Path(__file__).parents[2]
HOOK = re.compile(r"def (rigatoni_\w+)\(.*?(?=\n@|\ndef |\Z)", re.DOTALL)


def in_the_repository():
    kinds = {hook: kind for kind, (hook, _) in KINDS.items()}
    found = {}
    for path in ROOT.glob("rigatoni-*/src/*/plugin.py"), ROOT.glob("rigatoni-core/src/*/builtin/plugin.py"):
        for module in path:
            for hook in HOOK.finditer(module.read_text()):
                for name in re.findall(r'Component\(\s*"([^"]+)"', hook[0]):
                    found[kinds[hook[1]], name] = module.relative_to(ROOT).parts[0]
    for path in ROOT.glob("rigatoni-*/pyproject.toml"):
        project = tomllib.loads(path.read_text())["project"]
        for name in project.get("entry-points", {}).get("rigatoni.commands", {}):
            found["command", name] = project["name"]
    return found


def test_the_list_is_the_repository():
    assert dict(first_party.DISTRIBUTIONS) == in_the_repository()


EMPTY = Catalog(())


@pytest.mark.parametrize(
    ("kind", "name", "suggested"),
    [
        ("state", "redis", "rigatoni-redis-state"),
        ("state", "redix", "rigatoni-redis-state"),
        ("state", "acme/redix", "rigatoni-redis-state"),
        ("serializer", "gzip", "rigatoni-compression"),
        ("serializer", "parket", "rigatoni-parquet"),
        (None, "prometeus", "rigatoni-prometheus"),
        ("command", "init", "rigatoni-ops"),
        ("command", "shema", "rigatoni-ops"),
    ],
)
def test_a_component_of_ours_names_its_distribution(kind, name, suggested):
    error = EMPTY._unknown(kind, name)
    assert error.remedy.endswith(f": pip install {suggested}")


@pytest.mark.parametrize("name", ["redix", "kinesis", "requests", "x", "../../evil", "rigatoni", "-r evil", "redis;id"])
@pytest.mark.parametrize("kind", [*KINDS, "command", None])
def test_no_other_name_is_ever_suggested_for_installation(kind, name):
    with pytest.raises(UnknownComponentError) as caught:
        EMPTY.named(name) if kind is None else EMPTY.find(kind, name)
    suggested = re.findall(r"pip install (.*)", f"{caught.value} {caught.value.remedy}")
    assert set(suggested) <= set(first_party.DISTRIBUTIONS.values())


def test_a_name_near_an_installed_component_suggests_no_installation():
    with pytest.raises(UnknownComponentError) as caught:
        Catalog.discover().find("state", "memry")
    assert 'did you mean "memory"?' in str(caught.value)
    assert "pip install" not in caught.value.remedy
