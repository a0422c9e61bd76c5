import asyncio
import contextlib

import pytest

from tierline.env import RealNetwork
from tierline.scenario.relay import Relay

HOST = "127.0.0.1"


class Echo(asyncio.Protocol):
    """A server that says everything twice."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data + data)

    def eof_received(self):
        self.transport.close()


@pytest.fixture
async def server():
    listening = await RealNetwork().serve(Echo, HOST, 0)
    yield listening
    listening.close()
    await listening.wait_closed()


class Line:
    """A gateway's connection through its relay."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def say(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def hear(self, count, within_s=2.0):
        async with asyncio.timeout(within_s):
            return await self.reader.readexactly(count)

    async def close(self):
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


async def connect(port):
    return Line(*await RealNetwork().open_tcp(HOST, port))


async def test_bytes_go_both_ways(server):
    async with asyncio.TaskGroup() as group:
        relay = Relay(group, RealNetwork(), HOST)
        line = await connect(await relay.listen("a", 0, server.port))
        await line.say(b"hello")
        assert await line.hear(10) == b"hellohello"
        await line.close()
        relay.close()


async def test_a_cut_is_a_black_hole_for_one_gateway_and_what_was_on_its_way_arrives_afterwards(server):
    async with asyncio.TaskGroup() as group:
        relay = Relay(group, RealNetwork(), HOST)
        first, second = (
            await connect(await relay.listen("a", 0, server.port)),
            await connect(await relay.listen("b", 0, server.port)),
        )
        for line in (first, second):
            await line.say(b"x")
            assert await line.hear(2) == b"xx"
        relay.cut(["a"])
        assert relay.cut_off == {"a"}
        await first.say(b"y")
        await second.say(b"y")
        assert await second.hear(2) == b"yy"
        with pytest.raises(TimeoutError):
            await first.hear(2, within_s=0.2)
        relay.restore(["a"])
        assert await first.hear(2) == b"yy"
        await first.close()
        await second.close()
        relay.close()


async def test_a_new_connection_is_refused_during_a_cut(server):
    async with asyncio.TaskGroup() as group:
        relay = Relay(group, RealNetwork(), HOST)
        port = await relay.listen("a", 0, server.port)
        relay.cut(["a"])
        line = await connect(port)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await line.hear(1)
        await line.close()
        relay.close()


async def test_without_a_server_the_gateway_sees_its_connection_end(server):
    server.close()
    await server.wait_closed()
    async with asyncio.TaskGroup() as group:
        relay = Relay(group, RealNetwork(), HOST)
        line = await connect(await relay.listen("a", 0, server.port))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await line.hear(1)
        await line.close()
        relay.close()


async def test_when_the_server_goes_the_connection_goes():
    connections = []

    class Server(asyncio.Protocol):
        def connection_made(self, transport):
            connections.append(transport)

    server = await RealNetwork().serve(Server, HOST, 0)
    async with asyncio.TaskGroup() as group:
        relay = Relay(group, RealNetwork(), HOST)
        line = await connect(await relay.listen("a", 0, server.port))
        await line.say(b"x")
        while not connections:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        connections[0].abort()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await line.hear(1)
        await line.close()
        relay.close()
    server.close()
    await server.wait_closed()
