"""A TCP proxy that tests can disconnect or stall.

    with TcpProxy("127.0.0.1", server.port) as proxy:
        ...  # the client connects to proxy.port
        proxy.cut()  # connections are reset, new ones are refused
        proxy.restore()

It does not inspect traffic. Clients that discover the server's address bypass it: MongoDB clients need
`directConnection=true`.
"""

import asyncio
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_CHUNK = 65_536


class LoopbackServer(ABC):
    """Listens on a free loopback port while entered, on its own thread and event loop.

    Subclasses handle connections in `serve`. Connection errors are ignored.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name=name, daemon=True)
        self.port = 0

    @abstractmethod
    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection, on the server's loop."""

    def soon(self, action: Callable[[], object]) -> None:
        """Call a function on the server's loop."""
        self._loop.call_soon_threadsafe(action)

    def __enter__(self) -> Self:
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._accept, "127.0.0.1", 0), self._loop)
        self._server = server.result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self.soon(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                await self.serve(reader, writer)
            finally:
                writer.close()

    async def _stop(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


class TcpProxy(LoopbackServer):
    """Forwards all bytes to a server until it is cut or stalled."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__("tcp-proxy")
        self._upstream = (host, port)
        self._flows = asyncio.Event()
        self._flows.set()
        self._is_cut = False
        self._open: set[asyncio.StreamWriter] = set()

    @classmethod
    def to(cls, uri: str) -> "TcpProxy":
        """Returns a proxy to the one server in a URI, which includes the port."""
        address = urlsplit(uri)
        if not (address.hostname and address.port):
            raise ValueError(f'"{uri}" names no host and port')
        return cls(address.hostname, address.port)

    def cut(self) -> None:
        """Reset all open and new connections until `restore`."""
        self.soon(self._cut)

    def stall(self) -> None:
        """Forward no bytes until `restore`; connections stay open, as if a router dropped packets."""
        self.soon(self._flows.clear)

    def restore(self) -> None:
        """Everything passes again."""
        self.soon(self._restore)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """See `LoopbackServer`."""
        if self._is_cut:
            _reset(writer)
            return
        there, back = await asyncio.open_connection(*self._upstream)
        self._open |= {writer, back}
        try:
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        finally:
            self._open -= {writer, back}
            for each in (writer, back):
                each.transport.abort()

    def _cut(self) -> None:
        self._is_cut = True
        for writer in self._open:
            _reset(writer)

    def _restore(self) -> None:
        self._is_cut = False
        self._flows.set()

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Forward bytes until the source ends, then close the target for writing."""
        while chunk := await source.read(_CHUNK):
            await self._flows.wait()
            target.write(chunk)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, by turning lingering off (socket(7), SO_LINGER)."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
