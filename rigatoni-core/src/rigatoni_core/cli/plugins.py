"""`rigatoni plugins`: what is installed, and what a component takes."""

import difflib
import sys
from typing import Any

import attrs
import click

from rigatoni_core.catalog import KINDS, Catalog
from rigatoni_core.cli.output import as_json, table
from rigatoni_core.errors import UnknownComponentError


@click.group()
def plugins() -> None:
    """Shows installed plugins and their components."""


@plugins.command("list")
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
def list_(json_: bool) -> None:
    """Lists every plugin with what it provides; broken ones with the reason and the remedy.

    Exits with 1 if a plugin can not be used.
    """
    catalog = Catalog.discover()
    if json_:
        as_json(
            [
                {
                    "plugin": plugin.name,
                    "distribution": plugin.distribution,
                    "version": plugin.version,
                    "status": plugin.status,
                    "reason": plugin.reason,
                    "remedy": plugin.remedy,
                    "provides": [
                        {"kind": provided.kind, "name": provided.name, "summary": provided.summary}
                        for provided in plugin.provides
                    ],
                }
                for plugin in catalog.plugins
            ]
        )
    else:
        rows = [
            (p.name, f"{p.distribution} {p.version}", ", ".join(map(str, p.provides)), p.status)
            for p in catalog.plugins
        ]
        table(("plugin", "distribution", "provides", "status"), rows)
        for plugin in catalog.plugins:
            if plugin.status != "ok":
                click.echo(f"\n{plugin.name} is {plugin.status}: {plugin.reason}\nwhat to do: {plugin.remedy}")
    if any(plugin.status != "ok" for plugin in catalog.plugins):
        sys.exit(1)


@plugins.command()
@click.argument("name")
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
def show(name: str, json_: bool) -> None:
    """Shows the component NAME ("s3", or "acme/s3" where the name clashes): guarantee and options."""
    from rigatoni_core.config import options_of

    catalog = Catalog.discover()
    found: list[dict[str, Any]] = []
    for kind in KINDS:
        try:
            plugin, provided = catalog.find(kind, name)
        except UnknownComponentError:
            continue
        cls = catalog.get(kind, name)
        delivery = getattr(cls, "delivery", None)
        found.append(
            {
                "name": provided.name,
                "kind": kind,
                "plugin": plugin.name,
                "distribution": f"{plugin.distribution} {plugin.version}",
                "summary": provided.summary,
                "guarantee": delivery.value if delivery else None,
                "options": [attrs.asdict(option) for option in options_of(cls)],
            }
        )
    if not found:
        names = sorted({provided.name for _, provided in catalog.provided()})
        near = difflib.get_close_matches(name, names, n=1)
        raise UnknownComponentError(
            f'there is no component "{name}"; '
            + (f'did you mean "{near[0]}"?' if near else f"known: {', '.join(names)}"),
            remedy=f"If a plugin provides it: pip install rigatoni-{name}",
        )
    if json_:
        as_json(found)
        return
    for component in found:
        click.secho(f"{component['kind']} {component['name']}", bold=True, nl=False)
        click.echo(f" of {component['distribution']}\n{component['summary']}")
        if component["guarantee"]:
            click.echo(f"guarantee, at best: {component['guarantee']}")
        options = component["options"]
        click.echo()
        rows = [(o["name"], o["type"], o["default"] or "required", o["meaning"]) for o in options]
        table(("option", "type", "default", "meaning"), rows) if rows else click.echo("It has no options.")
