"""The server: listeners, the sweep that keeps deadlines, and a graceful end."""

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self

import structlog

from tierline.ports import Clock, Network, PeerTrust, Server
from tierline.protocols.sep2.transport.admission import Pace, Places
from tierline.protocols.sep2.transport.connection import Connection, Service
from tierline.protocols.sep2.transport.limits import Limits
from tierline.protocols.sep2.transport.messages import Handler, Peer

log = structlog.get_logger(__name__)

_SWEEPS_PER_DEADLINE: Final = 4
"""A deadline is kept within a quarter of the shortest one."""


class HttpServer:
    """HTTP/1.1 over mutual TLS for one handler, on any number of addresses; use it as an asynchronous context manager."""

    def __init__(
        self,
        *,
        handler: Handler,
        context: ssl.SSLContext,
        trust: PeerTrust,
        authorise: Callable[[Peer], bool],
        clock: Clock,
        network: Network,
        limits: Limits | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._context = context
        self._network = network
        self._clock = clock
        self._listeners: list[Server] = []
        self._open: set[Connection] = set()
        self._tasks = asyncio.TaskGroup()
        self._left = asyncio.Event()
        self._at_work: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._service = Service(
            handler=handler,
            trust=trust,
            authorise=authorise,
            clock=clock,
            limits=self._limits,
            places=Places(),
            pace=Pace(per_s=self._limits.handshakes_per_s_per_address, burst=self._limits.handshake_burst_per_address),
            open=self._open,
            spawn=self._spawn,
            gone=self._left.set,
        )

    async def __aenter__(self) -> Self:
        """Begin to keep deadlines."""
        await self._tasks.__aenter__()
        self._sweep()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Drain, then end; at once when an error is on its way."""
        if kind is None:
            await self.drain()
        self._stop_listening()
        for connection in tuple(self._open):
            connection.abort()
        if self._sweeping is not None:
            self._sweeping.cancel()
        for task in tuple(self._at_work):
            task.cancel()
        # Errors of the body pass by the task group, which would wrap them; its tasks answer for their own errors.
        await self._tasks.__aexit__(None, None, None)

    async def listen(self, host: str, port: int) -> Server:
        """Listen on one more address, IPv4 or IPv6; port 0 takes a free one.

        Raises: ConfigError when the address cannot be had.
        """
        listener = await self._network.serve(self.connection, host, port)
        self._listeners.append(listener)
        log.info("listening", host=host, port=listener.port)
        return listener

    def connection(self) -> Connection:
        """Make the protocol object of a new connection."""
        return Connection(self._service, self._context)

    def use_context(self, context: ssl.SSLContext) -> None:
        """Use new certificates for new connections; tickets of the old context are void from now on."""
        self._context = context

    @property
    def connections(self) -> int:
        """How many connections are open, those in their handshake included."""
        return len(self._open)

    async def drain(self) -> None:
        """Stop listening, let requests in hand be answered, and close; what is not done in time is cut off."""
        self._stop_listening()
        for connection in tuple(self._open):
            connection.drain()
        try:
            async with asyncio.timeout(self._limits.drain_s):
                while self._open:
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError:
            log.warning("drain_cut_off", connections=len(self._open))

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._tasks.create_task(coroutine)
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)

    def _sweep(self) -> None:
        """Cut off what is over its time, and come again."""
        now = self._clock.deadline()
        for connection in [c for c in self._open if c.deadline < now]:
            connection.expire()
        limits = self._limits
        shortest = min(limits.handshake_s, limits.headers_s, limits.body_s, limits.idle_s, limits.write_s)
        self._sweeping = asyncio.get_running_loop().call_later(min(1.0, shortest / _SWEEPS_PER_DEADLINE), self._sweep)
