"""What every test that starts a server of its own needs."""

import random
import socket

PORTS = range(15_000, 32_768)
"""Below the ports that systems give to outgoing connections: one of them could take the port first."""


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses now. Raises RuntimeError where none is found."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("none of 100 ports is free")
