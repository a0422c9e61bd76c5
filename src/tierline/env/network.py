"""Streams over real sockets."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from tierline.model.errors import ConfigError, LinkError

if TYPE_CHECKING:
    from collections.abc import Callable

BACKLOG = 1024
"""Connections that may wait to be accepted; a fleet comes back all at once after an outage."""


class RealServer:
    """A listening socket."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        self._port = int(server.sockets[0].getsockname()[1])

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    def close(self) -> None:
        """Stop listening; connections that are open stay open."""
        self._server.close()

    async def wait_closed(self) -> None:
        """Wait until the listener is gone and, from Python 3.12 on, its connections too."""
        await self._server.wait_closed()


class RealNetwork:
    """The network of this machine."""

    async def open_tcp(
        self, host: str, port: int, tls: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a stream, with TLS when a context is given; set a deadline with `asyncio.timeout`.

        Raises: LinkError.
        """
        try:
            return await asyncio.open_connection(host, port, ssl=tls)
        except ssl.SSLError as failure:
            # Before OSError, of which it is a kind: it says more than an error number.
            raise LinkError(f"no TLS with {host} port {port}: {failure.reason or failure}") from failure
        except OSError as failure:
            raise LinkError(f"cannot reach {host} port {port}: {failure.strerror or failure}") from failure

    async def serve(
        self,
        protocol: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        handshake_timeout_s: float | None = None,
    ) -> RealServer:
        """Listen on one address.

        Raises: ConfigError when the address cannot be had.
        """
        loop = asyncio.get_running_loop()
        timeout_s = handshake_timeout_s if tls is not None else None  # asyncio refuses it where there is no handshake
        try:
            server = await loop.create_server(
                protocol, host, port, ssl=tls, ssl_handshake_timeout=timeout_s, backlog=BACKLOG
            )
        except OSError as failure:
            raise ConfigError(
                f"cannot listen on {host} port {port}: {failure.strerror or failure}; "
                "is the address one of this machine, and does nothing else use the port?"
            ) from failure
        return RealServer(server)
