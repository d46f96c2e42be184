"""How long the command takes to start, beside a bare Python: `rigatoni --help` and `rigatoni plugins list`.

    python benchmarks/startup.py [--rounds 20]

Each command runs in a process of its own, in turn with the others, so that what else the machine does hits all alike.
Printed is the least wall time of each and its ratio to the bare Python of the same run. Exits with 1 where a limit that
the project sets itself is missed: 0.2 s for the help, 0.3 s for the list, where a bare Python takes 0.02 s.
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
"""Arguments for Python, and the limit in seconds where a bare Python takes `BARE`."""


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
