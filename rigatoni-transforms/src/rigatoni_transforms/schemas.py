"""The command `rigatoni schemas`. `rigatoni --help` imports this module, so functions import what they need."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rigatoni_core.api.commands import Application, ExitCode, pass_application, takes_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rigatoni_transforms.schema_model import Schema


@click.group()
def schemas() -> None:
    """Infers and shows schemas of collections, with which the transform `schema` compares documents."""


_as_json = click.option("--json", "json_", is_flag=True, help="Machine-readable output.")


@schemas.command()
@click.argument("sample", type=click.File(encoding="utf-8"))
@click.option("--collection", default="", help="The collection of documents that are no events, such as shop.orders.")
@_as_json
@pass_application
def infer(app: Application, sample: "Iterator[str]", collection: str, json_: bool) -> ExitCode:
    """Infers schemas from a SAMPLE: a file (`-` for standard input) of Extended JSON, one document or event a line.

    Prints the transform for a pipeline's file. Export a sample with mongoexport, or use files of the serializer json.
    """
    from rigatoni_transforms.inference import as_toml, documents_in, inferred

    found = inferred(documents_in(sample, collection))
    if json_:
        app.as_json(found)
    else:
        for line in as_toml(found):
            app.echo(line)
    return ExitCode.DONE


@schemas.command()
@takes_file
@_as_json
@pass_application
def show(app: Application, file: Path, overrides: tuple[str, ...], json_: bool) -> ExitCode:
    """Shows the schemas in force of the pipeline in FILE, and what is done about events that deviate.

    Connects to nothing.
    """
    from rigatoni_transforms.deviations import Deviation
    from rigatoni_transforms.schema import SchemaTransform
    from rigatoni_transforms.schema_model import schema_of

    configuration = app.configuration(file, overrides)
    found = [each for each in configuration.transforms if isinstance(each, SchemaTransform)]
    actions = [{kind.value: getattr(each, kind.value) for kind in Deviation} for each in found]
    if json_:
        app.as_json(
            [
                {"streams": list(each.streams), "actions": action, "collections": each.collections}
                for each, action in zip(found, actions, strict=True)
            ]
        )
        return ExitCode.DONE
    if not found:
        app.echo("the pipeline has no transform schema")
    for each, action in zip(found, actions, strict=True):
        app.echo(", ".join(f"{kind}: {done}" for kind, done in action.items()))
        rows = [
            (collection, *row)
            for collection, table in each.collections.items()
            for row in _rows(schema_of(table, collection), "")
        ]
        app.table(("collection", "field", "type", ""), rows)
    return ExitCode.DONE


def _rows(schema: "Schema", path: str) -> "Iterator[tuple[str, str, str]]":
    """Yield the fields below a place: path, types, and what else is known of them."""
    for name, below in (schema.properties or {}).items():
        inner = f"{path}.{name.decode()}" if path else name.decode()
        yield inner, _types(below), "required" if name in schema.required else ""
        yield from _rows(below, inner)
    if schema.items is not None:
        yield f"{path}.*", _types(schema.items), ""
        yield from _rows(schema.items, f"{path}.*")


def _types(schema: "Schema") -> str:
    from rigatoni_transforms.schema_model import TYPES

    for name in ("number", "integer"):
        if schema.types == TYPES[name]:
            return name
    names = [name for name, numbers in TYPES.items() if len(numbers) == 1 and numbers <= (schema.types or set())]
    return f"{', '.join(names) or 'any'}{', limited' if schema.check else ''}"
