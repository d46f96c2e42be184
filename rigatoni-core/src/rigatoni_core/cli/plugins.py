"""`rigatoni plugins`: lists, checks and describes plugins."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rigatoni_core.api.exit_codes import ExitCode
from rigatoni_core.cli import installed
from rigatoni_core.cli.output import as_json, bold, say, table

if TYPE_CHECKING:
    from rigatoni_core.plugins.catalog import Catalog, Plugin


@click.group()
def plugins() -> None:
    """Shows and checks plugins."""


_file = click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="A pipeline's file or folder, whose table [plugins] restricts the plugins.",
)


@plugins.command("list")
@_file
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
def list_(file: Path | None, json_: bool) -> None:
    """Lists every plugin with its components, and broken plugins with the reason and the remedy."""
    import attrs

    from rigatoni_core.plugins.commands import INTERNAL

    found = installed.catalog(file).plugins
    faulty = [plugin for plugin in found if plugin.status != "ok"]
    if json_:
        records = [attrs.asdict(plugin, filter=attrs.filters.exclude("component")) for plugin in found]
        as_json([{"plugin": record.pop("name"), **record} for record in records])
    else:
        shown = [plugin for plugin in found if plugin.name not in INTERNAL]
        rows = [(p.name, f"{p.distribution} {p.version}", ", ".join(map(str, p.provides)), p.status) for p in shown]
        table(("plugin", "distribution", "provides", "status"), rows)
        for plugin in faulty:
            say(f"\n{plugin.name} is {plugin.status}: {plugin.reason}\nwhat to do: {plugin.remedy}")


@plugins.command()
@click.argument("name", required=False)
@_file
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
def check(name: str | None, file: Path | None, json_: bool) -> None:
    """Loads and checks every component of every plugin, or of the plugin NAME.

    It also checks that hooks import nothing heavy, and that the README's option table matches the class. Exits with 2
    if a check fails.
    """
    from rigatoni_core.api.errors import BrokenPluginError

    catalog = installed.catalog(file)
    checked = [plugin for plugin in catalog.plugins if name in (None, plugin.name, plugin.distribution)]
    if not checked:
        raise BrokenPluginError(
            f'plugin "{name}" is not installed', remedy="Name a plugin that `rigatoni plugins list` prints."
        )
    results = [_checked(catalog, plugin) for plugin in checked]
    if json_:
        as_json(results)
    for result in results if not json_ else ():
        mark = click.style("faulty", fg="red") if result["faults"] else click.style("ok", fg="green")
        say(f"{result['plugin']} ({result['distribution']}): {mark}")
        for fault in result["faults"]:
            say(f"  {fault['message']}\n  what to do: {fault['remedy']}")
    if any(result["faults"] for result in results):
        sys.exit(ExitCode.WRONG)


def _checked(catalog: "Catalog", plugin: "Plugin") -> dict[str, Any]:
    """Return the faults of one plugin."""
    import attrs

    from rigatoni_core.plugins.plugin_checks import unsound

    faults = [attrs.asdict(fault) for fault in unsound(catalog, plugin)]
    return {"plugin": plugin.name, "distribution": f"{plugin.distribution} {plugin.version}", "faults": faults}


@plugins.command()
@click.argument("name")
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
def show(name: str, json_: bool) -> None:
    """Shows the guarantee and options of the component NAME ("s3", or "acme/s3" if several plugins provide it)."""
    import attrs

    from rigatoni_core.config import options_of
    from rigatoni_core.plugins.catalog import COMMAND

    catalog = installed.catalog()
    components: list[dict[str, Any]] = []
    for plugin, provided in catalog.named(name):
        cls = catalog.get(provided.kind, name)
        delivery, is_command = getattr(cls, "delivery", None), provided.kind == COMMAND
        components.append(
            {
                "name": provided.name,
                "kind": provided.kind,
                "plugin": plugin.name,
                "distribution": f"{plugin.distribution} {plugin.version}",
                "summary": cls.get_short_help_str(200) if is_command else provided.summary,
                "guarantee": delivery.value if delivery else None,
                "options": [attrs.asdict(option) for option in ([] if is_command else options_of(cls))],
            }
        )
    if json_:
        as_json(components)
        return
    for component in components:
        _print(component)


def _print(component: dict[str, Any]) -> None:
    title = bold(f"{component['kind']} {component['name']}")
    say(f"{title} of {component['distribution']}\n{component['summary']}")
    if component["guarantee"]:
        say(
            f"best guarantee: {component['guarantee']}; `rigatoni validate` reports the one in force and its conditions"
        )
    rows = [(o["name"], o["type"], o["default"] or "required", o["meaning"]) for o in component["options"]]
    say()
    if component["kind"] == "command":
        say(f"`rigatoni {component['name']} --help` explains its arguments.")
    elif rows:
        table(("option", "type", "default", "meaning"), rows)
    else:
        say("It has no options.")
