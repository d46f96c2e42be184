"""The catalog of installed plugins: what they provide, and which are broken.

The only module that discovers plugins. Each one is loaded in its own plugin manager, after its requirement on
rigatoni-core was checked. Errors are listed with the plugin and do not affect others.
"""

import contextlib
import difflib
import itertools
import re
import sys
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from importlib import import_module, metadata
from typing import Any, Literal

import attrs
import pluggy

from rigatoni_core.api import _first_party as first_party
from rigatoni_core.api import hookspecs
from rigatoni_core.api.components import KINDS, MOST_COMPONENTS, Component, Kind
from rigatoni_core.api.errors import AmbiguousComponentError, BrokenPluginError, UnknownComponentError
from rigatoni_core.api.words import printable
from rigatoni_core.plugins import commands
from rigatoni_core.plugins.commands import canonical

COMMAND: Kind = "command"
CORE = "rigatoni-core"
_NAME = re.compile(r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*")


@attrs.frozen
class Provided:
    """A component of a plugin, with its kind and its name in configurations."""

    kind: Kind
    name: str
    summary: str
    component: Component = attrs.field(repr=False)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@attrs.frozen
class Plugin:
    """An installed plugin. If its status is not "ok", it provides nothing, and `reason` and `remedy` explain why."""

    name: str
    distribution: str
    version: str
    status: Literal["ok", "broken", "incompatible", "denied"] = "ok"
    reason: str = ""
    remedy: str = ""
    provides: tuple[Provided, ...] = ()

    def __str__(self) -> str:
        return f'the plugin "{self.name}" ({self.distribution} {self.version})'


@attrs.frozen
class Catalog:
    """The installed plugins by name. Creating a catalog imports only their hooks."""

    plugins: tuple[Plugin, ...]

    @classmethod
    def discover(cls, *, allow: Collection[str] | None = None, deny: Collection[str] = ()) -> "Catalog":
        """Load the hooks of every entry point in the group `rigatoni`. Errors of plugins are listed, not raised.

        The commands of plugins (group `rigatoni.commands`) are listed by their entry points, each as a plugin of its
        own. Nothing of a command is imported before it is used.

        Nothing is imported of a distribution that is in `deny`, or not in `allow` (if given): it is listed as
        denied. Core's own components are always available.
        """
        denied = set(map(canonical, deny))
        allowed = None if allow is None else set(map(canonical, allow))

        def may(name: str) -> bool:
            return name == CORE or (name not in denied and (allowed is None or name in allowed))

        plugins = itertools.chain.from_iterable(_plugins_of(each, may) for each in _distributions())
        return cls(tuple(sorted(plugins, key=lambda plugin: (plugin.name, plugin.distribution))))

    def provided(self, kind: Kind | None = None) -> Iterator[tuple[Plugin, Provided]]:
        """Return every usable component (of one kind) with its plugin."""
        for plugin in self.plugins:
            for provided in plugin.provides:
                if kind in (None, provided.kind):
                    yield plugin, provided

    def allows(self, distribution: str) -> bool:
        """Return whether this catalog's lists allow a distribution."""
        return all(plugin.status != "denied" for plugin in self.plugins if plugin.distribution == distribution)

    def find(self, kind: Kind, name: str) -> tuple[Plugin, Provided]:
        """Find a component by its name, or by `plugin/name` if the name is ambiguous.

        Raises `UnknownComponentError` or `AmbiguousComponentError`.
        """
        qualifier, _, bare = name.rpartition("/")
        found = [
            (plugin, provided)
            for plugin, provided in self.provided(kind)
            if provided.name == bare and qualifier in ("", plugin.name, plugin.distribution)
        ]
        if not found:
            raise self._unknown(kind, name)
        if len(found) > 1:
            owners = [plugin.name for plugin, _ in found]
            if len(set(owners)) < len(owners):  # two distributions chose the same entry-point name
                owners = [plugin.distribution for plugin, _ in found]
            titles = " and by ".join(str(plugin) for plugin, _ in found)
            choices = " or ".join(f'type = "{owner}/{bare}"' for owner in owners)
            remedy = f"Choose one: {choices}."
            if kind == COMMAND:
                remedy = "Uninstall one, or deny its distribution in RIGATONI_PLUGINS_DENY."
            raise AmbiguousComponentError(f'the {kind} "{bare}" is provided by {titles}', remedy=remedy)
        return found[0]

    def get(self, kind: Kind, name: str) -> Any:
        """Import and return the class of a component: an attrs class that derives from its kind's contract.

        For a command, return the click command.

        Raises what `find` raises, and `BrokenPluginError` if the class cannot be loaded or has another kind.
        """
        plugin, provided = self.find(kind, name)
        try:
            with _contained():
                cls = provided.component.load()
                _check_command(cls) if kind == COMMAND else _check_class(kind, cls)
        except _Fault as fault:
            raise BrokenPluginError(
                f'the {kind} "{provided.name}" of {plugin} cannot be used: {fault}', remedy=_remedy(plugin, fault)
            ) from fault.__cause__
        return cls

    def named(self, name: str) -> Sequence[tuple[Plugin, Provided]]:
        """Return the components of this name, at most one of each kind. Raises like `find`."""
        found = []
        for kind in typing.get_args(Kind):
            with contextlib.suppress(UnknownComponentError):
                found.append(self.find(kind, name))
        if not found:
            raise self._unknown(None, name)
        return found

    def _unknown(self, kind: Kind | None, name: str) -> UnknownComponentError:
        """Return an error with the installed names and the nearest one and a remedy."""
        installed = sorted({provided.name for _, provided in self.provided(kind)}.union(_built_in(kind)))
        bare = name.rpartition("/")[2]
        message = f'there is no {kind or "component"} "{printable(name)}"; installed: {", ".join(installed) or "none"}'
        near = difflib.get_close_matches(bare.lower(), {*installed, *first_party.names(kind)}, n=1)
        if near and near[0] != bare:
            message += f'; did you mean "{near[0]}"?'
        other = next((provided.kind for _, provided in self.provided() if provided.name == name), None)
        faulty = [plugin for plugin in self.plugins if plugin.status != "ok"]
        own = next((plugin for plugin in faulty if {plugin.name, plugin.distribution} & set(name.split("/"))), None)
        if own:
            message += f". {own} is installed but {own.status}: {own.reason}".replace(". the", ". The")
            return UnknownComponentError(message, remedy=own.remedy)
        if other:
            remedies = [f'Use another name: "{name}" is a {other}, not a {kind}.']
        else:
            remedies = [_installing(kind, near[0] if near else "", installed)]
        if faulty:
            listed = ", ".join(plugin.name for plugin in faulty)
            remedies.append(f"(Installed but not usable, see `rigatoni plugins list`: {listed}.)")
        return UnknownComponentError(message, remedy=" ".join(remedies))


class _Fault(Exception):
    """An error of a plugin, in words; its cause is the plugin's exception, if any."""


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """Run a plugin's code: its exceptions become a `_Fault`, its output goes to stderr."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except (KeyboardInterrupt, _Fault):
        raise
    except BaseException as error:
        try:
            text = str(error)
        except Exception:
            text = ""
        raise _Fault(printable(f"{type(error).__name__}: {text}".removesuffix(": "), 500)) from error


def _remedy(plugin: Plugin, fault: _Fault) -> str:
    if isinstance(fault.__cause__, ImportError):
        return f"Install its missing dependencies: pip install --force-reinstall {plugin.distribution}"
    return f"Upgrade it (pip install --upgrade {plugin.distribution}), uninstall it, or report the error to its author."


def _built_in(kind: Kind | None) -> Sequence[str]:
    """Return the names of this kind that no hook yields."""
    return commands.BUILT_IN if kind == COMMAND else ()


def _installing(kind: Kind | None, near: str, installed: Sequence[str]) -> str:
    """Return how to install the component probably meant. Names only distributions of this project."""
    if near in installed:
        return "Correct the name, or install the plugin that provides it."
    if owner := first_party.distribution_of(kind, near):
        return f'Install "{near}": pip install {owner}'
    return "Correct the name, or install the plugin that provides it: `rigatoni plugins list` shows the installed ones."


def _distributions() -> Iterator[metadata.Distribution]:
    """Yield the distributions with entry points for Rigatoni; only the first of each name on the path."""
    seen: set[str] = set()
    for distribution in metadata.distributions():
        try:
            text = distribution.read_text("entry_points.txt") or ""
            if f"[{hookspecs.GROUP}]" not in text and f"[{commands.GROUP}]" not in text:
                continue
            name = canonical(distribution.metadata["Name"])
        except Exception:  # noqa: S112 - damaged metadata, which has no name to report
            continue
        if name not in seen:
            seen.add(name)
            yield distribution


def _plugins_of(distribution: metadata.Distribution, may: Callable[[str], bool]) -> Iterator[Plugin]:
    """Return one record per entry point, or one for the distribution if its metadata cannot be read."""
    plugin = Plugin(
        "?", printable(str(distribution.metadata["Name"])), printable(str(distribution.metadata["Version"]))
    )
    try:
        with _contained():
            entries = [entry for entry in distribution.entry_points if entry.group in (hookspecs.GROUP, commands.GROUP)]
    except _Fault as fault:
        reason = f"its entry points cannot be read: {fault}"
        yield attrs.evolve(plugin, status="broken", reason=reason, remedy=_remedy(plugin, fault))
        return
    for entry in entries:
        named = attrs.evolve(plugin, name=printable(entry.name))
        if may(canonical(plugin.distribution)):
            yield _load(named, entry, distribution.requires or ())
        else:
            remedy = "Change the lists of allowed and denied plugins."
            yield attrs.evolve(
                named, status="denied", reason="it is not in the list of allowed plugins, or is denied", remedy=remedy
            )


def _load(plugin: Plugin, entry: metadata.EntryPoint, requirements: Iterable[str]) -> Plugin:
    """Return the plugin with its components, or with its error."""
    try:
        with _contained():
            if unmet := _unmet_requirement(requirements):
                return attrs.evolve(
                    plugin,
                    status="incompatible",
                    reason=f"it requires {unmet}, installed is {CORE} {metadata.version(CORE)}",
                    remedy=f"Install compatible versions: pip install --upgrade {CORE} {plugin.distribution}",
                )
            _check_name(entry.name, "its entry point's name")
            found = [_command(entry)] if entry.group == commands.GROUP else _collect(entry.load())
            return attrs.evolve(plugin, provides=tuple(found))
    except _Fault as fault:
        return attrs.evolve(plugin, status="broken", reason=str(fault), remedy=_remedy(plugin, fault))


def _unmet_requirement(requirements: Iterable[str]) -> str | None:
    """Return the requirement on rigatoni-core that the installed version does not meet."""
    from packaging.requirements import Requirement

    for text in requirements:
        if not re.match(r"rigatoni[-_.]+core\b", text, re.IGNORECASE):
            continue
        requirement = Requirement(text)
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if applies and not requirement.specifier.contains(metadata.version(CORE), prereleases=True):
            return f"{CORE}{requirement.specifier}"
    return None


def _collect(module: Any) -> Iterator[Provided]:
    """Return the checked records of the plugin's hooks. Raises `_Fault`, or what the plugin raises."""
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(module)
    manager.check_pending()
    if not manager.get_hookcallers(module):
        raise _Fault("it implements no hook: its functions need the decorator rigatoni_core.api.hookspecs.hookimpl")
    for kind, (hook, _) in KINDS.items():
        seen: set[str] = set()
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            records = implementation.function()
            if not isinstance(records, Iterable):
                raise _Fault(f"{hook} returned {type(records).__name__}, not Component records")
            for record in itertools.islice(records, MOST_COMPONENTS + 1):
                provided = _check_record(kind, hook, record)
                if provided.name in seen:
                    raise _Fault(f'{hook} yields the name "{provided.name}" twice')
                if len(seen) == MOST_COMPONENTS:
                    raise _Fault(f"{hook} yields more than {MOST_COMPONENTS} records")
                seen.add(provided.name)
                yield provided


def _command(entry: metadata.EntryPoint) -> Provided:
    if entry.name in commands.BUILT_IN:
        raise _Fault(f"rigatoni has a command {entry.name}, which a plugin cannot replace")
    return Provided(COMMAND, entry.name, "", Component(entry.name, entry.load))


def _check_record(kind: Kind, hook: str, record: object) -> Provided:
    if not isinstance(record, Component):
        raise _Fault(f"{hook} yields {type(record).__name__}, not Component")
    _check_name(record.name, f"the name of a {kind}")
    if not callable(record.load):
        raise _Fault(f'the load of {kind} "{record.name}" is {type(record.load).__name__}, not a function')
    if not isinstance(record.summary, str):
        raise _Fault(f'the summary of {kind} "{record.name}" is {type(record.summary).__name__}, not a text')
    return Provided(kind, record.name, printable(record.summary, 200), record)


def _check_name(name: object, what: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _Fault(f"{what} is {printable(repr(name))}: letters, digits and single - . _ between them are allowed")


def _check_command(command: object) -> None:
    """Raises `_Fault` unless it is a click command."""
    import click

    if not isinstance(command, click.Command):
        raise _Fault(f"its entry point names {printable(repr(command))}, not a click command")


def _check_class(kind: Kind, cls: object) -> None:
    """Raises `_Fault` unless it is an attrs class that implements the contract of this kind."""
    contract = getattr(import_module("rigatoni_core.api.contracts"), KINDS[kind][1])
    if not isinstance(cls, type):
        raise _Fault(f"its load returned {printable(repr(cls))}, not a class")
    if not issubclass(cls, contract):
        raise _Fault(f"{cls.__name__} does not derive from rigatoni_core.api.contracts.{contract.__name__}")
    if not attrs.has(cls):
        raise _Fault(f"{cls.__name__} is not an attrs class, so its options are unknown")
    missing = [name for name in dir(contract) if getattr(getattr(cls, name, None), "__isabstractmethod__", False)]
    if missing:
        raise _Fault(f"{cls.__name__} does not implement {', '.join(missing)}")
    if kind == "source" and not hasattr(cls, "decoder"):
        raise _Fault(f"{cls.__name__} has no decoder, which names the format of its raw documents")
