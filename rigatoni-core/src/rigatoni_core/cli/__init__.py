"""The command `rigatoni`: arguments in, words out. Subcommands are imported when they are called."""

import importlib
import sys
from importlib import metadata

import click

from rigatoni_core.cli.output import fail

COMMANDS = {
    "run": "rigatoni_core.cli.run:run",
    "validate": "rigatoni_core.cli.validate:validate",
    "plugins": "rigatoni_core.cli.plugins:plugins",
    "state": "rigatoni_core.cli.state:state",
}
"""Where each subcommand is; it is imported when it is needed, so that `--help` stays quick."""

HELP = """Streams changes out of MongoDB into files and other destinations, and never loses one.

\b
First steps:
  rigatoni plugins list             what is installed
  rigatoni plugins show mongodb     the options of a component
  rigatoni validate pipeline.toml   is the file right, are the servers reachable
  rigatoni run pipeline.toml        run until Ctrl-C
  rigatoni state show pipeline.toml where each stream stands

\b
Exit codes:
  0  done, also after a graceful Ctrl-C or SIGTERM
  1  a worker failed for good; the others did their work
  2  wrong usage or configuration
  3  a component could not be started (connection, credentials, rights, state)
  4  work was abandoned at the shutdown limit; nothing is lost by that
  70 a bug: please report it with its traceback
"""


class LazyGroup(click.Group):
    """A group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.command(cls=LazyGroup, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(message="rigatoni-core %(version)s", package_name="rigatoni-core")
def rigatoni() -> None:
    """See HELP."""


def main() -> None:
    """The entry point of the console script; never returns."""
    from rigatoni_core.errors import ConfigurationError, PluginError, RigatoniError

    try:
        rigatoni.main(prog_name="rigatoni")
    except (ConfigurationError, PluginError) as error:
        sys.exit(fail(error, 2))
    except RigatoniError as error:
        sys.exit(fail(error, 3))
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away
        sys.exit(0)
    except Exception:
        import traceback

        traceback.print_exc()
        click.echo(
            f"error: this is a bug in rigatoni-core {metadata.version('rigatoni-core')} or in a plugin", err=True
        )
        sys.exit(70)
