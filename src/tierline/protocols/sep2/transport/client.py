"""The client: requests to one server over a few connections that are kept open.

The server is believed by its chain, by our own check of it and, where configured, by its LFDI. What it sends is bounded as
strictly as what a client sends to us.
"""

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

import structlog

from tierline.model.errors import LinkError, PeerError
from tierline.model.identity import Lfdi
from tierline.ports import Clock, Network, PeerTrust
from tierline.protocols.sep2.transport.client_connection import ClientConnection, StaleError
from tierline.protocols.sep2.transport.limits import Limits
from tierline.protocols.sep2.transport.messages import SEP_XML, HttpResponse
from tierline.protocols.sep2.transport.writing import request_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

log = structlog.get_logger(__name__)

_REDIRECTED: Final = frozenset({301, 302})
_MAX_REDIRECTIONS: Final = 5
_REPEATABLE: Final = frozenset({"GET", "HEAD", "PUT"})
"""Methods that may be sent again when a kept connection turns out to be dead; a POST might be carried out twice."""


class HttpClient:
    """A client of one server."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        context: ssl.SSLContext,
        trust: PeerTrust,
        clock: Clock,
        network: Network,
        limits: Limits | None = None,
        server_lfdi: Lfdi | None = None,
        believes: "Callable[[Lfdi], bool] | None" = None,
        address: str | None = None,
        connections: int = 1,
    ) -> None:
        """Prepare; nothing is opened before the first request.

        With `server_lfdi` no other server is believed, with `believes` none for which it is false. With `address` connections
        go there, whatever the host's name stands for.
        """
        self._host, self._port = host, port
        self._authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._context = context
        self._trust = trust
        self._clock = clock
        self._network = network
        self._limits = limits or Limits()
        self._server_lfdi = server_lfdi
        self._believes = believes
        self._address = address or host
        self._free = asyncio.Semaphore(connections)
        self._kept: list[tuple[ClientConnection, float]] = []
        self._session: ssl.SSLSession | None = None

    async def request(
        self, method: str, path: str, body: bytes = b"", *, accept: str = SEP_XML, content_type: str = SEP_XML
    ) -> HttpResponse:
        """Ask, and follow 301 and 302 on the same server for methods that may be repeated.

        Raises: LinkError when the network or the TLS session fails; PeerError when the server is not believed, or its answer
        breaks HTTP or the limits.
        """
        headers = {"Accept": accept}
        if body:
            headers["Content-Type"] = content_type
        for _ in range(_MAX_REDIRECTIONS + 1):
            response = await self._ask(method, path, headers, body)
            if response.status not in _REDIRECTED or method not in _REPEATABLE or not response.location:
                return HttpResponse(status=response.status, headers=response.headers, body=response.body, path=path)
            path = self._same_origin(path, response.location)
        raise PeerError(f"more than {_MAX_REDIRECTIONS} redirections", path=path)

    async def close(self) -> None:
        """Close the connections that are kept."""
        for connection, _ in self._kept:
            connection.close()
        self._kept.clear()

    async def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> HttpResponse:
        data = request_bytes(method, path, self._authority, headers, body)
        async with self._free:
            if kept := await self._kept_alive():
                try:
                    return await self._exchange(kept, data, method)
                except StaleError:
                    if method not in _REPEATABLE:
                        raise
            return await self._exchange(await self._open(), data, method)

    async def _kept_alive(self) -> ClientConnection | None:
        """Take a kept connection that may be trusted, and close those that may not."""
        while self._kept:
            connection, since = self._kept.pop()
            async with self._closed_on_error(connection):
                fresh = self._clock.deadline() - since <= self._limits.reuse_s and not await connection.is_dead()
            if fresh:
                return connection
            connection.close()
        return None

    async def _exchange(self, connection: ClientConnection, data: bytes, method: str) -> HttpResponse:
        async with self._closed_on_error(connection):
            response, keep = await connection.exchange(data, head=method == "HEAD")
        if keep:
            self._kept.append((connection, self._clock.deadline()))
        else:
            connection.close()
        return response

    async def _open(self) -> ClientConnection:
        """Open a connection, resuming the last session where both sides still stand by it."""
        connection = await self._connect(self._session)
        verdict = self._trust.judge(connection.peer_der, connection.chain_der, self._clock.now())
        if not verdict.ok and connection.is_resumed:
            connection.close()
            connection = await self._connect(None)
            verdict = self._trust.judge(connection.peer_der, connection.chain_der, self._clock.now())
        if not verdict.ok:
            connection.close()
            self._session = None
            raise PeerError(f"the server {self._authority} is not believed: {verdict.reason}", path="certificate")
        if self._server_lfdi is not None and verdict.lfdi != self._server_lfdi:
            connection.close()
            raise PeerError(f"the server has LFDI {verdict.lfdi}, expected {self._server_lfdi}", path="certificate")
        if self._believes is not None and (verdict.lfdi is None or not self._believes(verdict.lfdi)):
            connection.close()
            raise PeerError(
                f"the server has LFDI {verdict.lfdi}, which is not one of those expected", path="certificate"
            )
        self._session = connection.session
        log.debug("connected", server=self._authority, lfdi=verdict.lfdi, resumed=connection.is_resumed)
        return connection

    async def _connect(self, session: ssl.SSLSession | None) -> ClientConnection:
        try:
            async with asyncio.timeout(self._limits.handshake_s):
                reader, writer = await self._network.open_tcp(self._address, self._port)
        except TimeoutError as error:
            raise LinkError(f"{self._authority} did not take a connection in {self._limits.handshake_s} s") from error
        connection = ClientConnection(reader, writer, self._context, self._host, self._limits, session)
        async with self._closed_on_error(connection):
            await connection.shake_hands()
        return connection

    @asynccontextmanager
    async def _closed_on_error(self, connection: ClientConnection) -> "AsyncIterator[None]":
        """Close a connection whose work did not end well, cancellation included: nobody knows what it would say next."""
        done = False
        try:
            yield
            done = True
        finally:
            if not done:
                connection.close()

    def _same_origin(self, path: str, location: str) -> str:
        origin = f"https://{self._authority}"
        try:
            target = urlsplit(urljoin(origin + path, location))
            port = target.port or 443
        except ValueError as error:
            raise PeerError(f"Location {location!r} is not a URL", path=path) from error
        if (target.scheme, (target.hostname or "").lower(), port) != ("https", self._host.lower(), self._port):
            raise PeerError(f"redirection to another origin, {location!r}, is not followed", path=path)
        return target.path + (f"?{target.query}" if target.query else "")
