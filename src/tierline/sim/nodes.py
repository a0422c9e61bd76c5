"""A simulated node: the machine that lasts, each life it lives on it, and what its program sees.

A dead life does nothing: its tasks are cancelled, and whatever their clean-up code tries through a port is refused.

Where a node can die. A node acts on the world only through its ports (clock, network, files, store), so a death
between two uses of a port looks to everybody like a death just before the later one: dying at the awaits of ports, and
before and after each commit, covers every death that can be told apart.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from tierline.sim.disk import CrashedError, Disk, DurableStore, SimFiles

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine
    from datetime import datetime

    from tierline.ports import Random, Store
    from tierline.sim.loop import VirtualClock, VirtualLoop, VirtualTask
    from tierline.sim.network import Handler, MessageNetwork
    from tierline.sim.streams import SimServer, Streams
    from tierline.sim.trace import Trace

    Ended = asyncio.Task[Any]  # Any: what the task returned belongs to whoever waits for it

T = TypeVar("T")

LIFE: ContextVar[Life | None] = ContextVar("LIFE", default=None)
"""Whose task is running; a task made by a task belongs to the same life."""

PATIENCE = 1000
"""How often a dead life may try a port before it is called a program that cannot be stopped."""


class Life:
    """One life of a node, from a start to a death."""

    def __init__(
        self, name: str, number: int, loop: VirtualLoop, die: Callable[[], None], ended: Callable[[Life, Ended], None]
    ) -> None:
        self.name = name
        self.number = number
        self.is_over = False
        self.dies_at: int | None = None
        """The await, counted from the start of this life, at which it dies."""
        self.awaits = 0
        self._loop = loop
        self._die = die
        self._ended = ended
        self._tasks: dict[VirtualTask[Any], None] = {}
        self._prune_at = 64
        self._refused = 0
        self.context = copy_context()
        self.context.run(LIFE.set, self)

    def pass_await(self) -> None:
        """Pass one of the points at which a node may die.

        Raises: CrashedError when it does, or has died before.
        """
        if self.is_over:
            self._refused += 1
            if self._refused > PATIENCE:
                # Not a CancelledError: something here swallows those, and would go round for ever.
                raise AssertionError(f"{self.name} goes on after its death: something swallows CancelledError")
            raise CrashedError(f"{self.name} is dead")
        self.awaits += 1
        if self.dies_at is not None and self.awaits >= self.dies_at:
            self._die()
            raise CrashedError(f"{self.name} died at await {self.awaits}")

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task that dies with this life."""
        task = self.context.run(self._loop.create_task, work)
        task.add_done_callback(lambda task: self._ended(self, task))
        return task

    def adopt(self, task: VirtualTask[Any]) -> None:
        """Take note of a task made by this life."""
        self._tasks[task] = None
        if len(self._tasks) > self._prune_at:
            self._tasks = {task: None for task in self._tasks if not task.done()}
            self._prune_at = 64 + 2 * len(self._tasks)
        if self.is_over:
            task.cancel()

    def end(self) -> None:
        """Cancel everything; the task that is running, if it is one of ours, ends by the CrashedError its port raises."""
        self.is_over = True
        running = asyncio.current_task(self._loop)
        for task in self._tasks:
            if task is not running and not task.done():
                task.cancel()

    def left_over(self) -> list[VirtualTask[Any]]:
        """Name the tasks that have not ended."""
        return [task for task in self._tasks if not task.done()]


class NodeClock:
    """The clock of a machine, as one life of its node sees it."""

    def __init__(self, life: Life, clock: VirtualClock) -> None:
        self._life = life
        self._clock = clock

    def now(self) -> datetime:
        """Tell the civil time as this machine believes it."""
        return self._clock.now()

    def deadline(self) -> float:
        """Tell the seconds of a clock that never jumps."""
        return self._clock.deadline()

    async def sleep(self, civil_s: float) -> None:
        """Sleep for civil seconds."""
        self._life.pass_await()
        await self._clock.sleep(civil_s)
        self._life.pass_await()

    async def sleep_until(self, when: datetime) -> None:
        """Sleep until this machine's clock shows `when`."""
        self._life.pass_await()
        await self._clock.sleep_until(when)
        self._life.pass_await()


class NodeNetwork:
    """Streams as one life of a node sees them; a host name is the name of a node, a loopback address is itself."""

    def __init__(self, life: Life, streams: Streams) -> None:
        self._life = life
        self._streams = streams

    async def open_tcp(
        self, host: str, port: int, tls: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a stream; with a TLS context it carries certificates, but is not encrypted.

        Raises: LinkError.
        """
        self._life.pass_await()
        target = self._life.name if host in {"127.0.0.1", "::1", "localhost"} else host
        context = self._life.context.copy()
        opened = await self._streams.connect(self._life.name, target, port, context, is_tls=tls is not None)
        self._life.pass_await()
        return opened

    async def serve(
        self,
        protocol: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        handshake_timeout_s: float | None = None,
    ) -> SimServer:
        """Listen on a port, whatever the address; there is no handshake to time out.

        Raises: ConfigError when the port is taken.
        """
        del host, handshake_timeout_s
        self._life.pass_await()
        return self._streams.listen(self._life.name, port, protocol, self._life.context, is_tls=tls is not None)


class Node:
    """What the program of a node is given at each start: ports, and nothing else."""

    def __init__(self, life: Life, clock: VirtualClock, random: Random, disk: Disk, network: Network) -> None:
        self.name = life.name
        self.life = life.number
        """1 for the first start, one more after each restart."""
        self.clock = NodeClock(life, clock)
        self.random = random
        """Other numbers in every life, as from an operating system."""
        self.disk = disk
        self.files = SimFiles(disk, random)
        self.network = NodeNetwork(life, network.streams)
        self._life = life
        self._messages = network.messages
        self._trace = network.trace

    async def call(self, target: str, request: Any, *, timeout_s: float = 30.0) -> Any:
        """Send a request to a node and wait for its response.

        Raises: LinkError; the request may have been carried out all the same, even twice.
        """
        self._life.pass_await()
        response = await self._messages.call(self.name, target, request, timeout_s=timeout_s)
        self._life.pass_await()
        return response

    def serve(self, handler: Handler) -> None:
        """Answer requests by `await handler(source, request)`, from now on until this life ends."""

        async def answer(source: str, request: Any) -> Any:
            self._life.pass_await()
            response = await handler(source, request)
            self._life.pass_await()
            return response

        self._messages.attach(self.name, answer, self._life.spawn)

    def store(self, make: Callable[[], Store]) -> DurableStore:
        """Give the node's store: the one that `make` made at the first start, with the faults of the disk round it."""
        return DurableStore(self.disk.keep("store", make), self.disk, self.random, self.clock.sleep)

    def record(self, what: str) -> None:
        """Add an event of this node to the trace."""
        if not self._life.is_over:
            self._trace.record(self.name, what)


class Network:
    """What the nodes of a world share."""

    def __init__(self, messages: MessageNetwork, streams: Streams, trace: Trace) -> None:
        self.messages = messages
        self.streams = streams
        self.trace = trace
