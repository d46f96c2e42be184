"""The command `rigatoni`: arguments in, words out; the only room that prints.

Here is only the way in; `app` holds the group of commands, which are imported when they are called.
"""

import sys


def main() -> None:
    """The console script. Exits with the codes that `rigatoni --help` lists."""
    from rigatoni_core.cli.app import command

    sys.exit(command())
