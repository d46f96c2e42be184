"""The command `supervise`, a part of `rigatoni run --instances`. `rigatoni --help` imports this module."""

from typing import Any

import click
from rigatoni_core.api.commands import Application, pass_application


@click.command(hidden=True)
@pass_application
def supervise(app: Application, /, **options: Any) -> int:
    """Supervises several instances of one pipeline. `rigatoni run` calls it; the options are those of `Supervisor`."""
    if not options:
        raise click.UsageError("this is a part of `rigatoni run`; use: rigatoni run FILE --instances N")
    import asyncio

    from rigatoni_ops.supervisor import Supervisor

    return asyncio.run(Supervisor(app, **options).run())
