"""Relays of bytes: each node reaches those above it through ports of its own, which can be cut like an uplink.

A cut is a black hole: nothing is forwarded in either direction and nothing is closed, but new connections are refused. When it
ends, what was on its way arrives, as in a network that repeats what was lost.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from tierline.model.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tierline.ports import Network, Server

_CHUNK: Final = 64 * 1024


class Relay:
    """One listener for each uplink of a node; its connections live in the task group given."""

    def __init__(self, group: asyncio.TaskGroup, network: Network, host: str) -> None:
        self._group = group
        self._network = network
        self._host = host
        self._open: dict[str, asyncio.Event] = {}
        self._servers: list[Server] = []
        self._is_closed = False

    @property
    def cut_off(self) -> frozenset[str]:
        """The nodes whose uplinks are cut now."""
        return frozenset(name for name, is_open in self._open.items() if not is_open.is_set())

    async def listen(self, node: str, port: int, server_port: int) -> int:
        """Open the port of one uplink of a node; gives the port, useful when 0 was asked for.

        All uplinks of a node are cut together.
        Raises: ConfigError when it cannot be had.
        """
        if node not in self._open:
            self._open[node] = asyncio.Event()
            self._open[node].set()
        is_open = self._open[node]

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self._is_closed:  # it was accepted while the listener was closing
                writer.transport.abort()
            else:
                self._group.create_task(self._carry(is_open, server_port, reader, writer))

        def protocol() -> asyncio.Protocol:
            return asyncio.StreamReaderProtocol(asyncio.StreamReader(), connected)

        server = await self._network.serve(protocol, self._host, port)
        self._servers.append(server)
        return server.port

    def cut(self, nodes: Iterable[str]) -> None:
        """Stop forwarding for some nodes."""
        for node in nodes:
            self._open[node].clear()

    def restore(self, nodes: Iterable[str]) -> None:
        """Forward again for some nodes."""
        for node in nodes:
            self._open[node].set()

    def close(self) -> None:
        """Stop listening; connections end with their task group."""
        self._is_closed = True
        for server in self._servers:
            server.close()

    async def _carry(
        self, is_open: asyncio.Event, server_port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carry one connection until either side ends it."""
        try:
            if not is_open.is_set():
                return
            up_reader, up_writer = await self._network.open_tcp(self._host, server_port)
            try:
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(_pump(is_open, reader, up_writer))
                    pumps.create_task(_pump(is_open, up_reader, writer))
            finally:
                up_writer.transport.abort()
        except LinkError:  # the server is away: the node sees its connection end
            pass
        finally:
            writer.transport.abort()


async def _pump(is_open: asyncio.Event, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward one direction until it ends, then end the other side too, once the way is open."""
    try:
        while data := await reader.read(_CHUNK):
            await is_open.wait()
            if writer.is_closing():  # the other direction has ended meanwhile
                break
            writer.write(data)
            await writer.drain()
    except OSError:  # one side was reset
        pass
    await is_open.wait()
    writer.close()
