"""Contract tests for installed plugins."""

from pathlib import Path
from typing import ClassVar

import pytest
from rigatoni_core.plugins.catalog import COMMAND, Catalog, Plugin
from rigatoni_core.plugins.plugin_checks import unsound

from rigatoni_testing.contracts.obligations import Obligations, promised


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
