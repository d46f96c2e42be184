"""The command `rigatoni`: parses arguments and prints results. The only module that prints.

This is only the entry point; `app` holds the group of commands, which are imported when they are called.
"""

import sys


def main() -> None:
    """The console script. Exits with the codes that `rigatoni --help` lists."""
    from rigatoni_core.cli.app import command

    sys.exit(command())
