"""Reads of model 701 per CPU-second: our client and server against pymodbus, one connection and many devices.

Run: python benchmarks/bench_modbus.py [seconds per round] [rounds]. All on loopback; our servers run in a process of their
own, so that the clients are what is compared (a pymodbus server runs in this one). Interleaved rounds, medians. Only ratios within one run mean something.
"""

import asyncio
import resource
import statistics
import struct
import sys
import time
from decimal import Decimal

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from tierline.env.network import RealNetwork
from tierline.protocols.sunspec.codec import Layout, compile_layout
from tierline.protocols.sunspec.device import InverterType, standard_image
from tierline.protocols.sunspec.inverter import SunSpecInverter
from tierline.protocols.sunspec.link import Endpoint, ModbusLink
from tierline.protocols.sunspec.north import NorthFace

MANY = 100
KIND = InverterType(
    manufacturer="Acme",
    model="X1",
    serial="1",
    rated_w=Decimal(5000),
    rated_va=Decimal(5500),
    rated_var=Decimal(2400),
)
LAYOUT: Layout = compile_layout(701)


async def own_reader(port: int):
    link = ModbusLink(
        RealNetwork(), Endpoint(host="127.0.0.1", port=port), deadline=time.monotonic, fraction=lambda: 0.5
    )

    async def read() -> bytes:
        return await link.read(40070, LAYOUT.length)

    return read, link.close


async def pymodbus_reader(port: int):
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()

    async def read() -> bytes:
        first = await client.read_holding_registers(40070, count=125, device_id=1)
        second = await client.read_holding_registers(40195, count=LAYOUT.length - 125, device_id=1)
        return struct.pack(f">{LAYOUT.length}H", *first.registers, *second.registers)

    async def close() -> None:
        client.close()

    return read, close


async def rate(readers, seconds: float) -> float:
    """Read as often as possible on every connection; gives decoded reads per CPU-second of this process."""
    end = time.perf_counter() + seconds
    counts = [0] * len(readers)

    async def run(index: int, read) -> None:
        while time.perf_counter() < end:
            LAYOUT.decode(await read()).number("W")
            counts[index] += 1

    start = time.process_time()
    async with asyncio.TaskGroup() as group:
        for index, read in enumerate(readers):
            group.create_task(run(index, read))
    return sum(counts) / (time.process_time() - start)


async def listen() -> tuple[list[NorthFace], list[int]]:
    faces, ports = [], []
    for _ in range(MANY):
        face = NorthFace({1: SunSpecInverter(standard_image(KIND))})
        ports.append(await face.listen(RealNetwork(), "127.0.0.1", 0))
        faces.append(face)
    return faces, ports


async def serve() -> None:
    """Be the process of the servers: tell the ports, then wait to be ended."""
    _faces, ports = await listen()
    print(*ports, flush=True)
    await asyncio.Event().wait()


async def measure(seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    servers = await asyncio.create_subprocess_exec(sys.executable, __file__, "serve", stdout=asyncio.subprocess.PIPE)
    try:
        ports = [int(port) for port in (await servers.stdout.readline()).split()]
        results = await compare(ports, seconds, rounds)
    finally:
        servers.kill()
        await servers.wait()
    faces, ports = await listen()
    results[f"{MANY} devices read every 2 s"] = {"percent of a core": await fleet(ports)}
    for face in faces:
        await face.close()
    return {**results, **codec()}


async def compare(ports: list[int], seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    image = standard_image(KIND)
    registers = list(struct.unpack(f">{len(image.registers) // 2}H", image.registers))
    foreign = ModbusTcpServer(
        SimDevice(id=1, simdata=[SimData(address=40000, values=registers, datatype=DataType.REGISTERS)]),
        address=("127.0.0.1", 0),
    )
    await foreign.serve_forever(background=True)
    foreign_port = foreign.transport.sockets[0].getsockname()[1]

    cases = {
        "own client, own server, 1 connection": [await own_reader(ports[0])],
        "pymodbus client, own server, 1 connection": [await pymodbus_reader(ports[0])],
        "own client, pymodbus server, 1 connection": [await own_reader(foreign_port)],
        "pymodbus client, pymodbus server, 1 connection": [await pymodbus_reader(foreign_port)],
        f"own client, own server, {MANY} devices": [await own_reader(port) for port in ports],
        f"pymodbus client, own server, {MANY} devices": [await pymodbus_reader(port) for port in ports],
    }
    results: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, readers in cases.items():
            results[name].append(await rate([read for read, _ in readers], seconds))
    for name, values in results.items():
        print(f"{name:50} {statistics.median(values):8.0f} per CPU-s   {min(values):.0f} .. {max(values):.0f}")
    table = {name: {"reads per CPU-s": statistics.median(values)} for name, values in results.items()}
    for what in ("own server, 1 connection", f"own server, {MANY} devices"):
        pairs = zip(results[f"own client, {what}"], results[f"pymodbus client, {what}"], strict=True)
        ratio = statistics.median(own / other for own, other in pairs)
        print(f"ratio, {what}: {ratio:.2f}")
        table[f"own client, {what}"]["of pymodbus"] = ratio
    for readers in cases.values():
        for _, close in readers:
            await close()
    await foreign.shutdown()
    return table


async def fleet(ports) -> float:
    """Measure the load of reading every device each 2 s, both faces in this process."""
    readers = [await own_reader(port) for port in ports]
    for read, _ in readers:
        await read()
    used, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for _ in range(3):
        for read, _ in readers:
            await read()
        await asyncio.sleep(max(0.0, 2.0 - (time.perf_counter() - start) % 2.0))
    now = resource.getrusage(resource.RUSAGE_SELF)
    share = (now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime) / (time.perf_counter() - start)
    print(f"{len(ports)} devices read every 2 s, client and servers in one process: {100 * share:.1f} % of a core")
    for _, close in readers:
        await close()
    return 100 * share


def codec() -> dict[str, dict[str, float]]:
    data = standard_image(KIND).block(701).layout.encode({"W": Decimal(5), "W_SF": 0})
    count = 2000
    start = time.perf_counter()
    for _ in range(count):
        LAYOUT.decode(data)
    bare = (time.perf_counter() - start) / count
    start = time.perf_counter()
    for _ in range(count // 10):
        LAYOUT.decode(data).values()
    scaled = (time.perf_counter() - start) * 10 / count
    print(f"codec: decode {1e6 * bare:.1f} us, with every point scaled {1e6 * scaled:.0f} us")
    return {"decoding model 701": {"us": 1e6 * bare, "us with every point scaled": 1e6 * scaled}}


def main() -> dict[str, dict[str, float]]:
    """Print the table and return it."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 0.5
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    return asyncio.run(measure(seconds, rounds))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve())
    else:
        main()
