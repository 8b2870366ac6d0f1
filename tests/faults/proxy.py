"""A TCP link between two parts that can be cut, stalled and slowed."""

import asyncio
from collections import deque
from typing import Self


class Link:
    """Listens on a free port of 127.0.0.1 and carries every connection on to a server.

    Args:
        name: for the storm's report, as in ``worker-redis``.
        port: the server's, on 127.0.0.1.
    """

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.port = 0
        self.target_port = port
        self.is_cut = False
        self.is_stalled = False
        self.delay_s = 0.0
        """Added to whatever the server sends."""
        self._ends: set[_End] = set()
        self._nobody_left = asyncio.Event()
        self._nobody_left.set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Near(self), "127.0.0.1", self.port
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        await self._nobody_left.wait()

    def cut(self) -> None:
        """End every connection at once, and every new one as it comes."""
        self.is_cut = True
        for end in list(self._ends):
            end.abort()

    def stall(self) -> None:
        """Keep connections open and carry nothing."""
        self.is_stalled = True
        for end in self._ends:
            end.settle_reading()

    def heal(self) -> None:
        """Carry again, at once."""
        self.is_cut, self.is_stalled, self.delay_s = False, False, 0.0
        for end in self._ends:
            end.settle_reading()

    def joined(self, end: "_End") -> None:
        """Note an open connection."""
        self._ends.add(end)
        self._nobody_left.clear()

    def left(self, end: "_End") -> None:
        """Note that it is closed."""
        self._ends.discard(end)
        if not self._ends:
            self._nobody_left.set()


class _End(asyncio.Protocol):
    """One side of a connection."""

    transport: asyncio.Transport

    def __init__(self, link: Link) -> None:
        self.link = link
        self.peer: _End | None = None
        self.peer_is_full = False
        self._due: deque[tuple[float, bytes]] = deque()
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.link.joined(self)
        self.settle_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        self.link.left(self)
        if self.peer is not None:
            self.peer.finish()

    def pause_writing(self) -> None:
        if self.peer is not None:
            self.peer.peer_is_full = True
            self.peer.settle_reading()

    def resume_writing(self) -> None:
        if self.peer is not None:
            self.peer.peer_is_full = False
            self.peer.settle_reading()

    def settle_reading(self) -> None:
        """Read only while somebody takes it."""
        if self.transport.is_closing():
            return
        if self.link.is_stalled or self.peer_is_full or self.peer is None:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def send(self, data: bytes, delay_s: float) -> None:
        """Write now, or behind what still waits."""
        if not delay_s and not self._due:
            self.transport.write(data)
            return
        self._due.append((self._loop.time() + delay_s, data))
        if len(self._due) == 1:
            self._loop.call_later(delay_s, self._send_due)

    def finish(self) -> None:
        """Close once all is written."""
        if self._due:
            self._due.append((self._due[-1][0], b""))
        else:
            self.transport.close()

    def abort(self) -> None:
        self._due.clear()
        self.transport.abort()

    def _send_due(self) -> None:
        now = self._loop.time()
        while self._due and self._due[0][0] <= now + 0.001:
            data = self._due.popleft()[1]
            if not data:
                self.transport.close()
            elif not self.transport.is_closing():
                self.transport.write(data)
        if self._due:
            self._loop.call_later(self._due[0][0] - now, self._send_due)


class _Near(_End):
    """The side of whoever connected; opens the way to the server."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.link.is_cut:
            self.abort()
            return
        self._opening = self._loop.create_task(self._open())

    async def _open(self) -> None:
        try:
            _, far = await self._loop.create_connection(
                lambda: _Far(self.link), "127.0.0.1", self.link.target_port
            )
        except OSError:
            self.abort()
            return
        self.peer, far.peer = far, self
        if self.link.is_cut or self.transport.is_closing():
            far.abort()
            self.abort()
            return
        self.settle_reading()
        far.settle_reading()

    def data_received(self, data: bytes) -> None:
        if self.peer is not None:
            self.peer.send(data, 0)


class _Far(_End):
    """The side of the server."""

    def data_received(self, data: bytes) -> None:
        if self.peer is not None:
            self.peer.send(data, self.link.delay_s)
