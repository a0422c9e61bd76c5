"""The simulated network at byte level: streams between listeners and callers, for depth where messages give breadth.

A stream is what TCP makes of the link's faults: bytes arrive in order, late, in pieces, after a stall, or the
connection breaks. There is no TLS in it; a stream opened with a TLS context carries the two certificates alone, so that
code which asks a connection who is at its other end works as it does over TLS.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any
from zlib import crc32

from tierline.model.errors import ConfigError, LinkError
from tierline.sim.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextvars import Context

    from tierline.sim.loop import VirtualLoop
    from tierline.sim.network import Links, Record

STALL_S = 60.0
"""How long bytes wait at a closed link before the connection breaks."""
CONNECT_S = 20.0
"""How long a caller waits for an answer to its first packet."""
RETRANSMISSION_S = 1.0
"""What a lost packet costs (RFC 6298: the first retransmission after one second)."""
HIGH_WATER = 65_536
"""Bytes on the way above which the writer is told to pause, as asyncio's own transports do."""

_EOF = None


class SimTls:
    """What a TLS connection tells about itself, as far as a simulation knows it."""

    session_reused = False

    def __init__(self, peer_certificate: bytes) -> None:
        self._peer_certificate = peer_certificate

    def getpeercert(self, binary_form: bool = False) -> bytes | None:  # noqa: FBT001, FBT002 - the signature of ssl
        """Give the certificate of the other end; only the DER form exists."""
        if not binary_form:
            raise NotImplementedError("a simulated TLS connection has certificates in DER form only")
        return self._peer_certificate or None


class SimServer:
    """A listener on the simulated network."""

    def __init__(self, streams: Streams, name: str, port: int) -> None:
        self._streams = streams
        self._name = name
        self._port = port

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    def close(self) -> None:
        """Stop listening; connections that are open stay open."""
        self._streams.stop_listening(self._name, self._port)

    async def wait_closed(self) -> None:
        """Wait for nothing: closing takes no time here."""
        await asyncio.sleep(0)


class _Listener:
    def __init__(self, protocol: Callable[[], asyncio.Protocol], context: Context, *, is_tls: bool) -> None:
        self.protocol = protocol
        self.context = context
        self.is_tls = is_tls


class Streams:
    """All listeners and connections of a world."""

    def __init__(self, loop: VirtualLoop, links: Links, record: Record) -> None:
        self.loop = loop
        self.links = links
        self.record = record
        self.certificates: dict[str, bytes] = {}
        """The certificate, in DER form, that each node shows."""
        self._listeners: dict[tuple[str, int], _Listener] = {}
        self._open: dict[str, dict[SimTransport, None]] = {}
        self._next_port = 49_152  # the first dynamic port, RFC 6335 section 6

    def listen(
        self, name: str, port: int, protocol: Callable[[], asyncio.Protocol], context: Context, *, is_tls: bool
    ) -> SimServer:
        """Let a node listen; its protocols run in `context`.

        Raises: ConfigError when the port is taken.
        """
        if port == 0:
            port = self._next_port
            self._next_port += 1
        if (name, port) in self._listeners:
            raise ConfigError(f"cannot listen on {name} port {port}: something else uses the port")
        self._listeners[name, port] = _Listener(protocol, context, is_tls=is_tls)
        return SimServer(self, name, port)

    def stop_listening(self, name: str, port: int) -> None:
        """Forget a listener."""
        self._listeners.pop((name, port), None)

    async def connect(
        self, source: str, target: str, port: int, context: Context, *, is_tls: bool
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a stream from one node to another.

        Raises: LinkError.
        """
        await self._reach(source, target)
        listener = self._listeners.get((target, port))
        if listener is None:
            raise LinkError(f"cannot reach {target} port {port}: Connection refused")
        if listener.is_tls != is_tls:
            raise LinkError(f"no TLS with {target} port {port}: one end speaks it, the other does not")
        reader = asyncio.StreamReader(loop=self.loop)
        calling = asyncio.StreamReaderProtocol(reader, loop=self.loop)
        near = SimTransport(self, source, target, calling, context, is_tls=is_tls)
        far_context = listener.context.copy()
        answering = far_context.run(listener.protocol)
        far = SimTransport(self, target, source, answering, far_context, is_tls=is_tls)
        near.peer, far.peer = far, near
        for side in (near, far):
            self._open.setdefault(side.name, {})[side] = None
            side.context.run(side.protocol.connection_made, side)
        return reader, asyncio.StreamWriter(near, calling, reader, self.loop)

    async def _reach(self, source: str, target: str) -> None:
        faults, random = self.links.behaviour(source, target)
        await asyncio.sleep(2 * random.fraction() * faults.latency_s[1])
        blockage = self.links.blockage(source, target) or self.links.blockage(target, source)
        if blockage is None:
            return
        self.links.faults[blockage] += 1
        if blockage is not Fault.CUT:
            await asyncio.sleep(CONNECT_S)
        raise LinkError(f"cannot reach {target}: {'No route to host' if blockage is Fault.CUT else 'timed out'}")

    def die(self, name: str) -> None:
        """Drop all that a dead node had open; its own protocols hear nothing, the others see a reset."""
        for key in [key for key in self._listeners if key[0] == name]:
            del self._listeners[key]
        for side in list(self._open.get(name, ())):
            side.vanish()

    def forget(self, side: SimTransport) -> None:
        """Take a connection off the books."""
        self._open[side.name].pop(side, None)


class SimTransport(asyncio.Transport):
    """One end of a stream."""

    peer: SimTransport

    def __init__(
        self, streams: Streams, name: str, other: str, protocol: asyncio.Protocol, context: Context, *, is_tls: bool
    ) -> None:
        extra: dict[str, Any] = {"peername": (other, 0), "sockname": (name, 0)}
        if is_tls:
            extra["ssl_object"] = SimTls(streams.certificates.get(other, b""))
        super().__init__(extra)
        self.name = name
        self.other = other
        self.protocol = protocol
        self.context = context
        self._streams = streams
        self._loop = streams.loop
        self._links = streams.links
        self._pipe: deque[bytes | None] = deque()
        self._in_flight = 0
        self._last_arrival_s = 0.0
        self._stalled_since_s: float | None = None
        self._inbox: deque[bytes | None] = deque()
        self._is_reading = True
        self._is_writer_paused = False
        self._is_closing = False
        self._is_lost = False
        self._high_water = HIGH_WATER

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; they are cut, delayed or lost together with the connection as the link's faults say."""
        if self._is_closing or not data:
            return
        faults, random = self._links.behaviour(self.name, self.other)
        if random.fraction() < faults.reset:
            self._links.faults[Fault.RESET] += 1
            self._break(_reset())
            return
        delay_s = faults.latency_s[0] + (faults.latency_s[1] - faults.latency_s[0]) * random.fraction()
        if random.fraction() < faults.loss:
            self._links.faults[Fault.LOSS] += 1
            delay_s += RETRANSMISSION_S
        if random.fraction() < faults.delay:
            self._links.faults[Fault.DELAY] += 1
            delay_s += faults.held_back_s[0] + (faults.held_back_s[1] - faults.held_back_s[0]) * random.fraction()
        cut = random.fraction() < faults.split and len(data) > 1
        if cut:
            self._links.faults[Fault.SPLIT] += 1
        middle = random.between(1, len(data) - 1) if cut else len(data)
        for piece in (bytes(data[:middle]), bytes(data[middle:])):
            if piece:
                self._send(piece, delay_s)
                delay_s += 0.01
        if self._in_flight > self._high_water and not self._is_writer_paused:
            self._is_writer_paused = True
            self.protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send several pieces as one."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """Tell that one direction can be closed alone."""
        return True

    def write_eof(self) -> None:
        """Tell the other end that nothing more comes."""
        if not self._is_closing:
            self._send(_EOF, 0.0)

    def is_closing(self) -> bool:
        """Tell whether it is closed or about to be."""
        return self._is_closing

    def close(self) -> None:
        """Close after what was written has gone out."""
        if self._is_closing:
            return
        self._send(_EOF, 0.0)
        self._is_closing = True
        self._loop.call_soon(self._lose, None, context=self.context)

    def abort(self) -> None:
        """Close at once; what has not arrived yet is lost."""
        self._break(None)

    def pause_reading(self) -> None:
        """Keep what arrives until reading resumes."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Hand over what was kept."""
        self._is_reading = True
        self._loop.call_soon(self._hand_over, context=self.context)

    def is_reading(self) -> bool:
        """Tell whether what arrives is handed over."""
        return self._is_reading and not self._is_closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Say above how many bytes on the way the writer pauses."""
        del low  # the writer resumes at half of it
        self._high_water = HIGH_WATER if high is None else high

    def get_write_buffer_size(self) -> int:
        """Tell how many bytes are on the way."""
        return self._in_flight

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Give the protocol at this end."""
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Put another protocol at this end."""
        assert isinstance(protocol, asyncio.Protocol)
        self.protocol = protocol

    def vanish(self) -> None:
        """Be the connection of a node that died: no callback here, a reset at the other end."""
        self._is_closing = self._is_lost = True
        self._streams.forget(self)
        self._loop.call_later(0.01, self.peer.break_from_afar, context=self.peer.context)

    def break_from_afar(self) -> None:
        """Notice that the other end is gone."""
        self._is_closing = True
        self._pipe.clear()
        self._lose(_reset())

    def _send(self, piece: bytes | None, delay_s: float) -> None:
        self._pipe.append(piece)
        self._in_flight += len(piece or b"")
        # Never before the piece in front; each arrival takes the foremost piece, so equal times do no harm either.
        self._last_arrival_s = max(self._last_arrival_s, self._loop.time() + delay_s)
        self._loop.call_at(self._last_arrival_s, self._arrive, context=self.peer.context)

    def _arrive(self) -> None:
        if not self._pipe:
            return
        blockage = self._links.blockage(self.name, self.other)
        if blockage is not None:
            self._stall(blockage)
            return
        self._stalled_since_s = None
        piece = self._pipe.popleft()
        self._in_flight -= len(piece or b"")
        if self._is_writer_paused and self._in_flight <= self._high_water // 2:
            self._is_writer_paused = False
            self._loop.call_soon(self._resume_writer, context=self.context)
        what = "end" if piece is None else f"{len(piece)} bytes {crc32(piece):08x}"
        self._streams.record(self.peer.name, f"{what} < {self.name}")
        self.peer.receive(piece)

    def _stall(self, blockage: Fault) -> None:
        if self._stalled_since_s is None:
            self._stalled_since_s = self._loop.time()
            self._links.faults[blockage] += 1
        if self._loop.time() - self._stalled_since_s > STALL_S:
            self._break(_reset())
        else:
            self._loop.call_later(RETRANSMISSION_S, self._arrive, context=self.peer.context)

    def receive(self, piece: bytes | None) -> None:
        """Take what arrived from the other end."""
        if self._is_closing:
            if self._is_lost and piece is not _EOF:  # as a kernel does for a socket that nobody reads any more
                self._loop.call_later(0.01, self.peer.break_from_afar, context=self.peer.context)
            return
        self._inbox.append(piece)
        self._hand_over()

    def _hand_over(self) -> None:
        while self._inbox and self._is_reading and not self._is_closing:
            piece = self._inbox.popleft()
            if piece is not _EOF:
                self.protocol.data_received(piece)
            elif not self.protocol.eof_received():
                self.close()

    def _resume_writer(self) -> None:
        if not self._is_lost:
            self.protocol.resume_writing()

    def _break(self, why: OSError | None) -> None:
        if self._is_lost:
            return
        self._is_closing = True
        self._pipe.clear()
        self._in_flight = 0
        self._loop.call_soon(self._lose, why, context=self.context)
        self._loop.call_later(0.01, self.peer.break_from_afar, context=self.peer.context)

    def _lose(self, why: Exception | None) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._streams.forget(self)
            self._streams.record(self.name, f"connection with {self.other} {'closed' if why is None else 'lost'}")
            self.protocol.connection_lost(why)


def _reset() -> ConnectionResetError:
    return ConnectionResetError("Connection reset by peer")
