import asyncio

import pytest

from tierline.env import RealNetwork
from tierline.model.errors import ConfigError
from tierline.scenario import addresses
from tierline.scenario.addresses import are_free, reserve

HOST = "127.0.0.1"


async def test_two_scenarios_never_share_a_block():
    first, second = await asyncio.gather(reserve(RealNetwork(), 3), reserve(RealNetwork(), 3))
    assert not set(first.ports) & set(second.ports)
    assert len(first.ports) == 3
    for block in (first, second):
        block.close()
        await block.mark.wait_closed()


async def test_a_block_with_a_port_in_use_is_stepped_over():
    first = await reserve(RealNetwork(), 3)
    first.close()
    await first.mark.wait_closed()
    server = await RealNetwork().serve(asyncio.Protocol, HOST, first.ports[1])
    assert not await are_free(RealNetwork(), first.ports)
    second = await reserve(RealNetwork(), 3)
    assert second.ports[0] > first.ports[-1]
    for listening in (server, second.mark):
        listening.close()
        await listening.wait_closed()


async def test_it_is_said_when_there_is_none(monkeypatch):
    monkeypatch.setattr(addresses, "BLOCKS", range(0))
    with pytest.raises(ConfigError, match="no 3 free ports"):
        await reserve(RealNetwork(), 3)
