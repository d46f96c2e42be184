"""What every test that starts a server of its own needs."""

import socket


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
