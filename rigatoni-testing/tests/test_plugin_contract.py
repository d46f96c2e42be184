"""The contract of plugins finds imports of what is private in core."""

import importlib
import sys

import pytest
from rigatoni_testing.contracts import PluginContract


@pytest.fixture
def imports_of(tmp_path, monkeypatch):
    """Check a plugin whose package holds these lines."""

    def check(lines, group):
        package, metadata = tmp_path / "rigatoni_odd", tmp_path / "rigatoni_odd-1.0.dist-info"
        package.mkdir()
        metadata.mkdir()
        (package / "__init__.py").write_text("")
        (package / "deep").mkdir()
        (package / "deep" / "module.py").write_text(lines)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: rigatoni-odd\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[{group}]\nodd = rigatoni_odd.plugin\n")
        monkeypatch.syspath_prepend(tmp_path)
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, "rigatoni_odd", raising=False)
        contract = type("Contract", (PluginContract,), {"distribution": "rigatoni-odd"})
        contract().test_it_imports_nothing_private_of_core()

    return check


@pytest.mark.parametrize(
    "lines",
    [
        "from rigatoni_core.api import errors",
        "from rigatoni_core.api.contracts import Source",
        "from rigatoni_core.observe.statistics import Statistics",
        "import rigatoni_core.api.events",
        "import rigatoni_corelike",
    ],
)
def test_a_plugin_may_import_the_api(lines, imports_of):
    imports_of(lines, "rigatoni")


@pytest.mark.parametrize(
    "lines",
    [
        "from rigatoni_core.engine.worker import Worker",
        "from rigatoni_core import engine",
        "import rigatoni_core.engine.worker",
        "import rigatoni_core",
        "from rigatoni_core.config import load",
        "from rigatoni_core.api import _first_party",
        "from rigatoni_core.api.components import _hints",
        "from rigatoni_core.apis import it",
        "def late():\n    from rigatoni_core.cli.output import say",
        "if TYPE_CHECKING:\n    from rigatoni_core.plugins.catalog import Catalog",
    ],
)
def test_a_plugin_may_import_nothing_else_of_core(lines, imports_of):
    with pytest.raises(AssertionError, match=r"module\.py: rigatoni_core"):
        imports_of(lines, "rigatoni")


def test_a_command_may_also_import_what_the_configuration_exports(imports_of):
    imports_of("from rigatoni_core.config import load, options_of", "rigatoni.commands")


def test_a_command_may_not_import_the_modules_of_the_configuration(imports_of):
    with pytest.raises(AssertionError, match=r"rigatoni_core\.config\.file\.load"):
        imports_of("from rigatoni_core.config.file import load", "rigatoni.commands")
