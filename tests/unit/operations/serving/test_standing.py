"""Who stands for which DER, as registry, switches and memberships change."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tierline.env import SeededRandom
from tierline.model.identity import DerId, GroupId, Lfdi, PartyId
from tierline.model.parties import Principal, Role
from tierline.model.records import EndDeviceRecord, GroupRecord
from tierline.model.topology import Group, Tier
from tierline.operations.serving import registry, standing, topology
from tierline.operations.serving.registry import NewDevice
from tierline.operations.serving.standing import Standing
from tierline.operations.serving.state import Serving
from tierline.storage.memory import MemoryStore

small_grid = runpy.run_path(str(Path(__file__).parents[2] / "conftest.py"))["small_grid"]
POOLER, WEST, EAST = PartyId("pooler"), PartyId("west"), PartyId("east")
AT_WEST = Lfdi("AA" * 20)


@pytest.fixture
async def pointed(serving, operator):
    """The same node where feeder-1 is served by west and feeder-2 by east."""
    state = Serving(
        party=serving.party,
        store=serving.store,
        clock=serving.clock,
        random=serving.random,
        pen=serving.pen,
        grid=serving.grid,
        control_points={"feeder-1": WEST, "feeder-2": EAST},
    )
    state.load()
    await registry.register(operator, state, [NewDevice(lfdi=AT_WEST, aggregates=WEST)])
    return state


def group(serving, name):
    return GroupId(topology.find_group(serving, name).group.id)


def at(serving, point):
    return registry.find_device(serving, point).der_id


async def manage(serving, operator, *lfdis, party=POOLER, point=""):
    new = [NewDevice(lfdi=Lfdi(lfdi), managed_by=party, service_point=point) for lfdi in lfdis]
    return [device.der_id for device in await registry.register(operator, serving, new)]


def test_nobody_stands_for_a_der_that_nobody_manages(serving):
    der = at(serving, "pv-1")
    assert serving.standing.parties(der) == frozenset()
    assert serving.standing.ders(POOLER) == frozenset()
    assert not serving.standing.is_member(POOLER, group(serving, "feeder-1"))


async def test_a_party_stands_for_those_it_manages_while_they_are_let_in(serving, operator):
    first, second = await manage(serving, operator, "AB" * 20, "AC" * 20)
    assert serving.standing.ders(POOLER) == {first, second}
    await registry.enable(operator, serving, first, enabled=False)
    assert serving.standing.ders(POOLER) == {second}
    assert serving.standing.parties(first) == frozenset()
    await registry.enable(operator, serving, first, enabled=True)
    assert serving.standing.parties(first) == {POOLER}


async def test_a_party_is_in_a_group_as_long_as_one_of_its_ders_is(serving, operator):
    first, second = await manage(serving, operator, "AB" * 20, "AC" * 20, point="pv-1")
    feeder = group(serving, "feeder-1")
    assert serving.standing.is_member(POOLER, feeder)
    assert not serving.standing.is_member(POOLER, group(serving, "feeder-2"))
    await registry.enable(operator, serving, first, enabled=False)
    assert serving.standing.is_member(POOLER, feeder)
    leaves = topology.Move(der_id=second, leaves=(feeder,), joins=())
    await serving.commit(topology.membership_records(serving, [leaves], "operator"))
    assert not serving.standing.is_member(POOLER, feeder)
    assert serving.standing.is_member(POOLER, group(serving, "sub-1"))


async def test_only_let_in_entries_are_a_party_s_own(serving, operator):
    new = [NewDevice(lfdi=Lfdi(lfdi * 20), aggregates=POOLER) for lfdi in ("B1", "B2")]
    first, second = (device.der_id for device in await registry.register(operator, serving, new))
    assert serving.standing.peers(POOLER) == {first, second}
    assert serving.standing.ders(POOLER) == frozenset()
    await registry.enable(operator, serving, first, enabled=False)
    assert serving.standing.peers(POOLER) == {second}
    assert serving.standing.peers(WEST) == frozenset()


def fed(serving, party):
    """Give the DERs whose assignments a party is shown."""
    return {der for der in serving.devices if party in serving.standing.shown_to(der)}


def test_a_control_point_stands_for_those_its_element_can_feed_and_is_shown_the_assignments_of_those_it_feeds(pointed):
    everybody = {at(pointed, f"pv-{number}") for number in range(1, 5)}
    assert pointed.standing.ders(WEST) == pointed.standing.ders(EAST) == everybody
    assert fed(pointed, WEST) == {at(pointed, "pv-1"), at(pointed, "pv-2")}
    assert fed(pointed, EAST) == {at(pointed, "pv-3"), at(pointed, "pv-4")}
    assert pointed.standing.is_member(WEST, group(pointed, "sub-1"))
    assert not pointed.standing.is_member(WEST, group(pointed, "feeder-2"))


async def test_who_is_nowhere_in_the_grid_or_shut_out_or_stands_for_others_is_listed_to_no_control_point(
    pointed, operator
):
    new = [NewDevice(lfdi=Lfdi("A7" * 20)), NewDevice(lfdi=Lfdi("A8" * 20), service_point="pv-1")]
    nowhere, somewhere = await registry.register(operator, pointed, new)
    assert pointed.standing.parties(nowhere.der_id) == frozenset()
    assert pointed.standing.parties(somewhere.der_id) == {WEST, EAST}
    await registry.enable(operator, pointed, somewhere.der_id, enabled=False)
    assert pointed.standing.parties(somewhere.der_id) == frozenset()
    assert registry.device_of(pointed, AT_WEST).der_id not in pointed.standing.ders(EAST)


async def test_who_is_fed_by_nobody_stays_listed_and_is_shown_to_no_control_point(pointed, operator):
    await topology.confirm_switching(operator, pointed, {1: False})
    der = at(pointed, "pv-1")
    assert pointed.standing.parties(der) == {WEST, EAST}
    assert pointed.standing.shown_to(der) == frozenset()
    assert not pointed.standing.is_member(WEST, group(pointed, "system"))


async def test_a_control_point_without_a_source_behind_it_is_listed_nobody(serving):
    dark = Serving(
        party=serving.party, store=serving.store, clock=serving.clock, random=serving.random, pen=serving.pen,
        grid=replace(serving.grid, sources=()), control_points={"feeder-1": WEST},
    )  # fmt: skip
    dark.load()
    assert dark.standing.ders(WEST) == {at(dark, "pv-1"), at(dark, "pv-2")}, "those whose memberships say so"


async def test_who_has_somebody_who_manages_it_is_no_control_point_s(pointed, operator):
    (managed,) = await manage(pointed, operator, "AB" * 20, point="pv-1")
    assert pointed.standing.parties(managed) == {POOLER}
    assert pointed.standing.shown_to(managed) == {POOLER}
    assert managed not in pointed.standing.ders(WEST)


async def test_a_switching_operation_moves_who_is_shown_assignments_and_touches_nothing_else(
    pointed, operator, monkeypatch
):
    der = at(pointed, "pv-4")
    before, reckoned = pointed.versions.copy(), set()
    real = Standing.reckon

    def reckon(self, serving, one):
        reckoned.add(one)
        real(self, serving, one)

    monkeypatch.setattr(Standing, "reckon", reckon)
    await topology.confirm_switching(operator, pointed, {2: False, 3: True})
    assert pointed.standing.shown_to(der) == {WEST}
    assert pointed.standing.parties(der) == {WEST, EAST}
    changed = {name for name in pointed.versions if pointed.versions[name] != before[name]}
    assert changed == {f"assigned:{der}", f"device:{der}", f"heard:{WEST}", f"heard:{EAST}"}
    assert reckoned == {der}


async def test_the_grid_is_read_once_for_each_control_point(pointed, operator, monkeypatch):
    asked = []
    monkeypatch.setattr(standing, "can_feed", lambda _, element: asked.append(element) or frozenset())
    again = Serving(
        party=pointed.party, store=pointed.store, clock=pointed.clock, random=pointed.random, pen=pointed.pen,
        grid=pointed.grid, control_points=pointed.control_points,
    )  # fmt: skip
    again.load()
    await topology.confirm_switching(operator, again, {2: False, 3: True})
    assert asked == ["feeder-1", "feeder-2"]


def read_and_keep(serving, party, der):
    """Read the assignments of a DER, and say that they are kept."""
    serving.standing.read(serving, party, der)
    serving.standing.hand_over(serving, party, serving.clock.now())


def test_assignments_are_handed_over_to_the_control_point_that_keeps_them(pointed):
    der = at(pointed, "pv-1")
    before = pointed.versions.copy()
    for party in (EAST, POOLER):
        read_and_keep(pointed, party, der)
    for _ in range(2):  # however often it reads: it may have received nothing
        pointed.standing.read(pointed, WEST, der)
        pointed.clock.move(minutes=5)
    for party in (EAST, POOLER):
        pointed.standing.hand_over(pointed, party, pointed.clock.now())
    assert pointed.standing.handed_over == {}
    assert pointed.versions == before
    pointed.standing.hand_over(pointed, WEST, pointed.clock.now())
    assert pointed.standing.handed_over == {der: {WEST}}
    assert pointed.versions[f"assigned:{der}"] == before[f"assigned:{der}"] + 1
    again = pointed.versions.copy()
    read_and_keep(pointed, WEST, der)
    assert pointed.versions == again


def test_the_word_that_something_is_kept_does_not_concern_what_was_read_since(pointed):
    der, kept = at(pointed, "pv-1"), pointed.clock.now()
    pointed.clock.move(seconds=1)
    pointed.standing.read(pointed, WEST, der)
    pointed.standing.hand_over(pointed, WEST, kept)
    assert pointed.standing.handed_over == {}


async def test_what_was_read_before_a_der_left_is_not_kept_for_its_return(pointed, operator):
    der = at(pointed, "pv-4")
    pointed.standing.read(pointed, EAST, der)
    await topology.confirm_switching(operator, pointed, {2: False, 3: True})
    await topology.confirm_switching(operator, pointed, {2: True, 3: False})
    pointed.standing.hand_over(pointed, EAST, pointed.clock.now())
    assert der not in pointed.standing.handed_over


async def test_what_was_read_before_a_control_point_was_shut_out_need_not_be_kept(pointed, operator):
    pointed.standing.read(pointed, WEST, at(pointed, "pv-1"))
    for enabled in (False, True):
        await registry.enable(operator, pointed, AT_WEST, enabled=enabled)
    pointed.standing.hand_over(pointed, WEST, pointed.clock.now())
    assert pointed.standing.handed_over == {}


async def test_what_a_control_point_read_ends_when_the_der_leaves_it(pointed, operator):
    der, stays = at(pointed, "pv-4"), at(pointed, "pv-3")
    for one in (der, stays):
        read_and_keep(pointed, EAST, one)
    await topology.confirm_switching(operator, pointed, {2: False, 3: True})
    assert pointed.standing.handed_over == {stays: {EAST}}
    await topology.confirm_switching(operator, pointed, {2: True, 3: False})
    assert pointed.standing.shown_to(der) == {EAST}
    assert der not in pointed.standing.handed_over


async def test_what_a_control_point_read_ends_when_it_is_shut_out(pointed, operator):
    der, other = at(pointed, "pv-1"), at(pointed, "pv-3")
    read_and_keep(pointed, WEST, der)
    read_and_keep(pointed, EAST, other)
    before = pointed.versions[f"assigned:{der}"]
    await registry.enable(operator, pointed, AT_WEST, enabled=False)
    assert pointed.standing.handed_over == {other: {EAST}}
    assert pointed.versions[f"assigned:{der}"] > before


async def test_one_of_two_entries_of_a_control_point_goes_on_for_it(pointed, operator):
    der = at(pointed, "pv-1")
    await registry.register(operator, pointed, [NewDevice(lfdi=Lfdi("A1" * 20), aggregates=WEST)])
    read_and_keep(pointed, WEST, der)
    await registry.enable(operator, pointed, AT_WEST, enabled=False)
    assert der in pointed.standing.handed_over


async def test_of_two_control_points_of_one_der_either_may_read(serving, operator):
    state = Serving(
        party=serving.party, store=serving.store, clock=serving.clock, random=serving.random, pen=serving.pen,
        grid=serving.grid, control_points={"feeder-1": WEST, "sub-1": EAST},
    )  # fmt: skip
    state.load()
    new = [NewDevice(lfdi=Lfdi(lfdi * 20), aggregates=party) for lfdi, party in (("B1", WEST), ("B2", EAST))]
    west, _ = await registry.register(operator, state, new)
    der = at(state, "pv-1")
    assert state.standing.parties(der) == {WEST, EAST}
    read_and_keep(state, WEST, der)
    read_and_keep(state, EAST, der)
    await registry.enable(operator, state, west.der_id, enabled=False)
    assert state.standing.handed_over == {der: {EAST}}


async def test_a_group_that_is_known_late_counts_its_members(serving, operator):
    state = Serving(
        party=serving.party, store=MemoryStore(), clock=serving.clock, random=serving.random, pen=serving.pen,
        control_points={"feeder-9": WEST},
    )  # fmt: skip
    (device,) = await registry.register(operator, state, [NewDevice(lfdi=Lfdi("AB" * 20))])
    known = topology.find_group(serving, "feeder-1")
    late = GroupRecord(
        party=state.party, group=replace(known.group, element="feeder-9"), created_at=serving.clock.now()
    )
    joins = topology.Move(der_id=device.der_id, leaves=(), joins=(GroupId(late.group.id),))
    await state.commit(topology.membership_records(state, [joins], "operator"))
    assert state.standing.ders(WEST) == frozenset()
    await state.commit([late])
    await state.commit([late])
    assert state.standing.ders(WEST) == {device.der_id}


async def test_a_new_lfdi_tells_the_lists_it_is_in(serving, operator):
    (der,) = await manage(serving, operator, "AB" * 20)
    before = serving.versions[f"listed:{POOLER}"]
    old = serving.identities[serving.lfdi_of[der]]
    await serving.commit([replace(old, valid_to=serving.clock.now()), replace(old, lfdi=Lfdi("AC" * 20))])
    assert serving.versions[f"listed:{POOLER}"] > before


async def test_who_stands_for_whom_is_the_same_after_a_restart(pointed, operator):
    await manage(pointed, operator, "AB" * 20, point="pv-3")
    again = Serving(
        party=pointed.party, store=pointed.store, clock=pointed.clock, random=pointed.random, pen=pointed.pen,
        grid=pointed.grid, control_points=pointed.control_points,
    )  # fmt: skip
    again.load()
    for party in (WEST, EAST, POOLER):
        assert again.standing.ders(party) == pointed.standing.ders(party)
        assert again.standing.peers(party) == pointed.standing.peers(party)
        for known in pointed.groups:
            assert again.standing.is_member(party, known) == pointed.standing.is_member(party, known)


def test_a_principal_is_what_its_entry_says(pointed):
    west = registry.device_of(pointed, AT_WEST)
    assert registry.principal_of(west, AT_WEST) == Principal(
        party=WEST, role=Role.AGGREGATOR, name=AT_WEST, lfdi=AT_WEST
    )
    lfdi = Lfdi("01" * 20)
    assert registry.principal_of(registry.device_of(pointed, lfdi), lfdi).role is Role.DEVICE


# --- against counting from scratch ----------------------------------------------------------------------------------

PARTIES, GROUPS = (POOLER, WEST, EAST), tuple(GroupId(name) for name in ("g1", "g2", "g3"))
NORTH = {"n1", "n2"}, {"g1", "g3"}
SOUTH = {"s1"}, {"g2"}
"""The service points and elements of two grids that no switch joins; what is nowhere in them is only what its groups say."""
PLACES = ("", "n1", "n2", "s1")
OPERATIONS = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.sampled_from(["join", "leave", "enable", "disable", "manage", "free", "place", "read", "out", "in"]),
        st.sampled_from(GROUPS),
        st.sampled_from(PARTIES),
        st.sampled_from(PLACES),
    ),
    max_size=40,
)


def is_shown(state, party, device):
    """Say it again, slowly: who is shown the assignments of a DER."""
    if not device.enabled or device.aggregates is not None:
        return False
    if device.managed_by is not None:
        return device.managed_by == party
    fed_by = {state.groups[group].group.element for group in state.groups_of[device.der_id]}
    return any(state.control_points.get(element) == party for element in fed_by)


def stands(state, party, device):
    """Say it again, slowly: who stands for a DER."""
    if is_shown(state, party, device):
        return True
    if not device.enabled or device.aggregates is not None or device.managed_by is not None:
        return False
    points = {element for element, other in state.control_points.items() if other == party}
    return any(device.service_point in places and points & elements for places, elements in (NORTH, SOUTH))


def feeds(_, element):
    """Say which service points an element of the two grids can feed."""
    return frozenset().union(*(places for places, elements in (NORTH, SOUTH) if element in elements))


def assert_as_counted_from_scratch(state, may_be_hidden):
    for party in PARTIES:
        ders = {der for der, device in state.devices.items() if stands(state, party, device)}
        assert state.standing.ders(party) == ders
        assert ders == {der for der in state.devices if party in state.standing.parties(der)}
        shown = {der for der, device in state.devices.items() if is_shown(state, party, device)}
        assert fed(state, party) == shown <= ders
        own = {der for der, device in state.devices.items() if device.aggregates == party and device.enabled}
        assert state.standing.peers(party) == own
        for group in GROUPS:
            assert state.standing.is_member(party, group) == bool(shown & state.members_of[group])
    assert {(der, party) for der, readers in state.standing.handed_over.items() for party in readers} == may_be_hidden
    assert all(state.standing.handed_over.values())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
def test_every_count_is_as_if_counted_from_scratch(clock, operations, monkeypatch):
    monkeypatch.setattr(standing, "can_feed", feeds)
    state = Serving(
        party=PartyId("utility"), store=MemoryStore(), clock=clock, random=SeededRandom(7), pen=1,
        grid=small_grid(), control_points={"g1": WEST, "g2": EAST, "g3": EAST},
    )  # fmt: skip

    def take(*records):
        for record in records:
            state._take(record)

    for name in GROUPS:
        made = Group(id=name, tier=Tier.FEEDER, name=name, parent=None, element=name)
        take(GroupRecord(party=state.party, group=made, created_at=clock.now()))
    bare = {
        "party": state.party, "service_point": "", "pin": None, "device_category": 0, "enabled": True,
        "registered_at": clock.now(), "changed_at": clock.now(),
    }  # fmt: skip
    for number in range(5):
        take(EndDeviceRecord(der_id=DerId(f"d{number}"), managed_by=None, **bare))
    for party in PARTIES:
        take(EndDeviceRecord(der_id=DerId(party), managed_by=None, aggregates=party, **bare))
    hidden = set()
    listed = {party: set(state.standing.ders(party)) for party in PARTIES}
    for number, what, group, party, place in operations:
        versions = state.versions.copy()
        der = DerId(f"d{number}")
        device, peer = state.devices[der], state.devices[DerId(party)]
        match what:
            case "join" if group not in state.groups_of[der]:
                move = topology.Move(der_id=der, leaves=(), joins=(group,))
                take(*topology.membership_records(state, [move], "test"))
            case "leave" if group in state.groups_of[der]:
                move = topology.Move(der_id=der, leaves=(group,), joins=())
                take(*topology.membership_records(state, [move], "test"))
            case "enable" | "disable":
                take(replace(device, enabled=what == "enable"))
            case "manage" | "free":
                take(replace(device, managed_by=party if what == "manage" else None))
            case "place":
                take(replace(device, service_point=place))
            case "read":
                read_and_keep(state, party, der)
                if device.managed_by is None and is_shown(state, party, device):
                    hidden.add((der, party))
            case "out" | "in":
                take(replace(peer, enabled=what == "in"))
        hidden = {
            (der, party)
            for der, party in hidden
            if state.devices[der].managed_by is None
            and is_shown(state, party, state.devices[der])
            and not (what == "out" and party == peer.der_id)
        }
        assert_as_counted_from_scratch(state, hidden)
        for one in PARTIES:
            is_told = state.versions[f"listed:{one}"] != versions[f"listed:{one}"]
            assert is_told == (state.standing.ders(one) != listed[one])
            listed[one] = set(state.standing.ders(one))
