"""`rigatoni state`: inspects and repairs saved positions."""

import click

from rigatoni_core.cli.state.change import clear, confirm_deployment, rebuild, rename, set_
from rigatoni_core.cli.state.show import show
from rigatoni_core.cli.state.transfer import export, import_


@click.group()
def state() -> None:
    """Shows, repairs and moves the saved positions."""


for command in (show, set_, clear, rebuild, confirm_deployment, rename, export, import_):
    state.add_command(command)
