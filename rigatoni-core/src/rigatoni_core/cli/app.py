"""The group of commands and its error handling.

The modules of the commands import what they need when they are called: `rigatoni --help` loads them all.
"""

import contextlib
import importlib
import sys
from typing import TYPE_CHECKING

import click

from rigatoni_core.api.exit_codes import ExitCode
from rigatoni_core.cli import installed
from rigatoni_core.cli.output import as_json, complain, error_record, error_word, fail, say
from rigatoni_core.plugins.commands import BUILT_IN, Entry, entries
from rigatoni_core.plugins.installed import is_allowed

if TYPE_CHECKING:
    from rigatoni_core.api.errors import RigatoniError

HELP = """Streams changes out of MongoDB into files and other destinations, and never loses one silently.

A pipeline is one TOML file: a source, a destination, and a state store that keeps each stream's position.

\b
First steps:
  rigatoni plugins list              what is installed
  rigatoni plugins show mongodb      the options of a component
  rigatoni init                      write a first pipeline.toml (pip install rigatoni-ops)
  rigatoni validate pipeline.toml    check the file and the connections
  rigatoni run pipeline.toml         run until Ctrl-C
  rigatoni state show pipeline.toml  where each stream stands
  rigatoni status                    what runs on this machine

\b
Exit codes:
{codes}

With --json the output on standard output is JSON, including errors; messages for people go to standard error. Colours
are used on terminals unless NO_COLOR is set.
""".format(codes="\n".join(f"  {code:<4} {code.meaning}" for code in ExitCode))


class LazyGroup(click.Group):
    """A group whose commands are imported on first use: those of core, then those of plugins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands: the built-in ones, then those of plugins."""
        return [*BUILT_IN, *_of_plugins()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command by its name and return it; None if no command has the name."""
        if cmd_name in BUILT_IN:
            return _built_in(cmd_name)
        from rigatoni_core.api.errors import RigatoniError
        from rigatoni_core.plugins.catalog import COMMAND

        try:
            catalog = installed.catalog()
            ctx.meta[installed.COMMAND_OF] = catalog.find(COMMAND, cmd_name)[0].distribution
            found: click.Command = catalog.get(COMMAND, cmd_name)
        except RigatoniError:
            if ctx.resilient_parsing:  # a shell completes what is typed
                return None
            raise
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands for `--help`; of plugins, only the modules of their commands are imported."""
        of_plugins = _of_plugins()
        limit = formatter.width - 6 - max(map(len, (*BUILT_IN, *of_plugins)))
        rows = [(name, _built_in(name).get_short_help_str(limit)) for name in BUILT_IN]
        rows += [(name, text) for name, entry in of_plugins.items() if (text := _summary(entry, limit))]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _built_in(name: str) -> click.Command:
    found: click.Command = getattr(importlib.import_module(f"rigatoni_core.cli.{name}"), name)
    return found


def _of_plugins() -> dict[str, Entry]:
    """Return the commands of plugins by name, less those that the environment denies and those named like core's."""
    found = {entry.name: entry for entry in entries() if is_allowed(entry.distribution)}
    return {name: found[name] for name in sorted(found.keys() - set(BUILT_IN))}


def _summary(entry: Entry, limit: int) -> str:
    """Return the command's help on one line, empty if hidden. The catalog would take longer than the whole help."""
    module, _, attribute = entry.value.partition(":")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            command = getattr(importlib.import_module(module), attribute)
        return "" if command.hidden else str(command.get_short_help_str(limit))
    except KeyboardInterrupt:
        raise
    except BaseException:  # errors of a plugin do not affect others
        return f"(cannot be used: see `rigatoni plugins check {entry.name}`)"


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        say(f"rigatoni-core {version()}")
        ctx.exit()


def version() -> str:
    """The version of rigatoni-core."""
    from importlib import metadata

    return metadata.version("rigatoni-core")


@click.command(cls=LazyGroup, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def rigatoni() -> None:
    """See HELP."""


def command() -> int:
    """Run the command and return the exit code."""
    from rigatoni_core.api.errors import ConfigurationError, PluginError, RigatoniError
    from rigatoni_core.cli.application import Terminal

    try:
        return int(rigatoni.main(prog_name="rigatoni", standalone_mode=False, obj=Terminal()) or ExitCode.DONE)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return ExitCode.WRONG
    except click.UsageError as error:
        if error.ctx is not None:
            complain(error.ctx.get_usage())
        complain(f"{error_word()}{error.format_message()}")
        complain(f"what to do: {error.ctx.command_path if error.ctx else 'rigatoni'} --help")
        return ExitCode.WRONG
    except click.Abort:
        return ExitCode.INTERRUPTED
    except (ConfigurationError, PluginError) as error:
        return _fail(error, ExitCode.WRONG)
    except RigatoniError as error:
        return _fail(error, ExitCode.CANNOT_START)
    except Exception as error:
        fail_on_bug(error)
        return ExitCode.BUG


def _fail(error: "RigatoniError", code: int) -> int:
    """Report an error to people and, if requested, to programs."""
    fail(error)
    if "--json" in sys.argv[1:]:
        as_json({"error": error_record(error)})
    return code


def fail_on_bug(error: BaseException, where: str = "") -> None:
    """Report a bug of Rigatoni or a plugin, with everything that a bug report needs."""
    import traceback

    complain("".join(traceback.format_exception(error)).rstrip())
    complain(f"{error_word()}{where}this is a bug in rigatoni-core {version()} or in a plugin")
    complain("what to do: report it with the lines above and the output of `rigatoni plugins list`.")
