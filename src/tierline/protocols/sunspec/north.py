"""The server face: one listener per simulated device, many in one process.

The bytes are read by the sans-IO machine; a device stands behind the narrow `DeviceModel`. Every write that arrives is
told to the journal with the bytes it came in, taken or refused.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, cast

from tierline.model.errors import PeerError
from tierline.ports import Network, Server
from tierline.protocols.sunspec import modbus
from tierline.protocols.sunspec.modbus import ExceptionCode, ModbusFault, Received, Refused, Registers, Write, Written

MID_FRAME_S: Final = 5.0
"""How long a frame may take to arrive, unscaled: a length larger than the bytes that follow must not hold a connection."""
MAX_CONNECTIONS: Final = 8
"""Connections to one device; further ones are closed at once."""


class DeviceModel(Protocol):
    """What stands behind one unit identifier."""

    def read(self, address: int, count: int) -> bytes:
        """Give registers.

        Raises: ModbusFault.
        """
        ...

    def write(self, address: int, data: bytes) -> None:
        """Take a write whole or not at all.

        Raises: ModbusFault.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One write as it arrived."""

    unit: int
    """The unit it addressed."""
    address: int
    """Its first register."""
    data: bytes
    """The registers."""
    raw: bytes
    """The frame as it came."""
    refusal: int
    """0 when it was taken, else the exception code it was answered with."""
    reason: str
    """Why it was refused."""


Journal = Callable[[JournalEntry], None]


def no_journal(_entry: JournalEntry) -> None:
    """Keep no journal."""


class NorthFace:
    """One simulated device on the network, with all its connections."""

    def __init__(
        self, units: Mapping[int, DeviceModel], *, journal: Journal = no_journal, mid_frame_s: float = MID_FRAME_S
    ) -> None:
        self._units = units
        self._journal = journal
        self._mid_frame_s = mid_frame_s
        self._connections: set[Connection] = set()
        self._server: Server | None = None

    async def listen(self, network: Network, host: str, port: int) -> int:
        """Listen; gives the port, useful when 0 was asked for.

        Raises: ConfigError when the address cannot be had.
        """
        self._server = await network.serve(self.connection, host, port)
        return self._server.port

    async def close(self) -> None:
        """Stop listening and end every connection."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for connection in list(self._connections):
            connection.abort()
        if server is not None:
            await server.wait_closed()

    def connection(self) -> "Connection":
        """Make the protocol of one connection."""
        return Connection(self, self._mid_frame_s)

    def admit(self, connection: "Connection") -> bool:
        """Count a connection in; False when there are too many."""
        if len(self._connections) >= MAX_CONNECTIONS:
            return False
        self._connections.add(connection)
        return True

    def release(self, connection: "Connection") -> None:
        """Count a connection out."""
        self._connections.discard(connection)

    def answer(self, received: Received) -> bytes:
        """Carry out one frame and give the bytes of its reply."""
        return modbus.reply_to(received, self._carry_out(received))

    def _carry_out(self, received: Received) -> modbus.Reply:
        request = received.request
        if isinstance(request, ExceptionCode):
            return Refused(code=request)
        try:
            device = self._device(request.unit)
            if isinstance(request, Write):
                device.write(request.address, request.data)
            else:
                return Registers(data=device.read(request.address, request.count))
        except ModbusFault as fault:
            self._note(received, request, fault.code, str(fault))
            return Refused(code=fault.code)
        self._note(received, request, 0, "")
        return Written(count=request.count)

    def _device(self, unit: int) -> DeviceModel:
        if unit not in self._units:
            raise ModbusFault(ExceptionCode.GATEWAY_TARGET_FAILED, f"there is no unit {unit}")
        return self._units[unit]

    def _note(self, received: Received, request: modbus.Request, refusal: int, reason: str) -> None:
        if isinstance(request, Write):
            entry = JournalEntry(
                unit=request.unit,
                address=request.address,
                data=request.data,
                raw=received.raw,
                refusal=refusal,
                reason=reason,
            )
            self._journal(entry)


class Connection(asyncio.Protocol):
    """The asyncio shell round the server machine."""

    def __init__(self, face: NorthFace, mid_frame_s: float) -> None:
        self._face = face
        self._mid_frame_s = mid_frame_s
        self._machine = modbus.Server()
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, or close it when the device has connections enough."""
        self._transport = cast("asyncio.Transport", transport)  # asyncio's own type is wider than what TCP gives
        if not self._face.admit(self):
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Let go."""
        self._face.release(self)
        self._disarm()
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Answer each whole frame; close on bytes that are not Modbus TCP."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._disarm()
        replies = bytearray()
        try:
            for received in self._machine.receive(data):
                replies += self._face.answer(received)
        except PeerError:
            transport.write(bytes(replies))
            transport.close()
            return
        if replies:
            transport.write(bytes(replies))
        if self._machine.is_mid_frame:
            self._deadline = asyncio.get_running_loop().call_later(self._mid_frame_s, self.abort)

    def pause_writing(self) -> None:
        """Read no more from a client that does not read its replies."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again."""
        if self._transport is not None:
            self._transport.resume_reading()

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
