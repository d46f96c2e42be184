"""`python -m rigatoni_core.cli`, the same as `rigatoni`."""

from rigatoni_core.cli import main

main()
