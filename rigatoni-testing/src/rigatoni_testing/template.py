"""A new plugin: the live distribution `plugin-template` with one word replaced, and one kind of component kept."""

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import attrs
from rigatoni_core.api.components import Kind

NAME = re.compile(r"rigatoni-[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MODULES = {"state": "store"}
"""The module of a kind, where it is not named like the kind."""
_TEXTS = {".py", ".toml", ".md", ".typed"}
_CODE_BLOCK = re.compile(r"^# --- ([\w ]+)\n", re.MULTILINE)
_PAGE_BLOCK = re.compile(r"^(?=## (\w+)\n)", re.MULTILINE)


def folder() -> Path:
    """Return where the template is: inside the installed package, or next to the distribution in a clone."""
    package = Path(__file__).parent
    installed = package / "plugin_template"
    return installed if installed.is_dir() else package.parents[2] / "plugin-template"


def kind_of(name: str) -> Kind | None:
    """Return the kind of component with this name; None if there is none."""
    return next((kind for kind in NewPlugin.KINDS if kind == name), None)


@attrs.frozen
class NewPlugin:
    """A distribution by its name, such as `rigatoni-acme`, and the kind of component that it provides."""

    KINDS: ClassVar[tuple[Kind, ...]] = typing.get_args(Kind)

    distribution: str
    kind: Kind

    @property
    def component(self) -> str:
        """What `type = "..."` will say, by the project's naming rule: `rigatoni-acme-state` provides `acme`."""
        name = self.distribution.removeprefix("rigatoni-")
        return name.removesuffix("-state") if self.kind == "state" else name

    def files(self) -> Iterator[tuple[Path, str]]:
        """The path of each file in the new distribution, and its text."""
        template = folder()
        others = {_MODULES.get(kind, kind) for kind in self.KINDS if kind != self.kind}
        if self.kind == "command":
            others.add("plugin")  # the module with the hooks
        for path in sorted(template.rglob("*")):
            name = path.relative_to(template)
            if any(part.startswith(".") for part in name.parts) or path.suffix not in _TEXTS or not path.is_file():
                continue  # what tools leave behind
            if path.stem.removeprefix("test_") not in others:
                text = self._mine(path, path.read_text(encoding="utf-8"))
                yield Path(self._renamed(str(name))), self._renamed(text)

    def _mine(self, path: Path, text: str) -> str:
        """Only what is for every kind, or for this one."""
        if path.name == "CHANGELOG.md":
            return text
        begin, *blocks = (_PAGE_BLOCK if path.suffix == ".md" else _CODE_BLOCK).split(text)
        pairs = zip(blocks[::2], blocks[1::2], strict=True)
        mine = (block for kinds, block in pairs if {self.kind, "all"} & set(kinds.lower().split()))
        return f"{begin}{''.join(mine)}".rstrip("\n") + "\n"

    def _renamed(self, text: str) -> str:
        name = self.component
        words = {
            "rigatoni-template": self.distribution,
            "rigatoni_template": self.distribution.replace("-", "_"),
            "Template": "".join(part.capitalize() for part in name.split("-")),
            "template": name,
        }
        return re.sub("|".join(words), lambda match: words[match[0]], text)
