"""A pipeline without a file: components are objects, and their options are arguments.

    MONGODB_URI=mongodb://localhost/ python examples/plain_python.py [--once]

Streams changes of shop.orders into files below `lake`. A listener prints each batch.
"""

import asyncio
import os
import sys
from pathlib import Path

from rigatoni_core.api.contracts import Listener
from rigatoni_core.api.notices import BatchWritten, Notice, WorkerFailed
from rigatoni_core.api.options import Secret
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_file_state.store import FileStateStore
from rigatoni_json.serializer import JsonSerializer
from rigatoni_local.destination import LocalDestination
from rigatoni_mongodb.source import MongoDBSource


class Printing(Listener):
    """Prints each batch and each failure. The event loop calls it, so it must not block."""

    def notify(self, notice: Notice) -> None:
        if isinstance(notice, BatchWritten):
            print(f"{notice.stream}: {notice.events} events", flush=True)
        elif isinstance(notice, WorkerFailed):
            print(f"{notice.stream}: {notice.error}", file=sys.stderr)


async def main() -> int:
    pipeline = Pipeline(
        name="orders-to-lake",
        source=MongoDBSource(uri=Secret(os.environ["MONGODB_URI"]), watch=("shop.orders",)),
        destination=LocalDestination(path=Path("lake"), serializer=JsonSerializer()),
        state=FileStateStore(path=Path("state")),
        listeners=[Printing()],
    )
    report = await pipeline.run(once="--once" in sys.argv, handle_signals=True)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
