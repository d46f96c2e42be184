"""Contract tests for installed plugins."""

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import ClassVar

import pytest
from rigatoni_core import config
from rigatoni_core.api.components import GROUP
from rigatoni_core.plugins import commands
from rigatoni_core.plugins.catalog import COMMAND, Catalog, Plugin
from rigatoni_core.plugins.plugin_checks import unsound

from rigatoni_testing.contracts.obligations import Obligations, promised

PUBLIC = ("rigatoni_core.api", "rigatoni_core.observe")
"""The packages of core that plugins may import; names with a leading underscore are private."""

FILES = {f"rigatoni_core.config.{name}" for name in config.__all__}
"""What commands may import as well, to describe or write files."""

_KIT = "rigatoni-testing"  # this distribution: it runs the engine, which is private


class PluginContract(Obligations):
    """Contract tests for a plugin. Set `distribution` to its name; its README is in a parent folder of the test."""

    distribution: ClassVar[str]

    def test_it_is_listed_loads_light_and_documents_its_options(self, request: pytest.FixtureRequest) -> None:
        catalog = Catalog.discover()
        plugins: list[Plugin] = [each for each in catalog.plugins if each.distribution == self.distribution]
        promised(plugins, f"{self.distribution} is installed and has an entry point of Rigatoni")
        readme = Path(request.path).parent.parent / "README.md"
        text = readme.read_text(encoding="utf-8") if readme.is_file() else None
        for plugin in plugins:
            wrong = [f"{fault.message}\n    {fault.remedy}" for fault in unsound(catalog, plugin, text)]
            promised(not wrong, "\n  ".join(["`rigatoni plugins check` reports no error", *wrong]))
            promised(plugin.provides, f"{plugin.name} provides a component or a command")
            for provided in plugin.provides:
                if provided.kind != COMMAND:  # a command's summary is its help, checked above
                    promised(provided.summary, f"{provided} has a summary for `rigatoni plugins list`")

    def test_it_imports_nothing_private_of_core(self) -> None:
        if self.distribution == _KIT:
            return
        groups = {entry.group for entry in metadata.distribution(self.distribution).entry_points}
        public = FILES if commands.GROUP in groups else set()
        private = [
            f"{path.name}: {name}"
            for path in _modules_of(self.distribution)
            for name in _imports_of_core(path)
            if name not in public and not _is_public(name)
        ]
        promised(not private, "\n  ".join([f"it imports only {' and '.join(PUBLIC)} of core, not:", *private]))


def _modules_of(distribution: str) -> Iterator[Path]:
    """Yield the files of the packages that the distribution's entry points name."""
    entries = metadata.distribution(distribution).entry_points
    for package in {entry.module.partition(".")[0] for entry in entries if entry.group in (GROUP, commands.GROUP)}:
        yield from sorted(Path(inspect.getfile(import_module(package))).parent.rglob("*.py"))


def _imports_of_core(path: Path) -> Iterator[str]:
    """Yield what a file imports of core anywhere in it, also only for types: modules, and names in modules."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] == "rigatoni_core")


def _is_public(name: str) -> bool:
    return f"{name}.".startswith(tuple(f"{package}." for package in PUBLIC)) and "._" not in name
