"""The catalog: which plugins are installed, what they provide, and which of them are out of order.

The only room that discovers plugins. Each one is loaded by itself, in a plugin manager of its own, after its demand on
rigatoni-core was checked; whatever goes wrong becomes a listed fault of that plugin and harms no other.
"""

import contextlib
import difflib
import itertools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from typing import Any, Literal

import attrs
import pluggy

from rigatoni_core import hookspecs
from rigatoni_core.components import Component
from rigatoni_core.errors import (
    AmbiguousComponentError,
    BrokenPluginError,
    IncompatiblePluginError,
    PluginError,
    UnknownComponentError,
)

Kind = Literal["source", "destination", "state", "serializer"]

CONTRACTS: Mapping[str, tuple[str, str]] = {
    "source": ("rigatoni_sources", "Source"),
    "destination": ("rigatoni_destinations", "Destination"),
    "state": ("rigatoni_states", "StateStore"),
    "serializer": ("rigatoni_serializers", "Serializer"),
}
"""For each kind of component, the hook that yields it and the class in `rigatoni_core.contracts` that it implements."""

CORE = "rigatoni-core"
_NAME = re.compile(r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*")
_MAX_COMPONENTS = 1000  # of one hook; it may be a generator without an end
_DISTRIBUTIONS = {"gzip": "rigatoni-compression", "zstd": "rigatoni-compression"}


@attrs.frozen
class Provided:
    """A component of a plugin: `kind` and `name` are what a configuration says."""

    kind: Kind
    name: str
    summary: str
    component: Component = attrs.field(repr=False)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@attrs.frozen
class Plugin:
    """An installed plugin. Unless its status is "ok" it provides nothing, and `reason` and `remedy` say why."""

    name: str
    distribution: str
    version: str
    status: Literal["ok", "broken", "incompatible"] = "ok"
    reason: str = ""
    remedy: str = ""
    provides: tuple[Provided, ...] = ()

    @property
    def title(self) -> str:
        return f'the plugin "{self.name}" ({self.distribution} {self.version})'


@attrs.frozen
class Catalog:
    """The installed plugins, by name. `Catalog.discover()` looks; nothing heavier than their hooks is imported."""

    plugins: tuple[Plugin, ...]

    @classmethod
    def discover(cls) -> "Catalog":
        """Load the hooks of every entry point in the group `rigatoni`. Never raises for what a plugin does."""
        plugins = itertools.chain.from_iterable(map(_plugins_of, _distributions()))
        return cls(tuple(sorted(plugins, key=lambda plugin: (plugin.name, plugin.distribution))))

    def provided(self, kind: str | None = None) -> Iterator[tuple[Plugin, Provided]]:
        """Every usable component (of one kind) with its plugin."""
        for plugin in self.plugins:
            for provided in plugin.provides:
                if kind in (None, provided.kind):
                    yield plugin, provided

    def find(self, kind: Kind, name: str) -> tuple[Plugin, Provided]:
        """The component that `type = name` means: a component's name, or `plugin/name` where that name clashes.

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
            titles = " and ".join(plugin.title for plugin, _ in found)
            unambiguous = len({plugin.name for plugin, _ in found}) == len(found)
            choices = [plugin.name if unambiguous else plugin.distribution for plugin, _ in found]
            choice = " or ".join(f'type = "{owner}/{bare}"' for owner in choices)
            raise AmbiguousComponentError(f'the {kind} "{name}" is provided by {titles}', remedy=f"Say {choice}.")
        return found[0]

    def get(self, kind: Kind, name: str) -> type[Any]:
        """The class of a component, imported now: an attrs class that derives from its kind's contract.

        Raises what `find` raises, and `BrokenPluginError` where the class can not be loaded or is no such class.
        """
        plugin, provided = self.find(kind, name)
        with _guarding(plugin, f'the {kind} "{provided.name}"'):
            cls = provided.component.load()
            _check_class(kind, cls)
        return cls

    def _unknown(self, kind: Kind, name: str) -> UnknownComponentError:
        """Says what is installed, which name is near, what is broken, and what to install."""
        names = sorted({provided.name for _, provided in self.provided(kind)})
        message = f"there is no {kind} {_quoted(name)}; installed: {', '.join(names) or 'none'}"
        remedies = []
        if near := difflib.get_close_matches(name.rpartition("/")[2].lower(), names, n=1):
            message += f'. Did you mean "{near[0]}"?'
        others = [provided.kind for _, provided in self.provided() if provided.name == name]
        if others:
            remedies.append(f'"{name}" is a {others[0]}, not a {kind}.')
        broken = [plugin for plugin in self.plugins if plugin.status != "ok"]
        own = [plugin for plugin in broken if name in (plugin.name, plugin.distribution, *name.split("/")[:1])]
        own = [plugin for plugin in own if plugin.name in name.split("/") or plugin.distribution in name.split("/")]
        if own:
            message += f". {own[0].title} is installed but {own[0].status}: {own[0].reason}"
            remedies.append(own[0].remedy)
        elif broken:
            listed = ", ".join(plugin.name for plugin in broken)
            remedies.append(f"`rigatoni plugins list` shows plugins that can not be used at present: {listed}.")
        if not own and not others and _NAME.fullmatch(name):
            remedies.append(f"If a plugin provides it: pip install {_distribution_of(kind, name)}")
        return UnknownComponentError(message, remedy=" ".join(remedies))


def describe(error: BaseException) -> str:
    """An exception in one line of printable text, whoever raised it."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = "(its message can not be shown)"
    return f"{type(error).__name__}: {text}".rstrip(": ").translate(_UNPRINTABLE)[:500]


class _Unprintable(dict[int, str]):
    """Control characters would reach the terminal: they are shown as what they are not."""

    def __missing__(self, code: int) -> str:
        return chr(code) if chr(code).isprintable() else "\N{REPLACEMENT CHARACTER}"


_UNPRINTABLE = _Unprintable()


def _quoted(name: str) -> str:
    return f'"{name.translate(_UNPRINTABLE)[:100]}"'


def _distribution_of(kind: Kind, name: str) -> str:
    """The distribution that would provide a component, by the project's naming rule."""
    return _DISTRIBUTIONS.get(name, f"rigatoni-{name}-state" if kind == "state" else f"rigatoni-{name}")


@contextlib.contextmanager
def _guarding(plugin: Plugin, what: str) -> Iterator[None]:
    """Whatever the plugin's code does inside becomes a `PluginError`; what it prints goes to stderr."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except (KeyboardInterrupt, PluginError):
        raise
    except BaseException as error:
        raise BrokenPluginError(
            f"{what} of {plugin.title} can not be loaded: {describe(error)}", remedy=_remedy(plugin, error)
        ) from error


def _remedy(plugin: Plugin, error: BaseException) -> str:
    if isinstance(error, ImportError):
        again = f"pip install --upgrade --force-reinstall {plugin.distribution}"
        return f"Something that it needs is not installed: {again}"
    return f"Upgrade it (pip install --upgrade {plugin.distribution}), uninstall it, or tell its author."


def _distributions() -> Iterable[metadata.Distribution]:
    """The distributions that have entry points for us; of one name, only the first on the path counts."""
    seen: set[str] = set()
    for distribution in metadata.distributions():
        try:
            ours = f"[{hookspecs.GROUP}]" in (distribution.read_text("entry_points.txt") or "")
            name = _canonical(distribution.metadata["Name"] or "") if ours else ""
        except Exception:  # noqa: S112 (a foreign distribution's damage is not ours to report)
            continue
        if ours and name not in seen:
            seen.add(name)
            yield distribution


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _plugins_of(distribution: metadata.Distribution) -> Iterator[Plugin]:
    """One record per entry point; one for the distribution where these can not be read."""
    try:
        name, version = distribution.metadata["Name"], distribution.metadata["Version"]
        unknown = Plugin("?", name or "?", version or "?")
        entries = [entry for entry in distribution.entry_points if entry.group == hookspecs.GROUP]
    except Exception as error:
        unknown = Plugin("?", "?", "?") if "unknown" not in locals() else unknown
        yield attrs.evolve(
            unknown,
            status="broken",
            reason=f"its metadata can not be read: {describe(error)}",
            remedy=_remedy(unknown, error),
        )
        return
    for entry in entries:
        yield _load(attrs.evolve(unknown, name=entry.name), entry, distribution)


def _load(plugin: Plugin, entry: metadata.EntryPoint, distribution: metadata.Distribution) -> Plugin:
    """The plugin with what it provides, or with what is wrong with it."""
    try:
        _check_name(plugin.name, "an entry point's name")
        _check_requirement(plugin, distribution)
        with _guarding(plugin, "the hook module"):
            provides = tuple(_collect(entry.load()))
    except IncompatiblePluginError as error:
        return attrs.evolve(plugin, status="incompatible", reason=str(error), remedy=error.remedy)
    except BrokenPluginError as error:
        cause = error.__cause__
        reason = describe(cause) if cause and not isinstance(cause, _Malformed) else str(cause or error)
        return attrs.evolve(
            plugin, name=plugin.name.translate(_UNPRINTABLE), status="broken", reason=reason, remedy=error.remedy
        )
    return attrs.evolve(plugin, provides=provides)


class _Malformed(Exception):
    """What a plugin yields is not what the hook asks for."""


def _check_name(name: str, what: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BrokenPluginError(
            f"{what} must be letters and digits with single . _ or - between them, not {str(name)[:50]!r}",
            remedy="Tell its author.",
        )


def _check_requirement(plugin: Plugin, distribution: metadata.Distribution) -> None:
    """The plugin's own demand on rigatoni-core, held against the installed version before anything is imported."""
    from packaging.requirements import InvalidRequirement, Requirement

    installed = metadata.version(CORE)
    for line in distribution.requires or ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if _canonical(requirement.name) != CORE or (requirement.marker and not requirement.marker.evaluate()):
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            raise IncompatiblePluginError(
                f"it asks for {CORE}{requirement.specifier}, installed is {installed}",
                remedy=f"pip install --upgrade {CORE} {plugin.distribution}",
            )


def _collect(module: Any) -> Iterator[Provided]:
    """The records of every hook of one plugin, found by a plugin manager of its own."""
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(module)
    manager.check_pending()
    for kind, (hook, _) in CONTRACTS.items():
        for records in getattr(manager.hook, hook)():
            for record in itertools.islice(records, _MAX_COMPONENTS):
                if not isinstance(record, Component) or not callable(record.load):
                    raise _Malformed(f"the hook {hook} must yield Component records, not {type(record).__name__}")
                _check_name(record.name, "a component's name")
                yield Provided(kind, record.name, str(record.summary).translate(_UNPRINTABLE), record)  # type: ignore[arg-type]


def _check_class(kind: Kind, cls: Any) -> None:
    from rigatoni_core import contracts

    contract = getattr(contracts, CONTRACTS[kind][1])
    if not isinstance(cls, type) or not issubclass(cls, contract):
        raise _Malformed(f"its loader must return a class derived from {contract.__name__}")
    if not attrs.has(cls):
        raise _Malformed(f"{cls.__name__} must be an attrs class: its public fields are its options")
