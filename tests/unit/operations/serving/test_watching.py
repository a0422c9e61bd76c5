"""Which change touches which subscription, read off the state before the change."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tierline.model.control import Curve, CurvePoint, Setpoints
from tierline.model.errors import PeerError
from tierline.model.identity import Lfdi, Mrid, PartyId
from tierline.model.records import (
    CurveRecord,
    DefaultRecord,
    IdentityRecord,
    ProgramRecord,
    ReadingRecord,
)
from tierline.model.telemetry import Reading
from tierline.operations.serving import dispatch, programs, registry, telemetry, topology
from tierline.operations.serving.enrolment import remove
from tierline.operations.serving.state import Serving

CURVE = Curve(
    mrid=Mrid("0" * 32),
    points=(CurvePoint(x=Decimal(95), y=Decimal(44)), CurvePoint(x=Decimal(105), y=Decimal(-44))),
)
CONNECT = Setpoints.of({"connect": True})


class Everything:
    """Subscriptions of some EndDevices to all they see; tells which of them a change touches, by name."""

    def __init__(self, subscribing):
        self.subscribing = subscribing
        self.names = {}

    async def subscribe(self, name, device, *paths):
        for label, path in paths:
            record = await self.subscribing.subscribe(device, path)
            self.names[record.subscription_id] = f"{name} {label}"

    async def after(self, change):
        return {self.names[key] for key in await self.subscribing.told_of(change)}


def of_der(device, name):
    return [(f"{kind} {name}", f"{kind}/{device.der_id}") for kind in ("end_device", "assignments", "programs")]


def of_program(subscribing, group):
    program = subscribing.program(group)
    return [(f"{kind} {group}", f"{kind}/{program}") for kind in ("program", "controls", "default")]


@pytest.fixture
async def everything(subscribing, der):
    """pv-1 of feeder-1 and pv-3 of feeder-2 subscribe to all they see; so does `agg`, which stands for pv-2 of feeder-1."""
    watchers = Everything(subscribing)
    agg = await subscribing.aggregator(members=["pv-2"])
    lists = [("list", "end_devices")]
    await watchers.subscribe(
        "pv-1", der("pv-1"), *lists, *of_der(der("pv-1"), "pv-1"), *of_program(subscribing, "feeder-1")
    )
    await watchers.subscribe(
        "pv-3", der("pv-3"), *lists, *of_der(der("pv-3"), "pv-3"), *of_program(subscribing, "feeder-2")
    )
    await watchers.subscribe("agg", agg, *lists, *of_der(der("pv-2"), "pv-2"), *of_program(subscribing, "feeder-1"))
    return watchers


async def test_a_control_touches_the_controls_of_its_program(everything, serving, operator, send, clock):
    start = clock.now() + timedelta(hours=1)
    created = send("feeder-1", start=start, connect=True)
    assert await everything.after(created) == {"pv-1 controls feeder-1", "agg controls feeder-1"}
    (mrid,) = serving.programs[everything.subscribing.program("feeder-1")].controls
    cancelled = dispatch.cancel_control(operator, serving, mrid)
    assert await everything.after(cancelled) == {"pv-1 controls feeder-1", "agg controls feeder-1"}


async def test_active_controls_are_touched_by_what_is_active_or_would_be(
    subscribing, serving, operator, der, send, clock
):
    active = await subscribing.subscribe(der("pv-1"), f"active_controls/{subscribing.program('feeder-1')}")
    later = send("feeder-1", start=clock.now() + timedelta(hours=1), connect=True)
    assert await subscribing.told_of(later) == set()
    now = send("feeder-1", start=clock.now(), connect=True)
    assert await subscribing.told_of(now) == {active.subscription_id}
    controls = serving.programs[subscribing.program("feeder-1")].controls
    ahead, running = sorted(controls, key=lambda mrid: controls[mrid].control.interval.start, reverse=True)
    assert await subscribing.told_of(dispatch.cancel_control(operator, serving, ahead)) == set()
    assert await subscribing.told_of(dispatch.cancel_control(operator, serving, running)) == {active.subscription_id}
    gone = serving.commit(delete=[serving.control(running)])
    assert await subscribing.told_of(gone) == {active.subscription_id}


async def test_the_same_control_once_more_touches_nothing(everything, serving, send, clock):
    control = await send("feeder-1", start=clock.now() + timedelta(hours=1), connect=True)
    assert await everything.after(serving.commit([serving.control(control.mrid)])) == set()


async def test_a_control_that_is_forgotten_touches_nobody_once_it_has_left_its_list(everything, serving, send, clock):
    control = await send("feeder-1", start=clock.now() + timedelta(hours=1), duration_s=60, connect=True)
    clock.move(hours=1, seconds=71)
    assert await everything.after(serving.commit(delete=[serving.control(control.mrid)])) == set()


async def test_a_control_that_is_withdrawn_touches_its_list(everything, serving, send, clock):
    control = await send("feeder-2", start=clock.now() + timedelta(hours=1), connect=True)
    gone = serving.commit(delete=[serving.control(control.mrid)])
    assert await everything.after(gone) == {"pv-3 controls feeder-2"}


async def test_a_first_default_also_touches_where_it_is_linked(everything, serving, operator):
    group = topology.find_group(serving, "feeder-2").group.id
    first = programs.set_default(operator, serving, group, CONNECT)
    assert await everything.after(first) == {"pv-3 default feeder-2", "pv-3 program feeder-2", "pv-3 programs pv-3"}
    second = programs.set_default(operator, serving, group, Setpoints.of({"connect": False}))
    assert await everything.after(second) == {"pv-3 default feeder-2"}
    (record,) = serving.store.load(DefaultRecord)
    assert await everything.after(serving.commit([record])) == set()
    gone = serving.commit(delete=[record])
    assert await everything.after(gone) == {"pv-3 default feeder-2", "pv-3 program feeder-2", "pv-3 programs pv-3"}


async def test_a_curve_that_changes_touches_what_may_refer_to_it(everything, serving, operator):
    group = topology.find_group(serving, "feeder-2").group.id
    await programs.set_default(operator, serving, group, Setpoints.of({"volt_var": CURVE}))
    (record,) = serving.store.load(CurveRecord)
    changed = serving.commit([replace(record, curve=replace(record.curve, open_loop_s=Decimal(7)))])
    assert await everything.after(changed) == {"pv-3 default feeder-2", "pv-3 controls feeder-2"}


async def test_a_program_touches_the_assignments_of_its_members(everything, serving, clock):
    group = topology.find_group(serving, "feeder-1").group.id
    new = ProgramRecord(
        party=serving.party, mrid=Mrid("AB" * 16), group_id=group, primacy=1, description="", created_at=clock.now()
    )
    members = {f"{who} {kind}" for kind in ("assignments", "programs") for who in ("pv-1", "agg")}
    expected = {f"{name} {'pv-1' if name.startswith('pv-1') else 'pv-2'}" for name in members}
    assert await everything.after(serving.commit([new])) == expected
    assert await everything.after(serving.commit([new])) == set()
    assert await everything.after(serving.commit([replace(new, primacy=2)])) == expected
    assert await everything.after(serving.commit(delete=[new])) == expected


async def test_a_program_that_goes_touches_whatever_is_watched_of_it(everything, serving):
    record = serving.programs[everything.subscribing.program("feeder-2")].record
    assert await everything.after(serving.commit(delete=[record])) == {
        "pv-3 program feeder-2",
        "pv-3 controls feeder-2",
        "pv-3 default feeder-2",
        "pv-3 assignments pv-3",
        "pv-3 programs pv-3",
    }


async def test_what_a_device_is_touches_it_and_the_lists_it_stands_in(everything, subscribing):
    assert await everything.after(subscribing.touch("pv-1")) == {"pv-1 list", "pv-1 end_device pv-1"}
    assert await everything.after(subscribing.touch("pv-2")) == {"agg list", "agg end_device pv-2"}


async def test_a_new_device_touches_the_list_of_who_stands_for_it(everything, serving, operator):
    new = registry.NewDevice(lfdi=Lfdi("CC" * 20), service_point="pv-3", managed_by=PartyId("bright"))
    assert await everything.after(registry.register(operator, serving, [new])) == {"agg list"}


async def test_another_lfdi_touches_as_another_device_does(everything, serving, der, clock):
    renewed = IdentityRecord(
        party=serving.party, der_id=der("pv-2").der_id, lfdi=Lfdi("DD" * 20), valid_from=clock.now()
    )
    assert await everything.after(serving.commit([renewed])) == {"agg list", "agg end_device pv-2"}


async def test_a_device_that_changes_hands_touches_both_parties(everything, subscribing):
    other = await subscribing.aggregator("dim", "BB")
    await everything.subscribe("other", other, ("list", "end_devices"))
    assert await everything.after(subscribing.manage("pv-2", "dim")) == {
        "agg list",
        "other list",
        "agg end_device pv-2",
        "agg assignments pv-2",
        "agg programs pv-2",
        "agg program feeder-1",
        "agg controls feeder-1",
        "agg default feeder-1",
    }


async def test_a_device_that_is_taken_out_touches_who_stood_for_it(everything, serving, subscribing, der):
    agg = next(device for device in serving.devices.values() if device.aggregates)
    touched = await everything.after(remove(subscribing.principal(agg), serving, der("pv-2").der_id))
    assert touched == {
        "agg list",
        "agg end_device pv-2",
        "agg assignments pv-2",
        "agg programs pv-2",
        "agg program feeder-1",
        "agg controls feeder-1",
        "agg default feeder-1",
    }


async def test_a_device_that_is_shut_out_is_gone_for_all_it_watches(everything, serving, operator):
    touched = await everything.after(registry.enable(operator, serving, "pv-3", enabled=False))
    assert touched == {name for name in everything.names.values() if name.startswith("pv-3")}


async def test_a_device_record_that_goes_touches_like_one_shut_out(everything, serving, subscribing, der):
    touched = subscribing.all.consequence([], [der("pv-3")])
    names = {everything.names[notice.subscription_id] for notice in touched}
    assert names == {name for name in everything.names.values() if name.startswith("pv-3")}


async def test_a_switch_touches_who_moves_and_not_who_stays(everything, serving, operator):
    """Switch 2 lets pv-4 go, 3 ties it to feeder-1; switch 1 lets feeder-1 go."""
    assert await everything.after(topology.confirm_switching(operator, serving, {2: False, 3: True})) == set()
    touched = await everything.after(topology.confirm_switching(operator, serving, {1: False, 3: False}))
    assert {name for name in touched if name.startswith("pv-3")} == set()
    assert touched == {
        "pv-1 assignments pv-1",
        "pv-1 programs pv-1",
        "pv-1 program feeder-1",
        "pv-1 controls feeder-1",
        "pv-1 default feeder-1",
        "agg assignments pv-2",
        "agg programs pv-2",
        "agg program feeder-1",
        "agg controls feeder-1",
        "agg default feeder-1",
    }
    back = await everything.after(topology.confirm_switching(operator, serving, {1: True}))
    assert back == {"pv-1 assignments pv-1", "pv-1 programs pv-1", "agg assignments pv-2", "agg programs pv-2"}


async def test_who_still_stands_for_a_member_does_not_lose_the_program(everything, serving, operator, subscribing):
    await subscribing.manage("pv-1", "bright")
    leaving = registry.find_device(serving, "pv-2")
    moves = [
        topology.Move(der_id=leaving.der_id, leaves=(topology.find_group(serving, "feeder-1").group.id,), joins=())
    ]
    left = serving.commit(topology.membership_records(serving, moves, "test"))
    assert await everything.after(left) == {"agg assignments pv-2", "agg programs pv-2"}


async def test_a_control_point_is_told_who_comes_and_goes(clock, operator, subscribing, serving, restarted):
    again = restarted()
    served = Serving(
        party=again.party,
        store=again.store,
        clock=clock,
        random=again.random,
        pen=again.pen,
        grid=again.grid,
        control_points={"feeder-1": PartyId("substation")},
    )
    served.load()
    subscribing.restart(served)
    point = await subscribing.aggregator("substation", "BB")
    everything = Everything(subscribing)
    pv_4 = registry.find_device(served, "pv-4")
    await everything.subscribe("point", point, ("list", "end_devices"), *of_program(subscribing, "feeder-1"))
    coming = await everything.after(topology.confirm_switching(operator, served, {2: False, 3: True}))
    assert coming == {"point list"}
    new = [registry.NewDevice(lfdi=Lfdi("C7" * 20), service_point="pv-3")]
    assert await everything.after(registry.register(operator, served, new)) == {"point list"}, "it may come"
    nowhere = [registry.NewDevice(lfdi=Lfdi("C8" * 20))]
    assert await everything.after(registry.register(operator, served, nowhere)) == set()
    for enabled in (False, True):
        assert await everything.after(registry.enable(operator, served, pv_4.der_id, enabled=enabled)) == {"point list"}
    await everything.subscribe("point", point, *of_der(pv_4, "pv-4"))
    going = await everything.after(topology.confirm_switching(operator, served, {2: True, 3: False}))
    assert going == {"point list", "point end_device pv-4", "point assignments pv-4", "point programs pv-4"}
    back = await everything.after(topology.confirm_switching(operator, served, {2: False, 3: True}))
    assert back == going, "it is listed as before, with assignments"


async def test_another_control_point_is_not_told_of_assignments_that_it_is_not_shown(
    clock, operator, subscribing, serving, restarted
):
    again = restarted()
    served = Serving(
        party=again.party,
        store=again.store,
        clock=clock,
        random=again.random,
        pen=again.pen,
        grid=again.grid,
        control_points={"feeder-1": PartyId("west"), "feeder-2": PartyId("east")},
    )
    served.load()
    subscribing.restart(served)
    everything = Everything(subscribing)
    pv_1 = registry.find_device(served, "pv-1")
    for party, lfdi in (("west", "BA"), ("east", "BB")):
        point = await subscribing.aggregator(party, lfdi)
        kinds = ("end_device", "assignments") + (("programs",) if party == "west" else ())
        await everything.subscribe(party, point, *((kind, f"{kind}/{pv_1.der_id}") for kind in kinds))
    with pytest.raises(PeerError, match="cannot be subscribed to"):
        await subscribing.subscribe(point, f"programs/{pv_1.der_id}")
    group = topology.find_group(served, "feeder-1").group.id
    new = ProgramRecord(
        party=served.party, mrid=Mrid("AB" * 16), group_id=group, primacy=1, description="", created_at=clock.now()
    )
    assert await everything.after(served.commit([new])) == {"west assignments", "west programs"}
    touched = await everything.after(topology.confirm_switching(operator, served, {1: False}))
    assert touched == {"west assignments", "west programs", "west end_device"}


async def test_a_control_point_is_told_of_readings_until_the_der_leaves_it(
    clock, operator, subscribing, serving, restarted
):
    again = restarted()
    served = Serving(
        party=again.party, store=serving.store, clock=clock, random=again.random, pen=again.pen, grid=again.grid,
        control_points={"feeder-1": PartyId("west"), "feeder-2": PartyId("east")},
    )  # fmt: skip
    served.load()
    subscribing.restart(served)
    everything = Everything(subscribing)
    der = registry.find_device(served, "pv-4").der_id
    west, east = [await subscribing.aggregator(*party) for party in (("west", "BA"), ("east", "BB"))]
    principal, series = subscribing.principal(east), Mrid("C" * 32)
    mirror, _ = await telemetry.put_mirror(principal, served, der, Mrid("A" * 32), series.encode())
    watch = f"{der}/{mirror.mup_id}/{series}"
    await everything.subscribe("east", east, ("readings", f"readings/{watch}"), ("reading", f"reading/{watch}"))
    with pytest.raises(PeerError, match="cannot be subscribed to"):
        await subscribing.subscribe(west, f"reading/{watch}")
    assert await everything.after(topology.confirm_switching(operator, served, {1: False})) == set(), "of others"
    gone = await everything.after(topology.confirm_switching(operator, served, {1: True, 2: False, 3: True}))
    assert gone == {"east readings", "east reading"}
    with pytest.raises(PeerError, match="cannot be subscribed to"):
        await subscribing.subscribe(east, f"readings/{watch}")
    await everything.subscribe("west", west, ("reading", f"reading/{watch}"))
    reading = Reading(der_id=der, point="w", value=1, power_of_ten=0, time=clock.now())
    told = everything.after(telemetry.record_readings(principal, served, der, [(series, reading)]))
    assert "west reading" in await told


async def test_what_nobody_can_subscribe_to_touches_nothing(everything, serving, der, clock):
    reading = Reading(der_id=der("pv-1").der_id, point="w", value=1, power_of_ten=0, time=clock.now())
    record = ReadingRecord(party=serving.party, meter_reading=Mrid("1" * 32), reading=reading, received_at=clock.now())
    assert await everything.after(serving.commit([record])) == set()


async def test_a_change_costs_what_it_touches(subscribing, serving, der, send, clock, monkeypatch):
    await subscribing.subscribe(der("pv-3"), f"controls/{subscribing.program('feeder-2')}")
    seen = []
    real = subscribing.all._notice
    monkeypatch.setattr(subscribing.all, "_notice", lambda *args: seen.append(args) or real(*args))
    await send("feeder-1", start=clock.now() + timedelta(hours=1), connect=True)
    assert seen == []


async def test_a_dropped_subscription_leaves_nothing_behind(subscribing, der):
    watching = subscribing.all._watching
    record = await subscribing.subscribe(der("pv-1"), "end_devices")
    other = await subscribing.subscribe(der("pv-1"), "end_devices", "https://93.184.216.35/")
    third = await subscribing.subscribe(der("pv-2"), "end_devices")
    for one in (record, other, third, record):
        watching.remove(one.subscription_id)
    assert (watching._watchers, watching._watch_of) == ({}, {})
