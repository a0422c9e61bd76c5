import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tierline.model.identity import Lfdi, PartyId
from tierline.model.parties import Principal, Role
from tierline.model.records import DerInfoKind
from tierline.operations.serving import registry, telemetry
from tierline.operations.serving.groups import create_group
from tierline.operations.serving.members import Members, Told
from tierline.operations.serving.topology import find_group


@pytest.fixture
def read():
    """Read documents that are JSON here; counts how often."""

    def reading(kind, document):
        reading.calls += 1
        said = json.loads(document)
        functions = said.pop("functions", None)
        return Told(
            values={name: Decimal(value) for name, value in said.items()},
            functions=None if functions is None else frozenset(functions),
        )

    reading.calls = 0
    return reading


@pytest.fixture
def of(serving, clock, read):
    """Look a DER up by its service point."""
    members = Members(serving, read, offer=lambda _: Decimal("0.1"))

    def look(point, group="system"):
        found = members.of(find_group(serving, group).group.id, clock.now(), timedelta(minutes=15))
        return next((one for one in found.values() if serving.devices[one.der_id].service_point == point), None)

    return look


@pytest.fixture
def say(serving, der):
    async def put(point, kind, **said):
        device = der(point)
        lfdi = serving.lfdi_of[device.der_id]
        who = Principal(party=serving.party, role=Role.DEVICE, name=lfdi, lfdi=lfdi)
        await telemetry.put_info(who, serving, device.der_id, kind, json.dumps(said).encode())

    return put


def test_who_said_nothing_is_rated_by_its_service_point_and_may_do_anything(of):
    member = of("pv-2")
    assert (member.rating_w, member.absorb_w, member.functions, member.can_be_set) == (20_000, 0, None, True)
    assert (member.measured_w, member.available_w, member.price) == (None, None, Decimal("0.1"))


async def test_settings_come_before_ratings_and_ratings_before_the_grid(of, say, clock, read):
    await say("pv-1", DerInfoKind.CAPABILITY, rtg_max_w=12_000, functions=["target_w", "connect"])
    assert of("pv-1").rating_w == 12_000
    await say("pv-1", DerInfoKind.SETTINGS, set_max_w=9000, functions=["connect"])
    member = of("pv-1")
    assert (member.rating_w, member.functions, member.can_be_set) == (9000, {"connect"}, False)
    calls = read.calls
    of("pv-1")
    assert read.calls == calls, "each document is read once"
    clock.move(seconds=1)
    await say("pv-1", DerInfoKind.SETTINGS, set_max_w=8000)
    assert of("pv-1").rating_w == 8000
    assert of("pv-1").functions == {"target_w", "connect"}


async def test_what_is_available_counts_while_the_der_is_heard(of, say, measure, clock):
    await say("pv-1", DerInfoKind.AVAILABILITY, stat_w_avail=4000)
    assert of("pv-1").available_w is None
    await measure("pv-1", "w", 3000)
    assert (of("pv-1").measured_w, of("pv-1").available_w) == (3000, 4000)
    assert of("pv-1").share().most_w == 4000
    clock.move(minutes=16)
    assert (of("pv-1").measured_w, of("pv-1").available_w) == (None, None)


async def test_who_can_only_be_limited_absorbs_nothing_and_who_cannot_be_told_gets_nothing(of, say):
    await say("pv-1", DerInfoKind.CAPABILITY, rtg_max_charge_rate_w=5000, functions=["max_lim_w_pct"])
    share = of("pv-1").share()
    assert (share.rating_w, share.absorb_w) == (10_000, 0)
    assert of("pv-1").can_be_set
    await say("pv-2", DerInfoKind.CAPABILITY, rtg_max_charge_rate_w=5000, functions=["connect"])
    assert not of("pv-2").can_be_set


async def test_who_is_shut_out_or_is_no_der_is_no_member(of, serving, operator, der):
    await registry.enable(operator, serving, "pv-1", enabled=False)
    assert of("pv-1") is None
    await serving.commit([replace(der("pv-2"), aggregates=PartyId("sunny"))])
    assert of("pv-2") is None


async def test_who_hangs_nowhere_and_said_nothing_is_rated_nothing(serving, operator, clock, read):
    await registry.register(operator, serving, [registry.NewDevice(lfdi=Lfdi("EE" * 20))])
    record = await create_group(operator, serving, "all", everybody=True)
    members = Members(serving, read).of(record.group.id, clock.now(), timedelta(minutes=15)).values()
    assert len(members) == 5
    (unknown,) = [member for member in members if not member.rating_w]
    assert not unknown.can_be_set
    assert {member.price for member in members} == {None}
