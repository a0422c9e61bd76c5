from dataclasses import replace
from decimal import Decimal

import pytest

from tierline.model.control import EventStatus
from tierline.model.errors import ConfigError, Conflict, Forbidden
from tierline.model.identity import Lfdi, PartyId
from tierline.model.parties import Principal, Role
from tierline.model.records import AuditRecord, MembershipRecord
from tierline.model.topology import Tier
from tierline.operations.serving import dispatch, programs, registry
from tierline.operations.serving.audit import faults
from tierline.operations.serving.groups import (
    EVERYBODY,
    add_members,
    create_group,
    delete_group,
    is_of_one,
    is_ruled,
    joining,
    remove_members,
    rename_group,
)
from tierline.operations.serving.programs import PRIMACY, derived_program, program_of
from tierline.operations.serving.topology import confirm_switching, find_group

SUNNY = PartyId("sunny")


@pytest.fixture
async def pilot(serving, operator):
    return (await create_group(operator, serving, "pilot")).group.id


@pytest.fixture
def ders(der):
    return [der(point).der_id for point in ("pv-1", "pv-3")]


@pytest.fixture
def ruled(serving):
    """Let who is registered join by the rules, as a node does."""
    serving.consequences.append(joining(serving))
    return serving


async def test_a_group_has_a_program_weaker_than_those_of_the_wires(serving, pilot):
    group = serving.groups[pilot].group
    assert (group.tier, group.name, group.element, group.parent) == (Tier.NON_TOPOLOGY, "pilot", None, None)
    assert program_of(serving, pilot).record.primacy == PRIMACY[Tier.NON_TOPOLOGY] > PRIMACY[Tier.SYSTEM]


@pytest.mark.parametrize("name", ["pilot", "feeder-1", "system"])
async def test_a_name_that_is_taken_is_refused(serving, operator, pilot, name):
    with pytest.raises(Conflict, match=f"there is a group '{name}' already"):
        await create_group(operator, serving, name)


@pytest.mark.parametrize("name", ["", "  ", " x", "a/b", "x" * 101])
async def test_a_name_that_is_none_is_refused(serving, operator, name):
    with pytest.raises(ConfigError, match="is no name for a group"):
        await create_group(operator, serving, name)


async def test_a_group_is_of_everybody_or_of_one_party(serving, operator):
    with pytest.raises(ConfigError, match="not both"):
        await create_group(operator, serving, "x", everybody=True, party=SUNNY)


async def test_members_come_and_go_and_it_is_known_since_when(serving, operator, pilot, ders, clock, restarted):
    assert await add_members(operator, serving, pilot, [*ders, ders[0]]) == ders
    joined = clock.now()
    clock.move(hours=1)
    assert await add_members(operator, serving, pilot, ders) == []
    assert await remove_members(operator, serving, pilot, ders[:1], cause="contract ended") == ders[:1]
    assert await remove_members(operator, serving, pilot, ders[:1]) == []
    assert serving.members_of[pilot] == restarted().members_of[pilot] == {ders[1]}
    rows = [
        record
        for record in serving.store.load(MembershipRecord)
        if record.membership.group_id == pilot and record.membership.der_id == ders[0]
    ]
    assert [(row.membership.valid_from, row.membership.valid_to, row.cause) for row in rows] == [
        (joined, None, "operator"),
        (joined, clock.now(), "contract ended"),
    ]
    assert faults(serving.store.load(AuditRecord)) == []


async def test_a_switch_moves_nobody_out_of_a_group_that_the_wires_do_not_make(serving, operator, pilot, ders):
    await add_members(operator, serving, pilot, ders)
    await confirm_switching(operator, serving, {1: False})
    assert serving.members_of[pilot] == set(ders)


async def test_who_is_no_der_cannot_join(serving, operator, pilot):
    new = registry.NewDevice(lfdi=Lfdi("EE" * 20), aggregates=SUNNY)
    (entry,) = await registry.register(operator, serving, [new])
    for der_id in ("nobody", entry.der_id):
        with pytest.raises(ConfigError, match=f"there is no DER '{der_id}'"):
            await add_members(operator, serving, pilot, [der_id])


async def test_a_group_is_renamed_and_stays_the_same(serving, operator, pilot, ders, restarted):
    await add_members(operator, serving, pilot, ders)
    program = program_of(serving, pilot).record
    await rename_group(operator, serving, pilot, "pilot 2")
    for state in (serving, restarted()):
        assert find_group(state, "pilot 2").group.id == pilot
        assert state.members_of[pilot] == set(ders)
        assert program_of(state, pilot).record == program
    await rename_group(operator, serving, pilot, "pilot 2")
    with pytest.raises(Conflict):
        await rename_group(operator, serving, pilot, "feeder-2")


async def test_a_group_goes_with_what_is_over_in_it(serving, operator, pilot, ders, send, respond, clock, restarted):
    await add_members(operator, serving, pilot, ders)
    control = await send("pilot", start=clock.now(), max_lim_w_pct=Decimal(50))
    await respond("pv-1", control.mrid, 1)
    await programs.set_default(operator, serving, pilot, control.setpoints)
    with pytest.raises(Conflict, match=f"control {control.mrid} of group pilot is not over"):
        await delete_group(operator, serving, pilot)
    await dispatch.cancel_control(operator, serving, control.mrid)
    await delete_group(operator, serving, pilot)
    for state in (serving, restarted()):
        assert pilot not in state.groups
        assert state.members_of.get(pilot, set()) == set()
        assert control.mrid not in state.program_of_control
        assert control.mrid not in state.responses
        assert pilot not in state.groups_of[ders[0]]
    with pytest.raises(ConfigError, match="there is no group"):
        await delete_group(operator, serving, pilot)
    rows = [row for row in serving.store.load(MembershipRecord) if row.membership.group_id == pilot]
    assert {row.cause for row in rows} == {"operator", "the group was deleted"}, "who belonged to it is still known"


async def test_a_control_that_is_over_keeps_no_group(serving, operator, pilot, send, clock):
    await send("pilot", start=clock.now(), duration_s=60, max_lim_w_pct=Decimal(50))
    clock.move(minutes=2)
    await delete_group(operator, serving, pilot)


async def test_what_the_grid_or_a_fleet_makes_is_not_the_operators_to_change(serving, operator, pilot, ders):
    feeder = find_group(serving, "feeder-1").group.id
    of_one = replace(serving.groups[pilot].group, id="one", name="one", parent=pilot)
    record = replace(serving.groups[pilot], group=of_one)
    await serving.commit([record, derived_program(serving, "one")])
    assert is_of_one(serving, "one")
    assert not is_of_one(serving, pilot)
    assert not is_of_one(serving, feeder)
    for group in (feeder, "one"):
        for act in (
            rename_group(operator, serving, group, "mine"),
            delete_group(operator, serving, group),
            add_members(operator, serving, group, ders),
        ):
            with pytest.raises(ConfigError, match="follows the wires or a fleet"):
                await act


async def test_what_a_server_above_makes_is_not_the_operators_to_change(serving, operator, pilot):
    program = replace(program_of(serving, pilot).record, channel="utility")
    await serving.commit([program])
    with pytest.raises(ConfigError, match="only that server changes it"):
        await delete_group(operator, serving, pilot)


async def test_a_viewer_changes_nothing(serving, pilot):
    viewer = Principal(party=serving.party, role=Role.VIEWER, name="bob")
    for act in (
        create_group(viewer, serving, "x"),
        rename_group(viewer, serving, pilot, "x"),
        delete_group(viewer, serving, pilot),
        add_members(viewer, serving, pilot, []),
        remove_members(viewer, serving, pilot, []),
    ):
        with pytest.raises(Forbidden):
            await act


# --- rules ------------------------------------------------------------------------------------------------------------


async def test_a_group_of_everybody_is_kept_by_its_rule(ruled, operator, ders):
    record = await create_group(operator, ruled, "all", everybody=True)
    group_id = record.group.id
    assert is_ruled(record)
    assert record.group.element == EVERYBODY
    assert len(ruled.members_of[group_id]) == 4
    (late,) = await registry.register(operator, ruled, [registry.NewDevice(lfdi=Lfdi("EE" * 20))])
    assert late.der_id in ruled.members_of[group_id]
    await registry.enable(operator, ruled, late.der_id, enabled=False)
    assert late.der_id not in ruled.members_of[group_id]
    await registry.enable(operator, ruled, late.der_id, enabled=True)
    assert late.der_id in ruled.members_of[group_id]
    with pytest.raises(Conflict, match="follow its rule"):
        await remove_members(operator, ruled, group_id, ders)


async def test_a_group_of_a_party_holds_those_it_manages(ruled, operator, restarted):
    record = await create_group(operator, ruled, "sunny's", party=SUNNY)
    group_id = record.group.id
    assert ruled.members_of.get(group_id, set()) == set()
    new = [
        registry.NewDevice(lfdi=Lfdi("E1" * 20), managed_by=SUNNY),
        registry.NewDevice(lfdi=Lfdi("E2" * 20), managed_by=PartyId("other")),
        registry.NewDevice(lfdi=Lfdi("E3" * 20), aggregates=SUNNY),
    ]
    mine, *_ = await registry.register(operator, ruled, new)
    assert ruled.members_of[group_id] == restarted().members_of[group_id] == {mine.der_id}
    await ruled.commit([replace(ruled.devices[mine.der_id], managed_by=None)])
    assert ruled.members_of[group_id] == set()


async def test_who_leaves_all_groups_at_once_leaves_a_ruled_one_once(ruled, operator, der):
    record = await create_group(operator, ruled, "all", everybody=True)
    device = der("pv-1")
    row = ruled.memberships[device.der_id, record.group.id]
    ended = replace(
        row,
        membership=replace(row.membership, valid_to=ruled.clock.now(), recorded_at=ruled.clock.now()),
        cause="removed",
    )
    await ruled.commit([replace(device, enabled=False), ended])
    rows = [
        one
        for one in ruled.store.load(MembershipRecord)
        if one.membership.group_id == record.group.id and one.membership.der_id == device.der_id
    ]
    assert [one.cause for one in rows] == ["removed"], "the same row, ended at the instant it began"
    assert device.der_id not in ruled.members_of[record.group.id]


async def test_what_is_derived_is_not_what_people_use(serving, operator, pilot, send, clock):
    await serving.commit([derived_program(serving, pilot)])
    serving.programs_of[pilot].reverse()  # as it may be after a restart
    control = await send("pilot", start=clock.now(), max_lim_w_pct=Decimal(50))
    assert control.status is EventStatus.SCHEDULED
    assert program_of(serving, pilot).record.description == "non_topology"
    assert control.mrid in program_of(serving, pilot).controls
