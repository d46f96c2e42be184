"""An S3 store that discards everything."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def sink() -> Iterator[str]:
    """An S3 store that discards everything, in its own process."""
    code = "import sys, time\nfrom rigatoni_s3.testing.proxy import FaultProxy\n"
    code += "with FaultProxy() as proxy:\n    print(proxy.endpoint_url, flush=True)\n"
    code += "    while True:\n        time.sleep(0.2)\n        proxy.requests.clear()\n"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process_:
        assert process_.stdout is not None
        try:
            yield process_.stdout.readline().strip()
        finally:
            process_.kill()
