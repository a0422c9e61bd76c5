from dataclasses import replace
from datetime import timedelta

import pytest

from tierline.model.errors import ConfigError, Conflict, Forbidden
from tierline.model.parties import Principal, Role
from tierline.model.records import MembershipRecord, SwitchRecord
from tierline.model.topology import Tier
from tierline.operations.serving import registry, topology
from tierline.operations.serving.topology import Move, adopt_grid, confirm_switching, find_group, preview_switching

TO_THE_TIE = {2: False, 3: True}
"""Opens the middle of feeder-2 and closes the tie: pv-4 hangs on feeder-1 then."""


def names(serving, groups):
    return {serving.groups[group].group.name for group in groups}


def test_every_level_of_the_grid_has_its_group_with_one_program(serving):
    by_name = {record.group.name: record.group for record in serving.groups.values()}
    assert {name: group.tier for name, group in by_name.items()} == {
        "two feeders": Tier.SYSTEM,
        "sub-1": Tier.SUBSTATION,
        "feeder-1": Tier.FEEDER,
        "feeder-2": Tier.FEEDER,
    }
    assert by_name["feeder-1"].parent == by_name["sub-1"].id
    assert by_name["sub-1"].parent == by_name["two feeders"].id
    assert by_name["two feeders"].parent is None
    assert {len(serving.programs_of[group]) for group in serving.groups} == {1}


async def test_adopting_the_same_grid_again_does_nothing(serving, operator):
    commits = serving.commits
    await adopt_grid(operator, serving)
    assert serving.commits == commits


async def test_a_node_without_a_grid_adopts_nothing(serving, operator):
    serving.grid = None
    await adopt_grid(operator, serving)


async def test_a_grid_that_changed_while_the_node_was_down_moves_its_members(serving, operator, restarted, der):
    again = restarted()
    grid = serving.grid
    again.grid = replace(
        grid, service_points=tuple(replace(point, node="b1") for point in grid.service_points if point.id != "pv-4")
    )
    await adopt_grid(operator, again)
    assert names(again, again.groups_of[der("pv-1").der_id]) == {"two feeders", "sub-1", "feeder-2"}
    assert not again.groups_of[der("pv-4").der_id]
    causes = {record.cause for record in again.memberships.values()}
    assert causes == {"registered", "grid"}


def test_a_group_is_found_by_name_element_or_id(serving):
    group = find_group(serving, "feeder-1")
    assert find_group(serving, group.group.id) == group
    assert find_group(serving, "system").group.tier is Tier.SYSTEM


def test_an_unknown_group_is_answered_with_those_there_are(serving, restarted):
    with pytest.raises(ConfigError, match=r"no group 'moon'; there are: feeder-1, feeder-2, sub-1, two feeders"):
        find_group(serving, "moon")
    serving.groups.clear()
    with pytest.raises(ConfigError, match="none yet"):
        find_group(serving, "moon")


def test_the_preview_tells_who_would_move_and_moves_nobody(serving, operator, der):
    before = {key: set(groups) for key, groups in serving.groups_of.items()}
    (move,) = preview_switching(operator, serving, TO_THE_TIE)
    assert move == Move(
        der_id=der("pv-4").der_id,
        leaves=(find_group(serving, "feeder-2").group.id,),
        joins=(find_group(serving, "feeder-1").group.id,),
    )
    assert serving.groups_of == before


async def test_confirmed_positions_move_the_members_at_once(serving, operator, der):
    moved = await confirm_switching(operator, serving, TO_THE_TIE)
    assert moved == [Move(der_id=der("pv-4").der_id, leaves=moved[0].leaves, joins=moved[0].joins)]
    assert names(serving, serving.groups_of[der("pv-4").der_id]) == {"two feeders", "sub-1", "feeder-1"}
    assert names(serving, serving.groups_of[der("pv-3").der_id]) == {"two feeders", "sub-1", "feeder-2"}
    assert serving.switches == {1: True, 2: False, 3: True}
    assert serving.audit_tail.verb == "switch"


async def test_an_opened_breaker_takes_its_members_out_of_every_group(serving, operator, der):
    await confirm_switching(operator, serving, {1: False})
    assert serving.groups_of[der("pv-1").der_id] == serving.groups_of[der("pv-2").der_id] == set()
    assert serving.groups_of[der("pv-3").der_id]


async def test_membership_is_bitemporal_no_row_is_changed(serving, operator, der, clock):
    begun = clock.now()
    clock.move(hours=1)
    await confirm_switching(operator, serving, TO_THE_TIE)
    group = find_group(serving, "feeder-2").group.id
    rows = [
        record.membership
        for record in serving.store.load(MembershipRecord)
        if (record.membership.der_id, record.membership.group_id) == (der("pv-4").der_id, group)
    ]
    assert [(row.valid_from, row.valid_to, row.recorded_at) for row in rows] == [
        (begun, None, begun),
        (begun, begun + timedelta(hours=1), begun + timedelta(hours=1)),
    ]
    causes = {record.cause for record in serving.store.load(MembershipRecord)}
    assert causes == {"registered", "switch 2 opened, switch 3 closed"}


async def test_after_a_restart_switches_and_members_are_where_they_were(serving, operator, clock, restarted):
    clock.move(hours=1)
    await confirm_switching(operator, serving, TO_THE_TIE)
    clock.move(hours=1)
    await confirm_switching(operator, serving, {2: True, 3: False})
    clock.move(hours=1)
    await confirm_switching(operator, serving, TO_THE_TIE)
    again = restarted()
    assert again.switches == serving.switches
    assert again.memberships == serving.memberships
    assert {key: groups for key, groups in again.groups_of.items() if groups} == serving.groups_of
    assert again.members_of == {key: members for key, members in serving.members_of.items() if members}


async def test_a_clock_set_back_does_not_bring_an_ended_membership_to_life(serving, operator, clock, restarted):
    clock.move(hours=5)
    await confirm_switching(operator, serving, TO_THE_TIE)
    clock.move(hours=-4)
    await confirm_switching(operator, serving, {2: True, 3: False})
    assert restarted().memberships == serving.memberships


async def test_making_before_breaking_moves_nobody_until_it_breaks(serving, operator):
    assert await confirm_switching(operator, serving, {3: True}) == []
    assert len(await confirm_switching(operator, serving, {2: False})) == 1


async def test_a_switch_that_is_not_there_is_named(serving, operator):
    with pytest.raises(ConfigError, match="99"):
        preview_switching(operator, serving, {99: True})
    with pytest.raises(ConfigError, match="99"):
        await confirm_switching(operator, serving, {99: True})
    assert serving.store.load(SwitchRecord) == []


async def test_positions_that_change_nothing_are_a_conflict(serving, operator):
    with pytest.raises(Conflict, match="stand so already"):
        await confirm_switching(operator, serving, {1: True, 3: False})


async def test_without_a_grid_there_is_nothing_to_switch(serving, operator):
    serving.grid = None
    assert topology.elements_of(serving, "pv-1") == set()
    with pytest.raises(ConfigError, match="has no grid"):
        await confirm_switching(operator, serving, {1: False})


async def test_a_viewer_may_preview_and_not_confirm(serving):
    viewer = Principal(party=serving.party, role=Role.VIEWER, name="eve")
    assert preview_switching(viewer, serving, TO_THE_TIE)
    with pytest.raises(Forbidden):
        await confirm_switching(viewer, serving, TO_THE_TIE)


async def test_a_device_without_a_place_joins_nothing(serving, operator):
    (device,) = await registry.register(operator, serving, [registry.NewDevice(lfdi=None)])
    assert not serving.groups_of.get(device.der_id)


async def test_seeded_randomness_gives_no_group_id_twice(serving, restarted):
    again = restarted()
    drawn = {topology.new_group_id(again) for _ in range(8)}
    assert not drawn & serving.groups.keys()
