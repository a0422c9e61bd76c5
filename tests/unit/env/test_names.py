import asyncio

import pytest

from tierline.env import look_up, names
from tierline.model.errors import LinkError


async def test_an_address_is_its_own_answer():
    assert await look_up("192.0.2.1") == ("192.0.2.1",)
    assert await look_up("2001:db8::1") == ("2001:db8::1",)


async def test_this_machine_has_a_name_and_each_address_comes_once():
    found = await look_up("localhost")
    assert set(found) <= {"127.0.0.1", "::1"}
    assert len(set(found)) == len(found) > 0


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".invalid", "a..b"])
async def test_a_name_nobody_knows_is_a_fault_of_the_network(host):
    with pytest.raises(LinkError, match="cannot be looked up"):
        await look_up(host)


async def test_a_look_up_that_takes_too_long_is_given_up(monkeypatch):
    async def never(*_args, **_more):
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    monkeypatch.setattr(names, "LOOK_UP_S", 0.01)
    with pytest.raises(LinkError, match="could not be looked up in"):
        await look_up("agg.example")
