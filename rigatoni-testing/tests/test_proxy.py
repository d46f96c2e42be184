"""The proxy of the testing kit: it forwards, disconnects, stalls and resumes."""

import socket
import threading
from contextlib import suppress

import pytest
from rigatoni_testing.proxy import TcpProxy


@pytest.fixture
def echo():
    """A server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection):
            with connection, suppress(OSError):
                while data := connection.recv(1000):
                    connection.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(echo):
    with TcpProxy("127.0.0.1", echo) as proxy:
        yield proxy


def connect(proxy):
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def test_what_is_sent_comes_back_and_the_end_is_passed_on(proxy):
    with connect(proxy) as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def test_a_cut_resets_what_is_open_and_what_is_new_until_it_is_restored(proxy):
    with connect(proxy) as client:
        client.sendall(b"a")
        assert client.recv(1) == b"a"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionResetError), connect(proxy) as client:
        client.recv(1)
    proxy.restore()
    with connect(proxy) as client:
        client.sendall(b"b")
        assert client.recv(1) == b"b"


def test_while_it_stalls_nothing_passes_and_nothing_is_lost(proxy):
    with connect(proxy) as client:
        client.sendall(b"a")
        assert client.recv(1) == b"a"
        proxy.stall()
        client.settimeout(0.3)
        client.sendall(b"b")
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.restore()
        client.settimeout(10)
        assert client.recv(1) == b"b"
