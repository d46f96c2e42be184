"""The plugin template travels in the wheel. In a clone it is next to this distribution, in an sdist inside of it."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PARTS = ("CHANGELOG.md", "README.md", "pyproject.toml", "src", "tests")


class TemplateHook(BuildHookInterface[Any]):
    """Puts the template where `rigatoni new-plugin` looks for it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See hatchling's build hooks."""
        root = Path(self.root)
        template = next(path for path in (root / "plugin-template", root.parent / "plugin-template") if path.is_dir())
        target = "plugin-template" if self.target_name == "sdist" else "rigatoni_testing/plugin_template"
        build_data["force_include"] |= {str(template / part): f"{target}/{part}" for part in PARTS}
