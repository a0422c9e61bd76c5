import ssl
from datetime import UTC, datetime

import pytest

from tierline.model.errors import LinkError
from tierline.protocols.sep2.transport import HttpClient


class Clock:
    def now(self):
        return datetime(2026, 6, 18, 12, tzinfo=UTC)

    def deadline(self):
        return 0.0


class Network:
    """Nobody is there; who was asked for is remembered."""

    def __init__(self):
        self.asked = []

    async def open_tcp(self, host, port, tls=None):
        self.asked.append((host, port))
        raise LinkError("nobody is there")


def client(network, **more):
    context = ssl.create_default_context()
    return HttpClient(
        host="agg.example", port=9443, context=context, trust=None, clock=Clock(), network=network, **more
    )


async def test_a_client_with_an_address_never_asks_for_the_name():
    network = Network()
    with pytest.raises(LinkError):
        await client(network, address="192.0.2.7").request("POST", "/told", b"<x/>")
    assert network.asked == [("192.0.2.7", 9443)]


async def test_a_client_without_one_asks_for_its_host():
    network = Network()
    with pytest.raises(LinkError):
        await client(network).request("POST", "/told", b"<x/>")
    assert network.asked == [("agg.example", 9443)]
