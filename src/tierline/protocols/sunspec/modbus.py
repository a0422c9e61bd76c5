"""Modbus TCP without I/O: bytes in, messages out, for both roles.

Two rules. A connection carries one request at a time, because many devices answer only the first of two. What cannot be
framed ends the connection with a PeerError; what can be framed but is wrong is answered with a Modbus exception.
Source: MODBUS Application Protocol V1.1b3 and MODBUS Messaging on TCP/IP V1.0b.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from tierline.model.errors import PeerError

MAX_READ: Final = 125
"""Registers of one read (V1.1b3, 6.3)."""
MAX_WRITE: Final = 123
"""Registers of one write (V1.1b3, 6.12)."""

_HEADER: Final = struct.Struct(">HHHB")
"""MBAP: transaction, protocol, length, unit (V1.0b, 3.1.3)."""
_ADDRESSED: Final = struct.Struct(">BHH")
_MAX_LENGTH: Final = 254
"""Unit and PDU: the PDU has at most 253 bytes (V1.1b3, 4.1)."""
_EXCEPTION_BIT: Final = 0x80


class Function(IntEnum):
    """The function codes that are spoken here."""

    READ_HOLDING = 3
    READ_INPUT = 4
    WRITE_SINGLE = 6
    WRITE_MULTIPLE = 16


class ExceptionCode(IntEnum):
    """Why a server refuses.

    Source: MODBUS Application Protocol V1.1b3, 7.
    """

    ILLEGAL_FUNCTION = 1
    ILLEGAL_DATA_ADDRESS = 2
    ILLEGAL_DATA_VALUE = 3
    SERVER_DEVICE_FAILURE = 4
    ACKNOWLEDGE = 5
    SERVER_DEVICE_BUSY = 6
    MEMORY_PARITY_ERROR = 8
    GATEWAY_PATH_UNAVAILABLE = 10
    GATEWAY_TARGET_FAILED = 11


class ModbusFault(PeerError):
    """A Modbus exception response: sent by a device model to refuse a request, or received from a device."""

    def __init__(self, code: int, message: str = "", *, path: str = "") -> None:
        self.code = code
        """The exception code as it stands on the wire."""
        super().__init__(message or f"Modbus exception {code} {_code_name(code)}", path=path)


def _code_name(code: int) -> str:
    return ExceptionCode(code).name.lower().replace("_", " ") if code in set(ExceptionCode) else "(not in the standard)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A request for registers."""

    unit: int
    """The unit identifier, 0..255."""
    address: int
    """The first register, from 0."""
    count: int
    """1..125."""
    function: Function = Function.READ_HOLDING
    """Holding or input registers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A request to change registers."""

    unit: int
    """The unit identifier, 0..255."""
    address: int
    """The first register, from 0."""
    data: bytes
    """1..123 registers, big-endian."""
    function: Function = Function.WRITE_MULTIPLE
    """One register or several."""

    @property
    def count(self) -> int:
        """Length in registers."""
        return len(self.data) // 2


Request = Read | Write


@dataclass(frozen=True, slots=True, kw_only=True)
class Registers:
    """The reply to a read."""

    data: bytes
    """The registers, big-endian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The reply to a write: the device says that it took the registers; only a read-back shows that it did."""

    count: int
    """How many registers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An exception response."""

    code: int
    """The exception code as it stands on the wire."""


Reply = Registers | Written | Refused


class Client:
    """The asking side of one connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._transaction = 0
        self._outstanding: Request | None = None
        self._is_usable = True

    @property
    def is_usable(self) -> bool:
        """False once the stream is out of step: the connection must be replaced."""
        return self._is_usable

    def send(self, request: Request) -> bytes:
        """Put a request into bytes; the next one waits for its reply.

        Raises: RuntimeError when one is outstanding or the stream is out of step; ValueError when the request is outside the protocol's limits.
        """
        if self._outstanding is not None or not self._is_usable:
            raise RuntimeError("one request at a time on a connection that is in step")
        pdu = _request_pdu(request)
        self._transaction = (self._transaction + 1) & 0xFFFF
        self._outstanding = request
        return _frame(self._transaction, request.unit, pdu)

    def receive(self, data: bytes) -> Reply | None:
        """Take bytes; return the reply once it is whole.

        Bytes behind the reply spoil the connection for the next request, not the reply.
        Raises: PeerError when they are no reply to the outstanding request.
        """
        self._buffer += data
        try:
            reply = self._take_reply()
        except PeerError:
            self._is_usable = False
            raise
        if reply is not None:
            self._outstanding = None
            self._is_usable = not self._buffer
        return reply

    def _take_reply(self) -> Reply | None:
        if self._outstanding is None:
            raise PeerError(f"bytes without a request: {self._buffer[:16].hex()}")
        frame = _take_frame(self._buffer)
        return None if frame is None else self._reply(self._outstanding, frame)

    def _reply(self, request: Request, frame: "_Frame") -> Reply:
        if frame.transaction != self._transaction:
            raise PeerError(f"transaction {frame.transaction} answers none; {self._transaction} is outstanding")
        if frame.unit != request.unit:
            raise PeerError(f"unit {frame.unit} answers a request to unit {request.unit}")
        return _read_reply(request, frame.pdu)


def _request_pdu(request: Request) -> bytes:
    if not (0 <= request.unit <= 255 and request.address >= 0 and request.address + request.count <= 0x10000):
        raise ValueError(f"unit or registers out of range: {request}")
    if isinstance(request, Read):
        if not 1 <= request.count <= MAX_READ or request.function not in {Function.READ_HOLDING, Function.READ_INPUT}:
            raise ValueError(f"1 to {MAX_READ} registers can be read at once: {request}")
        return _ADDRESSED.pack(request.function, request.address, request.count)
    if request.function is Function.WRITE_SINGLE and len(request.data) == 2:
        return struct.pack(">BH", request.function, request.address) + request.data
    if request.function is not Function.WRITE_MULTIPLE or len(request.data) % 2 or not 1 <= request.count <= MAX_WRITE:
        raise ValueError(f"1 to {MAX_WRITE} whole registers can be written at once: {request}")
    return (
        _ADDRESSED.pack(request.function, request.address, request.count) + bytes((len(request.data),)) + request.data
    )


def _read_reply(request: Request, pdu: bytes) -> Reply:
    if pdu[0] == request.function | _EXCEPTION_BIT:
        if len(pdu) != 2:
            raise PeerError(f"an exception response has 2 bytes, not {len(pdu)}: {pdu[:16].hex()}")
        return Refused(code=pdu[1])
    if pdu[0] != request.function:
        raise PeerError(f"function {pdu[0]} answers a request with function {int(request.function)}")
    if isinstance(request, Read):
        size = 2 * request.count
        if len(pdu) != 2 + size or pdu[1] != size:
            raise PeerError(
                f"{request.count} registers were asked for; the reply is {pdu[:16].hex()}… of {len(pdu)} bytes"
            )
        return Registers(data=pdu[2:])
    echo = _request_pdu(request)[:5]
    if pdu != echo:
        raise PeerError(f"the reply to a write repeats address and count {echo.hex()}, not {pdu[:16].hex()}")
    return Written(count=request.count)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    transaction: int
    unit: int
    pdu: bytes
    raw: bytes


def _frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    return _HEADER.pack(transaction, 0, len(pdu) + 1, unit) + pdu


def _take_frame(buffer: bytearray) -> _Frame | None:
    """Cut the first whole frame off the buffer.

    Raises: PeerError as soon as the header is impossible, so that no false length is waited for.
    """
    if len(buffer) >= 4 and (buffer[2] or buffer[3]):
        raise PeerError(
            f"protocol identifier {int.from_bytes(buffer[2:4], 'big')} is not Modbus (0)", path="MBAP.protocol"
        )
    if len(buffer) < _HEADER.size:
        return None
    transaction, _, length, unit = _HEADER.unpack_from(buffer)
    if not 2 <= length <= _MAX_LENGTH:
        raise PeerError(f"length {length} is outside 2..{_MAX_LENGTH}", path="MBAP.length")
    end = length + _HEADER.size - 1
    if len(buffer) < end:
        return None
    raw = bytes(buffer[:end])
    del buffer[:end]
    return _Frame(transaction=transaction, unit=unit, pdu=raw[_HEADER.size :], raw=raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One frame from a client."""

    transaction: int
    """To be repeated in the reply."""
    unit: int
    """The unit it addresses."""
    function: int
    """The function code, known here or not."""
    request: Request | ExceptionCode
    """The request, or why it cannot be one."""
    raw: bytes
    """The frame as it came."""


class Server:
    """The answering side of one connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def is_mid_frame(self) -> bool:
        """Whether a frame has begun and not ended: a deadline must bound that."""
        return bool(self._buffer)

    def receive(self, data: bytes) -> Iterator[Received]:
        """Take bytes and yield each whole frame.

        Raises: PeerError when they are not Modbus TCP: close the connection.
        """
        self._buffer += data
        while (frame := _take_frame(self._buffer)) is not None:
            yield Received(
                transaction=frame.transaction,
                unit=frame.unit,
                function=frame.pdu[0],
                request=_read_request(frame.unit, frame.pdu),
                raw=frame.raw,
            )


def reply_to(received: Received, reply: Reply) -> bytes:
    """Put the reply to a frame into bytes."""
    match reply:
        case Refused(code=code):
            pdu = bytes((received.function & ~_EXCEPTION_BIT | _EXCEPTION_BIT, code))
        case Registers(data=data):
            pdu = bytes((received.function, len(data))) + data
        case Written():
            # Function 6 repeats the register, function 16 address and count: both are the first five bytes (V1.1b3, 6.6, 6.12).
            pdu = received.raw[_HEADER.size : _HEADER.size + 5]
    return _frame(received.transaction, received.unit, pdu)


def _read_request(unit: int, pdu: bytes) -> Request | ExceptionCode:
    function = pdu[0]
    if function not in set(Function):
        return ExceptionCode.ILLEGAL_FUNCTION
    if len(pdu) < _ADDRESSED.size:
        return ExceptionCode.ILLEGAL_DATA_VALUE
    _, address, count = _ADDRESSED.unpack_from(pdu)
    rest = pdu[_ADDRESSED.size :]
    match Function(function):
        case Function.READ_HOLDING | Function.READ_INPUT as read:
            if rest or not 1 <= count <= MAX_READ:
                return ExceptionCode.ILLEGAL_DATA_VALUE
            request: Request = Read(unit=unit, address=address, count=count, function=read)
        case Function.WRITE_SINGLE as write:
            if rest:
                return ExceptionCode.ILLEGAL_DATA_VALUE
            request = Write(unit=unit, address=address, data=pdu[3:5], function=write)
        case Function.WRITE_MULTIPLE as write:
            if not 1 <= count <= MAX_WRITE or rest[:1] != bytes((2 * count,)) or len(rest) != 1 + 2 * count:
                return ExceptionCode.ILLEGAL_DATA_VALUE
            request = Write(unit=unit, address=address, data=rest[1:], function=write)
    if address + request.count > 0x10000:
        return ExceptionCode.ILLEGAL_DATA_ADDRESS
    return request
