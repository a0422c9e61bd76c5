"""A device and the link to it over a null modem: both faces in one loop, no sockets, faults on demand."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tierline.model.errors import ConfigError, LinkError
from tierline.model.identity import DerId
from tierline.protocols.sunspec.device import InverterType, standard_image
from tierline.protocols.sunspec.inverter import Adopted, Change, SunSpecInverter
from tierline.protocols.sunspec.link import Endpoint, Patience
from tierline.protocols.sunspec.modbus import Function
from tierline.protocols.sunspec.north import JournalEntry, NorthFace
from tierline.protocols.sunspec.south import Adopting, SunSpecDevice
from tierline.sim.loop import VirtualLoop


def pytest_asyncio_loop_factories(config, item):
    """Run these tests under virtual time: no deadline depends on how busy the machine is, and no sleep takes any."""
    return {"virtual": VirtualLoop}


PASS, DROP, CLOSE, CLOSE_AFTER, GARBAGE, STRAY, SLOW = (
    "pass",
    "drop",
    "close",
    "close after",
    "garbage",
    "stray",
    "slow",
)


class Pipe(asyncio.Transport):
    """One direction of a null modem: what is written here arrives at the other end on the next turn of the loop."""

    def __init__(self, deliver: Callable[[bytes], None], lose: Callable[[], None]) -> None:
        super().__init__()
        self._deliver = deliver
        self._lose = lose
        self._closing = False
        self.paused = False

    def write(self, data):
        if not self._closing and data:
            asyncio.get_running_loop().call_soon(self._deliver, bytes(data))

    def is_closing(self):
        return self._closing

    def close(self):
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._lose)

    abort = close

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False

    def get_extra_info(self, name, default=None):
        return default


@dataclass
class NullServer:
    port: int
    closed: bool = False

    def close(self):
        self.closed = True

    async def wait_closed(self):
        await asyncio.sleep(0)


@dataclass
class NullModem:
    """A network of one listener."""

    factory: Callable[[], asyncio.Protocol] | None = None
    reachable: bool = True
    opened: int = 0
    requests: list[bytes] = field(default_factory=list)
    interfere: Callable[[int, bytes], str] = lambda _number, _frame: PASS
    ends: list[Pipe] = field(default_factory=list)

    async def serve(self, protocol, host, port, *, tls=None, handshake_timeout_s=None):
        if port == 1:
            raise ConfigError("port 1 cannot be had")
        self.factory = protocol
        return NullServer(port=port or 5020)

    async def open_tcp(self, host, port, tls=None):
        await asyncio.sleep(0)
        if not self.reachable:
            raise LinkError("nobody answers")
        self.opened += 1
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        client = asyncio.StreamReaderProtocol(reader)
        server = self.factory()
        alive = [True]

        def lose():
            if alive[0]:
                alive[0] = False
                to_server._closing = to_client._closing = True
                server.connection_lost(None)
                client.connection_lost(None)

        def from_server(data):
            if alive[0]:
                client.data_received(data)

        def from_client(frame):
            if not alive[0]:
                return
            number = len(self.requests)
            self.requests.append(frame)
            match self.interfere(number, frame):
                case "drop":
                    return
                case "close":
                    lose()
                case "close after":
                    to_client._deliver = lambda _data: lose()
                    server.data_received(frame)
                case "garbage":
                    client.data_received(b"\x00\x00\x12\x34 this is not modbus")
                case "stray":
                    server.data_received(frame)
                    to_client.write(b"\x00")
                case "slow":
                    loop.call_later(0.02, lambda: alive[0] and server.data_received(frame))
                case _:
                    server.data_received(frame)

        to_server = Pipe(from_client, lose)
        to_client = Pipe(from_server, lose)
        self.ends.append(to_client)
        client.connection_made(to_server)
        server.connection_made(to_client)
        return reader, asyncio.StreamWriter(to_server, client, reader, loop)

    def writes(self) -> int:
        return sum(frame[7] in {Function.WRITE_SINGLE, Function.WRITE_MULTIPLE} for frame in self.requests)


@dataclass
class FixedClock:
    time: datetime = datetime(2026, 11, 24, tzinfo=UTC)
    monotonic: float = 0.0

    def now(self):
        return self.time

    def deadline(self):
        return self.monotonic

    async def sleep(self, civil_s):
        await asyncio.sleep(0)

    async def sleep_until(self, when):
        await asyncio.sleep(0)


class HalfRandom:
    def bits(self, n):
        return 0

    def between(self, low, high):
        return low

    def fraction(self):
        return 0.5


KIND = InverterType(
    manufacturer="Acme",
    model="X1",
    serial="000123",
    rated_w=Decimal(5000),
    rated_va=Decimal(5500),
    rated_var=Decimal(2400),
    charge_w=Decimal(5000),
    capacity_wh=Decimal(10000),
)


class Bench:
    """A simulated inverter and the link to it."""

    PASS, DROP, CLOSE, CLOSE_AFTER, GARBAGE, STRAY, SLOW = PASS, DROP, CLOSE, CLOSE_AFTER, GARBAGE, STRAY, SLOW

    def __init__(self, image=None, *, defers_adoption=False):
        self.changes: list[Change] = []
        self.journal: list[JournalEntry] = []
        self.network = NullModem()
        self.clock = FixedClock()
        self.inverter = SunSpecInverter(
            image or standard_image(KIND), on_change=self.changes.append, defers_adoption=defers_adoption
        )
        self.unit = self.inverter
        self.face = NorthFace({1: self}, journal=self.journal.append, mid_frame_s=0.05)
        self.network.factory = self.face.connection
        self.device = self.link_anew()

    def read(self, address, count):
        return self.unit.read(address, count)

    def write(self, address, data):
        self.unit.write(address, data)

    def link_anew(self, dead_man=None) -> SunSpecDevice:
        return SunSpecDevice(
            network=self.network,
            clock=self.clock,
            random=HalfRandom(),
            endpoint=Endpoint(host="inverter", port=502),
            der_id=DerId("abc"),
            patience=Patience(connect_s=0.2, request_s=0.05),
            adopting=Adopting(poll_s=0.005, most_s=0.04),
            dead_man=dead_man,
        )

    @property
    def adopted(self):
        return [change for change in self.changes if isinstance(change, Adopted)]


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def make_bench():
    return Bench


@pytest.fixture
def kind():
    return KIND


@pytest.fixture(scope="session")
def make_bench_anew():
    """Make a bench inside a property: the fixture itself holds no state."""
    return Bench
