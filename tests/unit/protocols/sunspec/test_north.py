import asyncio
import struct

import pytest

from tierline.model.errors import ConfigError
from tierline.protocols.sunspec import north
from tierline.protocols.sunspec.modbus import Client, Read, Refused, Registers, Write, Written
from tierline.protocols.sunspec.north import NorthFace

BASE = Read(unit=1, address=40000, count=2)


async def talk(bench, *requests):
    reader, writer = await bench.network.open_tcp("inverter", 502)
    client = Client()
    replies = []
    for request in requests:
        writer.write(client.send(request))
        reply = None
        while reply is None:
            reply = client.receive(await reader.read(512))
        replies.append(reply)
    writer.close()
    await asyncio.sleep(0)
    return replies


async def test_registers_are_read(bench):
    assert await talk(bench, BASE) == [Registers(data=b"SunS")]


async def test_a_read_outside_the_map_is_refused(bench):
    assert await talk(bench, Read(unit=1, address=0, count=1)) == [Refused(code=2)]


async def test_a_unit_that_is_not_there_is_refused(bench):
    assert await talk(bench, Read(unit=7, address=40000, count=2)) == [Refused(code=11)]


async def test_every_write_stands_in_the_journal_with_its_bytes(bench):
    model = bench.inverter.image.models[703]
    good = Write(unit=1, address=model.address + 2, data=b"\0\0")
    bad = Write(unit=1, address=model.address + 2, data=b"\0\7")
    assert await talk(bench, good, bad) == [Written(count=1), Refused(code=3)]
    taken, refused = bench.journal
    assert (taken.address, taken.data, taken.refusal) == (good.address, b"\0\0", 0)
    assert taken.raw == Client().send(good)
    assert (refused.refusal, refused.data) == (3, b"\0\7")
    assert "703.ES" in refused.reason


async def test_a_face_without_a_journal_serves_too(bench):
    bench.face = NorthFace({1: bench})
    bench.network.factory = bench.face.connection
    address = bench.inverter.image.models[703].address + 2
    assert await talk(bench, Write(unit=1, address=address, data=b"\0\0")) == [Written(count=1)]


async def test_an_unknown_function_is_answered(bench):
    reader, writer = await bench.network.open_tcp("inverter", 502)
    writer.write(struct.pack(">HHHBB", 1, 0, 2, 1, 0x2B))
    assert await reader.read(512) == struct.pack(">HHHBBB", 1, 0, 3, 1, 0xAB, 1)
    writer.close()
    await asyncio.sleep(0)


async def test_bytes_that_are_not_modbus_end_the_connection_after_the_replies_due(bench):
    reader, writer = await bench.network.open_tcp("inverter", 502)
    writer.write(Client().send(BASE) + b"GET / HTTP/1.1\r\n\r\n")
    data = await reader.read()
    assert data.endswith(b"SunS")
    writer.write(b"more")
    await asyncio.sleep(0)


async def test_a_frame_that_does_not_end_is_given_up(bench):
    reader, writer = await bench.network.open_tcp("inverter", 502)
    writer.write(b"\0\1\0\0\0\xfe\1\3")
    async with asyncio.timeout(1):
        assert await reader.read() == b""
    writer.close()


async def test_a_frame_in_pieces_is_answered(bench):
    reader, writer = await bench.network.open_tcp("inverter", 502)
    frame = Client().send(BASE)
    for byte in frame:
        writer.write(bytes((byte,)))
        await asyncio.sleep(0)
    assert (await reader.read(512)).endswith(b"SunS")
    await asyncio.sleep(0.1)
    assert not writer.is_closing()
    writer.close()
    await asyncio.sleep(0)


async def test_a_device_takes_no_more_than_its_connections(bench, monkeypatch):
    monkeypatch.setattr(north, "MAX_CONNECTIONS", 1)
    _first, first = await bench.network.open_tcp("inverter", 502)
    reader, second = await bench.network.open_tcp("inverter", 502)
    assert await reader.read() == b""
    second.close()
    first.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(await talk(bench, BASE)) == 1


async def test_a_client_that_does_not_read_its_replies_is_not_read_either(bench):
    _reader, writer = await bench.network.open_tcp("inverter", 502)
    (end,) = bench.network.ends
    (connection,) = bench.face._connections
    connection.pause_writing()
    assert end.paused
    connection.resume_writing()
    assert not end.paused
    writer.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    connection.pause_writing()
    connection.resume_writing()
    connection.abort()
    connection.data_received(b"late")


async def test_closing_a_face_ends_its_connections(bench):
    assert await bench.face.listen(bench.network, "127.0.0.1", 0) == 5020
    reader, _writer = await bench.network.open_tcp("inverter", 502)
    await bench.face.close()
    assert await reader.read() == b""
    await bench.face.close()


async def test_an_address_that_cannot_be_had_is_the_operators_to_change(bench):
    with pytest.raises(ConfigError):
        await bench.face.listen(bench.network, "127.0.0.1", 1)
