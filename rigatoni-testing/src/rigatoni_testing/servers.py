"""Free ports for tests that start servers."""

import random
import socket

PORTS = range(15_000, 32_768)
"""Below the ephemeral port range: an outgoing connection could take the port first."""


def free_port() -> int:
    """Returns an unused TCP port of the loopback interface. Raises RuntimeError if none is found."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("none of 100 ports is free")
