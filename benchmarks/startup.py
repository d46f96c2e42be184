"""Measures the start of `rigatoni --help` and `rigatoni plugins list`, compared with that of Python alone.

    python benchmarks/startup.py [--rounds 20]

The commands run alternately in their own processes, so that other load affects all alike. The script prints the lowest
wall time of each, and its ratio to Python alone in the same run. It exits with 1 if a limit of the project is exceeded:
0.2 s for the help and 0.3 s for the list, on a machine on which Python alone takes 0.02 s.
"""

import argparse
import subprocess
import sys
import time

BARE = 0.02
COMMANDS = {
    "python -c pass": (["-c", "pass"], None),
    "rigatoni --help": (["-m", "rigatoni_core.cli", "--help"], 0.2),
    "rigatoni --version": (["-m", "rigatoni_core.cli", "--version"], 0.2),
    "rigatoni plugins list": (["-m", "rigatoni_core.cli", "plugins", "list"], 0.3),
}
"""Arguments for Python, and the limit in seconds on a machine on which Python alone takes `BARE`."""


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=20)
    rounds = arguments.parse_args().rounds
    least = dict.fromkeys(COMMANDS, float("inf"))
    for number in range(rounds + 1):
        for name, (command, _) in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=True)
            if number:  # the first round compiles modules
                least[name] = min(least[name], time.perf_counter() - started)
    bare, missed = least["python -c pass"], 0
    for name, (_, limit) in COMMANDS.items():
        allowed = None if limit is None else limit * max(1.0, bare / BARE)
        late = allowed is not None and least[name] > allowed
        missed += late
        print(f"{name:<24}{least[name]:7.3f} s{least[name] / bare:8.1f} x{'   TOO SLOW' if late else ''}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
