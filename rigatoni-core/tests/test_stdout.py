"""The destination `stdout` in a process of its own, at a pipe that nobody reads or that was closed."""

import subprocess
import sys
import time

HUNG = """
import asyncio, sys
from rigatoni_core.builtin.stdout import StdoutDestination
from rigatoni_core.api.contracts import Serializer
from rigatoni_core.api.errors import RigatoniError

class Much(Serializer):
    accepts = frozenset({"*"})
    media_type, suffix = "text/plain", ".txt"
    def serialize(self, events):
        return b"x" * 2**20

async def main():
    async with StdoutDestination(serializer=Much()) as destination:
        try:
            async with asyncio.timeout(0.5):
                await destination.write_batch(None)
        except (TimeoutError, RigatoniError) as error:
            print(type(error).__name__, error, file=sys.stderr)

asyncio.run(main())
"""


def test_G6_a_reader_that_does_not_read_does_not_keep_the_process():
    with subprocess.Popen([sys.executable, "-c", HUNG], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        started = time.monotonic()
        assert process.wait(timeout=30) == 0
        assert time.monotonic() - started < 25
        assert b"TimeoutError" in process.stderr.read()
        process.stdout.read()


def test_a_reader_that_went_away_is_an_error_for_people():
    with subprocess.Popen([sys.executable, "-c", HUNG], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.wait(timeout=30) == 0
        assert b"standard output was closed by its reader" in process.stderr.read()
