import asyncio
import ssl

import pytest

from tierline.env import RealNetwork
from tierline.model.errors import ConfigError, LinkError


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)
        self.transport.close()


async def test_bytes_go_there_and_back():
    network = RealNetwork()
    server = await network.serve(Echo, "127.0.0.1", 0, handshake_timeout_s=5.0)
    reader, writer = await network.open_tcp("127.0.0.1", server.port)
    writer.write(b"hello")
    assert await reader.read() == b"hello"
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


async def test_an_address_that_cannot_be_had_is_named():
    network = RealNetwork()
    server = await network.serve(Echo, "127.0.0.1", 0)
    with pytest.raises(ConfigError, match=rf"cannot listen on 127.0.0.1 port {server.port}"):
        await network.serve(Echo, "127.0.0.1", server.port)
    server.close()
    await server.wait_closed()
    with pytest.raises(LinkError, match=rf"cannot reach 127.0.0.1 port {server.port}"):
        await network.open_tcp("127.0.0.1", server.port)


async def test_a_peer_that_speaks_no_tls_is_a_link_error():
    network = RealNetwork()
    server = await network.serve(Echo, "127.0.0.1", 0)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with pytest.raises(LinkError, match=r"no TLS with 127.0.0.1"):
        await network.open_tcp("127.0.0.1", server.port, context)
    server.close()
    await server.wait_closed()
