import asyncio
from dataclasses import dataclass, field

import pytest

from tierline.model.errors import LinkError, PeerError
from tierline.protocols.sunspec.link import Endpoint, ModbusLink, Patience
from tierline.protocols.sunspec.modbus import ExceptionCode, Function, ModbusFault


@dataclass
class Registers:
    """A device that is nothing but registers."""

    data: bytearray = field(default_factory=lambda: bytearray(range(256)) * 4)
    fault: int = 0
    single_only: bool = False

    def read(self, address, count):
        if self.fault:
            raise ModbusFault(self.fault)
        return bytes(self.data[2 * address : 2 * (address + count)])

    def write(self, address, data):
        if self.single_only and len(data) > 2:
            raise ModbusFault(ExceptionCode.ILLEGAL_FUNCTION)
        self.data[2 * address : 2 * address + len(data)] = data


@pytest.fixture
def registers(bench):
    bench.unit = Registers()
    return bench.unit


@pytest.fixture
def link(bench, registers):
    return ModbusLink(
        bench.network,
        Endpoint(host="inverter"),
        deadline=bench.clock.deadline,
        fraction=lambda: 0.5,
        patience=Patience(connect_s=0.1, request_s=0.05, backoff_first_s=1.0, backoff_most_s=8.0),
    )


def at(bench, number, action):
    """Interfere with one request, counted from the next."""
    first = len(bench.network.requests)
    bench.network.interfere = lambda seen, _frame: action if seen - first == number else bench.PASS


async def test_a_long_read_takes_as_few_requests_as_the_protocol_allows(bench, link, registers):
    assert await link.read(0, 250) == bytes(registers.data[:500])
    assert len(bench.network.requests) == 2
    await link.close()


async def test_one_request_is_outstanding_at_a_time(bench, link, registers):
    outstanding = []
    bench.network.interfere = lambda _seen, _frame: bench.SLOW
    original = link._machine

    async def read(address):
        await link.read(address, 1)
        outstanding.append(address)

    async with asyncio.TaskGroup() as group:
        for address in range(4):
            group.create_task(read(address))
    assert outstanding == [0, 1, 2, 3]
    assert link._machine is not original
    await link.close()


async def test_a_request_without_reply_ends_in_a_link_error_and_the_next_connects_anew(bench, link, registers):
    await link.read(0, 1)
    at(bench, 0, bench.DROP)
    with pytest.raises(LinkError, match=r"inverter:502 unit 1 did not answer within 0\.05 s"):
        await link.read(0, 1)
    assert await link.read(0, 1) == b"\0\1"
    assert bench.network.opened == 2
    await link.close()


@pytest.mark.parametrize("action", ["close", "close after"])
async def test_a_lost_connection_is_a_link_error_and_the_next_connects_anew(bench, link, registers, action):
    await link.read(0, 1)
    at(bench, 0, action)
    with pytest.raises(LinkError, match="was lost"):
        await link.read(0, 1)
    assert await link.read(0, 1) == b"\0\1"
    await link.close()


async def test_an_idle_connection_that_the_device_closed_is_replaced_before_it_is_used(bench, link, registers):
    await link.read(0, 1)
    bench.network.ends[0].close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await link.read(0, 1) == b"\0\1"
    assert bench.network.opened == 2
    await link.close()


async def test_garbage_is_the_peers_fault_and_the_next_connects_anew(bench, link, registers):
    at(bench, 0, bench.GARBAGE)
    with pytest.raises(PeerError, match="protocol identifier"):
        await link.read(0, 1)
    assert await link.read(0, 1) == b"\0\1"
    await link.close()


async def test_a_stray_byte_behind_a_reply_costs_a_connection_but_no_reply(bench, link, registers):
    at(bench, 0, bench.STRAY)
    assert await link.read(0, 1) == b"\0\1"
    await asyncio.sleep(0)
    assert await link.read(1, 1) == b"\2\3"
    await link.close()


async def test_a_cancelled_request_leaves_no_reply_for_the_next(bench, link, registers):
    await link.read(0, 1)
    at(bench, 0, bench.SLOW)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.005):
            await link.read(0, 1)
    assert await link.read(1, 1) == b"\2\3"
    assert bench.network.opened == 2
    await link.close()


async def test_a_refusal_is_the_peers_word_and_keeps_the_connection(bench, link, registers):
    registers.fault = ExceptionCode.ILLEGAL_DATA_ADDRESS
    with pytest.raises(ModbusFault, match=r"refused a read of registers 5\.\.6") as fault:
        await link.read(5, 2)
    assert fault.value.code == 2
    registers.fault = 0
    await link.read(5, 2)
    assert bench.network.opened == 1
    await link.close()


@pytest.mark.parametrize("code", [5, 6, 10, 11])
async def test_a_refusal_that_passes_by_itself_is_a_link_error(link, registers, code):
    registers.fault = code
    with pytest.raises(LinkError, match=f"exception {code}"):
        await link.read(0, 1)
    await link.close()


async def test_a_device_that_knows_function_6_only_gets_single_registers(bench, link, registers):
    registers.single_only = True
    await link.write(3, b"abcd")
    assert registers.data[6:10] == b"abcd"
    assert [frame[7] for frame in bench.network.requests] == [Function.WRITE_MULTIPLE] + [Function.WRITE_SINGLE] * 2
    await link.close()


async def test_a_write_that_is_refused_says_which_registers(link, registers, monkeypatch):
    def refuse(_address, _data):
        raise ModbusFault(3)

    monkeypatch.setattr(registers, "write", refuse)
    with pytest.raises(ModbusFault, match=r"write of registers 7\.\.7.*illegal data value"):
        await link.write(7, b"\0\0")
    await link.close()


async def test_reconnecting_waits_longer_each_time_up_to_a_cap(bench, link):
    bench.network.reachable = False
    waits = []
    for _ in range(7):
        with pytest.raises(LinkError, match="nobody answers"):
            await link.read(0, 1)
        waits.append(link._not_before - bench.clock.monotonic)
        if waits[-1]:
            with pytest.raises(LinkError, match="the next attempt is due in"):
                await link.read(0, 1)
        bench.clock.monotonic = link._not_before
    assert waits == [0.0, 1.5, 3.0, 6.0, 6.0, 6.0, 6.0]
    bench.network.reachable = True
    await link.read(0, 1)
    assert link._failures == 0
    await link.close()


async def test_a_connection_that_does_not_come_about_is_a_link_error(bench, link, monkeypatch):
    async def never(*_args):
        await asyncio.sleep(10)

    monkeypatch.setattr(bench.network, "open_tcp", never)
    with pytest.raises(LinkError, match="took no connection"):
        await link.read(0, 1)


def test_a_link_is_patient_by_default(bench):
    link = ModbusLink(bench.network, Endpoint(host="x"), deadline=lambda: 0.0, fraction=lambda: 0.0)
    assert link._patience == Patience()
