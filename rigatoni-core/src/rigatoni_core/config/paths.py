"""Relative paths: those in a file start at its folder, those from `--set` at the working directory."""

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from rigatoni_core.api.components import fields_of, key_of
from rigatoni_core.api.options import Secret
from rigatoni_core.config.faults import KeyPath, Refused


def folder_of(file: Path) -> Path:
    """Return where a file's relative paths start; for a pipe, which lies in no folder, the working directory."""
    absolute = file.absolute()  # not `resolve`: the folder of a link counts, not that of its target
    return absolute.parent if file.is_file() else Path.cwd()


@attrs.frozen
class PathBase:
    """Where relative paths start."""

    folder: Path = attrs.field(factory=Path.cwd)

    def resolve(self, text: str) -> Path:
        """Return the absolute path; a leading `~` is the home folder.

        Raises:
            Refused: It is not a path; or it does not exist, and a path with its name does in the working directory.
        """
        if not text or "\0" in text:
            raise Refused("must be a path, not an empty text" if not text else "must not contain a NUL character")
        try:
            path = Path(text).expanduser()
        except RuntimeError as error:
            raise Refused(str(error)) from None
        full, former = self.folder / path, Path.cwd() / path
        if former != full and _is_used(former) and not os.path.lexists(full):
            raise Refused(_moving(former, full))
        return full


def paths_of(component: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Path]]:
    """Yield every path among the options of a component and of the components in it, with its key path."""
    if isinstance(component, Path):
        yield path, component
    elif isinstance(component, Mapping):
        for key, item in component.items():
            yield from paths_of(item, (*path, key))
    elif isinstance(component, (tuple, list)):
        for index, item in enumerate(component):
            yield from paths_of(item, (*path, index))
    elif attrs.has(type(component)) and not isinstance(component, Secret):
        for field in fields_of(type(component)):
            yield from paths_of(getattr(component, field.name), (*path, key_of(field)))


def _is_used(path: Path) -> bool:
    """Return whether the path holds data; an empty folder does not."""
    try:
        return any(path.iterdir())
    except OSError:  # not a folder, or one that this user may not list
        return os.path.lexists(path)


def _moving(former: Path, full: Path) -> str:
    """Return a message that data lies below the working directory, and how to move it if it is this pipeline's."""
    move = f"mv {shlex.quote(str(former))} {shlex.quote(str(full))}"
    if not full.parent.is_dir():
        move = f"mkdir -p {shlex.quote(str(full.parent))} && {move}"
    return (
        f"a relative path starts at the file's folder, so this is {full}, which does not exist; but {former} exists in "
        f"the working directory. If it belongs to this pipeline, move it ({move}); if not, create {full} "
        "first, or use an absolute path"
    )
