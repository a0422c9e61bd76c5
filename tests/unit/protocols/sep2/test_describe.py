"""What a DER says of itself, put where the server wants it."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.model.records import DerInfoRecord
from tierline.operations.serving import registry
from tierline.ports import DeviceFacts

FACTS = DeviceFacts(
    manufacturer="maker",
    model="model",
    serial="1",
    version="2",
    nameplate={"rtg_max_w": Decimal(100_000)},
    settings={},
    functions=frozenset({"max_lim_w_pct"}),
)
STATUS = {"inverter_status": 4, "stat_w_avail": Decimal(5)}


async def described(above, facts=FACTS, status=STATUS):
    above.courier.log.clear()
    await above.north.describe(facts, status, above.bench.clock.now())
    return [path.rpartition("/")[2] for method, path in above.courier.log if method == "PUT"]


async def test_everything_is_described_at_first_and_then_what_changed(bench, above):
    await above.north.walk()
    assert await described(above) == ["dercap", "derg", "di", "ders", "dera"]
    assert {record.kind.value for record in bench.store.load(DerInfoRecord)} == {"dercap", "derg", "di", "ders", "dera"}
    assert await described(above) == []
    assert above.courier.log == []
    assert await described(above, status={"inverter_status": 5}) == ["ders", "dera"]
    faster = replace(FACTS, nameplate={"rtg_max_w": Decimal(90_000)})
    assert await described(above, faster, {"inverter_status": 5}) == ["dercap", "derg", "di"]


async def test_what_did_not_arrive_is_sent_again(above):
    await above.north.walk()
    own = above.bench.own("/der/1/ders")
    above.courier.instead[("PUT", own)] = LinkError("gone")
    with pytest.raises(LinkError):
        await described(above)
    del above.courier.instead[("PUT", own)]
    assert await described(above) == ["dercap", "derg", "di", "ders", "dera"]


async def test_a_server_that_takes_us_back_is_told_everything_again(bench, above):
    await above.north.walk()
    await described(above)
    await registry.enable(bench.OPERATOR, bench.state, above.lfdi, enabled=False)
    with pytest.raises(Forbidden):
        await above.north.walk()
    await registry.enable(bench.OPERATOR, bench.state, above.lfdi, enabled=True)
    await above.north.walk()
    assert await described(above) == ["dercap", "derg", "di", "ders", "dera"]


async def test_a_server_without_a_der_for_us_is_told_apart(bench, above, brought):
    await above.north.walk()
    above.courier.instead["GET"] = lambda _: brought(
        200, b'<DERList xmlns="urn:ieee:std:2030.5:ns" href="/der" all="0" results="0"/>'
    )
    with pytest.raises(PeerError, match="offers no DER for this device"):
        await described(above)


async def test_what_the_server_does_not_want_is_not_put(bench, above, brought):
    own = bench.own()
    above.courier.instead[("GET", f"{own}/der?s=0&l=255")] = lambda answer: brought(
        200, answer.body.replace(f'<DERAvailabilityLink href="{own}/der/1/dera"/>'.encode(), b"")
    )
    await above.north.walk()
    assert await described(above) == ["dercap", "derg", "di", "ders"]
