"""One connection to one device: a request at a time, a deadline on each, and a new connection when one is lost.

A request that was cut short leaves the stream out of step, so it ends the connection. What the device holds is then
unknown: the caller reads back.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tierline.model.errors import LinkError, PeerError
from tierline.ports import Network
from tierline.protocols.sunspec import modbus
from tierline.protocols.sunspec.modbus import (
    MAX_READ,
    MAX_WRITE,
    ExceptionCode,
    Function,
    ModbusFault,
    Read,
    Refused,
    Registers,
    Reply,
    Request,
    Write,
)

_CHUNK: Final = 512
"""Bytes of one socket read; a frame has at most 260."""

_PASSING: Final = frozenset(
    {
        ExceptionCode.ACKNOWLEDGE,
        ExceptionCode.SERVER_DEVICE_BUSY,
        ExceptionCode.GATEWAY_PATH_UNAVAILABLE,
        ExceptionCode.GATEWAY_TARGET_FAILED,
    }
)
"""Refusals that pass by themselves (MODBUS V1.1b3, 7): the link is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a device answers."""

    host: str
    """Name or address."""
    port: int = 502
    """502, or 802 with TLS."""
    unit: int = 1
    """The Modbus unit identifier."""
    tls: ssl.SSLContext | None = None
    """Secure SunSpec Modbus when given."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port} unit {self.unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a link waits. All of it is unscaled time."""

    connect_s: float = 5.0
    """For a connection."""
    request_s: float = 3.0
    """For each reply."""
    backoff_first_s: float = 0.5
    """After the first failed connection; doubled with each further one."""
    backoff_most_s: float = 30.0
    """The cap of the backoff."""


class ModbusLink:
    """The asking side of one device, over streams of the network port."""

    def __init__(
        self,
        network: Network,
        endpoint: Endpoint,
        *,
        deadline: Callable[[], float],
        fraction: Callable[[], float],
        patience: Patience | None = None,
    ) -> None:
        self.endpoint = endpoint
        """Where the device answers."""
        self.connections = 0
        """How many there were so far, the present one included."""
        self._network = network
        self._deadline = deadline
        self._fraction = fraction
        self._patience = patience or Patience()
        self._lock = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._machine = modbus.Client()
        self._failures = 0
        self._not_before = 0.0

    async def read(self, address: int, count: int) -> bytes:
        """Read registers, in as few requests as the protocol allows.

        Raises: LinkError; ModbusFault when the device refuses; PeerError when it answers nonsense.
        """
        data = b""
        while len(data) < 2 * count:
            done = len(data) // 2
            some = min(MAX_READ, count - done)
            reply = await self._request(Read(unit=self.endpoint.unit, address=address + done, count=some))
            assert isinstance(reply, Registers)
            data += reply.data
        return data

    async def write(self, address: int, data: bytes) -> None:
        """Write registers that one request can carry; what the device then holds must be read back.

        A device that knows function 6 only gets one register after the other.
        Raises: LinkError; ModbusFault when the device refuses; PeerError when it answers nonsense.
        """
        assert len(data) <= 2 * MAX_WRITE
        try:
            await self._request(Write(unit=self.endpoint.unit, address=address, data=data))
        except ModbusFault as fault:
            if fault.code != ExceptionCode.ILLEGAL_FUNCTION:
                raise
            for index in range(len(data) // 2):
                register = data[2 * index : 2 * index + 2]
                single = Write(
                    unit=self.endpoint.unit, address=address + index, data=register, function=Function.WRITE_SINGLE
                )
                await self._request(single)

    async def close(self) -> None:
        """End the connection."""
        async with self._lock:
            self._drop()

    async def _request(self, request: Request) -> Reply:
        async with self._lock:
            reader, writer = await self._connected()
            try:
                async with asyncio.timeout(self._patience.request_s):
                    writer.write(self._machine.send(request))
                    reply = await self._reply(reader)
            except TimeoutError as error:
                self._failed()
                raise LinkError(f"{self.endpoint} did not answer within {self._patience.request_s} s") from error
            except (OSError, EOFError) as error:
                self._failed()
                raise LinkError(f"the connection to {self.endpoint} was lost: {error}") from error
            except BaseException:
                # Cancelled or out of step: no later request may read what belongs to this one.
                self._drop()
                raise
            self._failures = 0
            if not self._machine.is_usable:
                self._drop()
        if isinstance(reply, Refused):
            raise self._refusal(request, reply.code)
        return reply

    async def _reply(self, reader: asyncio.StreamReader) -> Reply:
        while True:
            data = await reader.read(_CHUNK)
            if not data:
                raise EOFError("closed by the device")
            if (reply := self._machine.receive(data)) is not None:
                return reply

    def _refusal(self, request: Request, code: int) -> LinkError | PeerError:
        what = f"{type(request).__name__.lower()} of registers {request.address}..{request.address + request.count - 1}"
        if code in _PASSING:
            return LinkError(f"{self.endpoint} is not ready for a {what}: exception {code}")
        fault = ModbusFault(code)
        return ModbusFault(code, f"{self.endpoint} refused a {what}: {fault}")

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None and not self._streams[1].is_closing():
            return self._streams
        self._drop()
        wait = self._not_before - self._deadline()
        if wait > 0:
            raise LinkError(f"{self.endpoint} is not reachable; the next attempt is due in {wait:.1f} s")
        try:
            async with asyncio.timeout(self._patience.connect_s):
                self._streams = await self._network.open_tcp(self.endpoint.host, self.endpoint.port, self.endpoint.tls)
        except TimeoutError as error:
            self._failed()
            raise LinkError(f"{self.endpoint} took no connection within {self._patience.connect_s} s") from error
        except LinkError:
            self._failed()
            raise
        self._machine = modbus.Client()
        self.connections += 1
        return self._streams

    def _failed(self) -> None:
        """Drop the connection and wait longer each time, with jitter so that a fleet does not return at once."""
        self._drop()
        most = min(self._patience.backoff_most_s, self._patience.backoff_first_s * 2**self._failures)
        # The first loss after a good reply is tried again at once: it is usually an idle connection that the device closed.
        wait = 0.0 if self._failures == 0 else most * (0.5 + 0.5 * self._fraction())
        self._failures = min(self._failures + 1, 16)
        self._not_before = self._deadline() + wait

    def _drop(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].transport.abort()
