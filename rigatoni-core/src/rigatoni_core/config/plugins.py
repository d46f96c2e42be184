"""The table `[plugins]`: the installed distributions that the command may import."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from rigatoni_core.config.documents import Document, documents
from rigatoni_core.config.faults import Fault, KeyPath, nearest
from rigatoni_core.plugins.commands import canonical

KEYS = ("allow", "deny")


def _canonical(names: Iterable[str]) -> frozenset[str]:
    return frozenset(map(canonical, names))


@attrs.frozen
class PluginLists:
    """Names of distributions: if `allow` is set, only those are imported, and never those in `deny`."""

    allow: frozenset[str] | None = attrs.field(default=None, converter=attrs.converters.optional(_canonical))
    deny: frozenset[str] = attrs.field(default=(), converter=_canonical)

    def __and__(self, other: "PluginLists") -> "PluginLists":
        """Return the lists that allow what both allow."""
        allowed = [each.allow for each in (self, other) if each.allow is not None]
        return PluginLists(frozenset.intersection(*allowed) if allowed else None, self.deny | other.deny)


def plugin_lists(path: Path) -> PluginLists:
    """Return the lists of a file, or of all files of a folder combined; `load` reports their errors.

    Raises `ConfigurationError` if there is none, or if one cannot be read or is not TOML.
    """
    lists = PluginLists()
    for document in documents(path):
        table = document.content.get("plugins")
        if not list(faults_of(document)) and table:
            lists &= PluginLists(table.get("allow"), table.get("deny", ()))
    return lists


def faults_of(document: Document) -> Iterator[Fault]:
    """Yield the errors of the document's table `[plugins]`, if it has one."""
    table = document.content.get("plugins", {})
    if not isinstance(table, dict):
        yield _fault(document, ("plugins",), "must be a table with the lists allow, deny or both")
        return
    for key, value in table.items():
        if key not in KEYS:
            yield _fault(
                document, ("plugins", key), f"unknown key{nearest(key, KEYS) or '; the keys are allow and deny'}"
            )
        elif not _is_names(value):
            message = 'must be a list of distributions, such as ["rigatoni-mongodb", "rigatoni-s3"]'
            yield _fault(document, ("plugins", key), message)


def _is_names(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(each, str) for each in value)


def _fault(document: Document, path: KeyPath, message: str) -> Fault:
    return Fault(path, message, document.line(path, ()), document.path)
