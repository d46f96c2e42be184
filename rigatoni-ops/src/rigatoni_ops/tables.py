"""The command `rigatoni tables`. `rigatoni --help` imports this module, so functions import what they need."""

import click
from rigatoni_core.api.commands import Application, pass_application


@click.group()
def tables() -> None:
    """Shows how to query what pipelines write."""


@tables.command()
@click.argument("collection", metavar="DATABASE.COLLECTION")
@click.option("--over", "relation", required=True, help="The change events, as the engine spells a table or function.")
@click.option("--name", help="The name of the view; that of the collection unless given.")
@click.option(
    "--dialect",
    default="duckdb",
    show_default=True,
    type=click.Choice(["duckdb", "spark", "trino", "athena", "snowflake", "bigquery"]),
    help="The engine that runs the statement.",
)
@click.option("--json-lines", is_flag=True, help="The events are JSON lines, in a column `json` (DuckDB only).")
@click.option("--since", metavar="SECONDS,INCREMENT", help="Ignore changes before this cluster time.")
@pass_application
def view(
    app: Application,
    collection: str,
    relation: str,
    name: str | None,
    dialect: str,
    json_lines: bool,
    since: str | None,
) -> None:
    """Prints the SQL view of a collection's documents as they are now, over its change events.

    The events may be in a log table (postgres excepted), or in files of Parquet, CSV or JSON. The view has the columns
    `document_key`, `document` and `is_current`, which is false if the last change came without the document.
    """
    from rigatoni_ops.current_view import current_view

    database, dot, rest = collection.partition(".")
    if not dot or not database or not rest or "*" in collection:
        raise click.UsageError("name one collection, as DATABASE.COLLECTION")
    if not relation.strip():
        raise click.UsageError("--over takes a table or a table function, such as lake.shop_orders")
    if json_lines and dialect != "duckdb":
        raise click.UsageError("--json-lines is for DuckDB: give other engines a table with the columns of the formats")
    app.echo(
        current_view(
            database,
            rest,
            name=name or "".join(letter if letter.isalnum() else "_" for letter in rest),
            relation=relation,
            dialect=dialect,
            since=_time(since) if since else None,
            json_lines=json_lines,
        )
        + ";"
    )


def _time(text: str) -> tuple[int, int]:
    seconds, _, increment = text.partition(",")
    if not (seconds.isdecimal() and increment.isdecimal()):
        raise click.UsageError("--since takes SECONDS,INCREMENT, such as 1796040037,27")
    return int(seconds), int(increment)
