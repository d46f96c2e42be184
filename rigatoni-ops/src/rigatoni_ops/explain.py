"""The command `rigatoni explain`. `rigatoni --help` imports this module, so functions import what they need."""

import click
from rigatoni_core.api.commands import Application, pass_application


@click.command()
@click.argument("name", metavar="[ID]", required=False)
@click.option("--json", "json_", is_flag=True, help="Machine-readable output.")
@pass_application
def explain(app: Application, name: str | None, json_: bool) -> None:
    """Explains the error ID, such as `position-lost`: what happened, what to do, and whether it is retried.

    Logs, `rigatoni status` and the metric of errors show these ids. Without ID, lists the errors of all installed
    distributions.
    """
    import attrs
    from rigatoni_core.config import installed_plugins

    from rigatoni_ops.error_reference import explanation, explanations

    known = explanations(installed_plugins())
    found = list(known.values()) if name is None else [explanation(known, name)]
    if json_:
        app.as_json([attrs.asdict(each) for each in found])
    elif name is None:
        app.table(("id", "distribution", "meaning"), [(each.id, each.distribution, each.meaning) for each in found])
    else:
        for text in found[0].paragraphs():
            app.echo(text)
