import json
from dataclasses import replace
from decimal import Decimal

import pytest

from tierline.model.control import Curve, CurvePoint, EventStatus, Setpoints
from tierline.model.errors import LinkError
from tierline.model.identity import Mrid
from tierline.model.records import AuditRecord, EndDeviceRecord, KnownRecord, MembershipRecord
from tierline.operations.relay.downward import mirror
from tierline.operations.serving import registry, topology


def controls_of(serving, program):
    return {mrid: record.control for mrid, record in serving.programs[program.mrid].controls.items()}


def members_of(serving, program):
    group = serving.programs[program.mrid].record.group_id
    return {serving.lfdi_of[der] for der in serving.members_of.get(group, ())}


def audit(serving):
    return serving.store.load(AuditRecord)


async def test_a_program_is_mirrored_with_all_that_hangs_on_it_in_one_commit(scene, above):
    await scene.register()
    control, default = scene.control(), scene.default()
    program = scene.program(controls=[control], default=default, primacy=7)
    commits = scene.serving.commits
    changes = await mirror(above, scene.serving, scene.relayed, scene.seen(program))
    assert scene.serving.commits == commits + 1
    served = scene.serving.programs[program.mrid]
    assert served.record.channel == "utility"
    assert (served.record.primacy, served.record.description) == (7, "feeder")
    assert served.default.default == default
    kept = served.controls[control.mrid].control
    assert replace(kept, provenance=None) == replace(control, provenance=None)
    assert kept.provenance == replace(control.provenance, received_at=scene.clock.now())
    assert members_of(scene.serving, program) == set(scene.lfdis[:2])
    assert changes.created == [control.mrid]
    assert len(changes.moved) == 2
    group = scene.serving.groups[served.record.group_id].group
    assert group.name.startswith("relayed ")
    assert group.tier is topology.Tier.NON_TOPOLOGY


async def test_the_same_walk_again_writes_nothing(scene, above):
    await scene.register()
    seen = scene.seen(scene.program(controls=[scene.control()], default=scene.default()))
    await mirror(above, scene.serving, scene.relayed, seen)
    commits = scene.serving.commits
    scene.clock.move(seconds=120)
    changes = await mirror(above, scene.serving, scene.relayed, seen)
    assert scene.serving.commits == commits
    assert changes.commits == 0


async def test_time_that_passes_above_writes_nothing_here(scene, above):
    await scene.register()
    control = scene.control()
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(controls=[control])))
    scene.clock.move(seconds=120)
    active = replace(control, status=EventStatus.ACTIVE, status_time=scene.clock.now())
    changes = await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(controls=[active])))
    assert changes.commits == 0
    assert controls_of(scene.serving, scene.program())[control.mrid].status is EventStatus.SCHEDULED


async def test_after_a_restart_nothing_is_to_be_written(scene, above):
    await scene.register()
    curve = Curve(mrid=Mrid("E" * 32), points=(CurvePoint(x=Decimal(95), y=Decimal(30)),))
    control = scene.control(setpoints=Setpoints.of({"volt_var": curve}))
    seen = scene.seen(scene.program(controls=[control], default=scene.default()))
    await mirror(above, scene.serving, scene.relayed, seen)
    serving, relayed = scene.restarted()
    assert relayed.members == scene.relayed.members
    changes = await mirror(above, serving, relayed, seen)
    assert changes.commits == 0
    assert serving.programs[scene.program().mrid].curves[curve.mrid].curve == curve


async def test_who_is_assigned_elsewhere_leaves_with_time_and_cause(scene, above):
    await scene.register()
    one, two = scene.program(1), scene.program(2)
    first, second = scene.lfdis[:2]
    await mirror(
        above, scene.serving, scene.relayed, scene.seen(one, two, members={first: [one.mrid], second: [one.mrid]})
    )
    scene.clock.move(seconds=60)
    await mirror(
        above, scene.serving, scene.relayed, scene.seen(one, two, members={first: [two.mrid], second: [one.mrid]})
    )
    assert members_of(scene.serving, one) == {second}
    assert members_of(scene.serving, two) == {first}
    ended = [row for row in scene.serving.store.load(MembershipRecord) if row.membership.valid_to is not None]
    assert [(row.cause, row.membership.valid_to) for row in ended] == [("relayed from utility", scene.clock.now())]
    assert scene.restarted()[0].memberships == scene.serving.memberships


async def test_own_groups_are_left_alone(serving, scene, above, der):
    scene.serving = serving
    scene.lfdis = [serving.lfdi_of[der("pv-1").der_id]]
    before = set(serving.groups_of[der("pv-1").der_id])
    await mirror(above, serving, scene.relayed, scene.seen(scene.program()))
    await mirror(above, serving, scene.relayed, scene.seen())
    assert serving.groups_of[der("pv-1").der_id] == before


async def test_a_member_that_is_disabled_above_is_assigned_to_nothing(scene, above):
    await scene.register()
    program = scene.program()
    seen = scene.seen(program)
    await mirror(above, scene.serving, scene.relayed, seen)
    out = {lfdi: replace(member, enabled=False) for lfdi, member in seen.members.items()}
    await mirror(above, scene.serving, scene.relayed, replace(seen, members=out))
    assert members_of(scene.serving, program) == set()


async def test_a_member_not_registered_here_is_refused_and_ignored(scene, above):
    await scene.register(scene.lfdis[0])
    found = await scene.refused(above, scene.program())
    assert list(found) == [f"device {scene.lfdis[1]}"]
    assert members_of(scene.serving, scene.program()) == {scene.lfdis[0]}


async def test_taking_registers_whom_the_server_lists_with_its_lfdi_and_pin(scene, above):
    scene.relayed.enrol = "take"
    commits = scene.serving.commits
    changes = await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program()))
    assert scene.serving.commits == commits + 1
    assert len(changes.registered) == 2
    for lfdi in scene.lfdis[:2]:
        device = registry.device_of(scene.serving, lfdi)
        assert (device.pin, device.device_category, device.managed_by) == (111115, 1 << 20, None)
    assert members_of(scene.serving, scene.program()) == set(scene.lfdis[:2])
    line = next(line for line in audit(scene.serving) if line.verb == "register")
    assert json.loads(line.detail)["lfdi"] == scene.lfdis[:2]
    assert (await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program()))).commits == 0


async def test_who_vanishes_above_stays_registered_here_without_programs(scene, above):
    scene.relayed.enrol = "take"
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program()))
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(), members={scene.lfdis[1]: ()}))
    assert registry.device_of(scene.serving, scene.lfdis[0]) is not None
    assert members_of(scene.serving, scene.program()) == set()
    assert set(scene.relayed.members) == set(scene.restarted()[1].members) == {scene.lfdis[1]}


def moved_away(scene, *lfdis):
    """Show some with an empty list of assignments: another server shows them."""
    seen = scene.seen(scene.program(controls=[scene.control()]))
    away = {lfdi: replace(seen.members[lfdi], programs=(), is_assigned=False) for lfdi in lfdis}
    return replace(seen, members={**seen.members, **away})


async def test_who_could_come_is_registered_here_without_programs_and_nothing_is_written_for_it_again(scene, above):
    scene.relayed.enrol = "take"
    first, second = scene.lfdis[:2]
    await mirror(above, scene.serving, scene.relayed, moved_away(scene, first))
    away = registry.device_of(scene.serving, first).der_id
    assert registry.device_of(scene.serving, first).pin == 111115
    assert members_of(scene.serving, scene.program()) == {second}
    assert (scene.relayed.ders >= {away}, scene.relayed.elsewhere) == (True, frozenset())
    serving, relayed = scene.restarted("take")
    assert (await mirror(above, serving, relayed, moved_away(scene, first))).commits == 0
    assert relayed.elsewhere == frozenset(), "nobody else is known to serve it"


async def test_who_moves_away_and_back_stays_registered_and_a_member(scene, above):
    scene.relayed.enrol = "take"
    first = scene.lfdis[0]
    await mirror(above, scene.serving, scene.relayed, moved_away(scene))
    device, members = registry.device_of(scene.serving, first), dict(scene.relayed.members)
    changes = await mirror(above, scene.serving, scene.relayed, moved_away(scene, first))
    assert (changes.moved, changes.registered, changes.cancelled) == ([device.der_id], [], [])
    assert scene.relayed.elsewhere == {device.der_id}
    assert members_of(scene.serving, scene.program()) == {scene.lfdis[1]}
    assert registry.device_of(scene.serving, first) == device
    assert scene.relayed.members == members == scene.restarted()[1].members
    await mirror(above, scene.serving, scene.relayed, moved_away(scene))
    assert members_of(scene.serving, scene.program()) == set(scene.lfdis[:2])
    assert scene.relayed.elsewhere == scene.restarted("take")[1].elsewhere == frozenset()


async def test_that_another_serves_a_member_is_known_after_a_restart(scene, above):
    scene.relayed.enrol = "take"
    first, second = scene.lfdis[:2]
    await mirror(above, scene.serving, scene.relayed, moved_away(scene))
    changes = await mirror(above, scene.serving, scene.relayed, moved_away(scene, first))
    assert changes.commits == 1, "it is written with the memberships that end"
    serving, relayed = scene.restarted("take")
    assert relayed.elsewhere == {registry.device_of(serving, first).der_id}
    assert not relayed.speaks_for(registry.device_of(serving, first).der_id)
    assert relayed.speaks_for(registry.device_of(serving, second).der_id)
    assert (await mirror(above, serving, relayed, moved_away(scene, first))).commits == 0
    assert relayed.elsewhere == {registry.device_of(serving, first).der_id}
    await mirror(above, serving, relayed, scene.seen(scene.program(), members={second: ()}))
    assert scene.restarted("take")[1].elsewhere == frozenset(), "whom nobody lists is nowhere"
    assert not [record for record in serving.store.load(KnownRecord) if record.name.startswith("elsewhere/")]


async def test_a_relay_that_takes_nobody_any_more_forgets_who_was_elsewhere(scene, above):
    scene.relayed.enrol = "take"
    for seen in (moved_away(scene), moved_away(scene, scene.lfdis[0])):
        await mirror(above, scene.serving, scene.relayed, seen)
    serving, relayed = scene.restarted("none")
    await mirror(above, serving, relayed, moved_away(scene, scene.lfdis[0]))
    assert scene.restarted("none")[1].elsewhere == frozenset()


async def test_only_who_takes_from_its_server_may_have_members_that_another_serves(scene, above):
    await scene.register()
    await mirror(above, scene.serving, scene.relayed, moved_away(scene, scene.lfdis[0]))
    assert scene.relayed.elsewhere == frozenset()


async def test_a_pin_that_changes_above_changes_here(scene, above):
    scene.relayed.enrol = "take"
    seen = scene.seen(scene.program())
    await mirror(above, scene.serving, scene.relayed, seen)
    changed = {lfdi: replace(member, pin=222225) for lfdi, member in seen.members.items()}
    await mirror(above, scene.serving, scene.relayed, replace(seen, members=changed))
    assert registry.device_of(scene.serving, scene.lfdis[0]).pin == 222225
    unknown = {lfdi: replace(member, pin=None) for lfdi, member in seen.members.items()}
    assert (await mirror(above, scene.serving, scene.relayed, replace(seen, members=unknown))).commits == 0


async def test_an_lfdi_whose_sfdi_is_taken_is_refused(scene, above):
    await scene.register(scene.lfdis[0])
    scene.relayed.enrol = "take"
    twin = scene.lfdis[0][:-1] + "0"
    changes = await mirror(above, scene.serving, scene.relayed, scene.seen(members={twin: (), scene.lfdis[1]: ()}))
    assert "has the SFDI" in changes.refused[f"device {twin}"]
    assert registry.device_of(scene.serving, scene.lfdis[1]) is not None, "the rest goes on"


async def test_an_lfdi_that_was_replaced_here_is_not_taken_again(scene, above):
    (device,) = await scene.register(scene.lfdis[0])
    identity = scene.serving.identities[scene.lfdis[0]]
    await scene.serving.commit([replace(identity, valid_to=scene.clock.now())])
    scene.relayed.enrol = "take"
    changes = await mirror(above, scene.serving, scene.relayed, scene.seen(members={scene.lfdis[0]: ()}))
    assert changes.refused == {f"device {scene.lfdis[0]}": "it was taken out or replaced here"}
    assert list(scene.serving.devices) == [device.der_id]


async def test_the_entry_of_a_party_is_no_member(scene, above):
    await scene.register(scene.lfdis[0], aggregates="flexco")
    changes = await mirror(above, scene.serving, scene.relayed, scene.seen(members={scene.lfdis[0]: ()}))
    assert list(changes.refused) == [f"device {scene.lfdis[0]}"]


async def test_who_is_offered_and_not_registered_here_any_more_is_only_ignored(scene, above):
    scene.relayed.enrol = "offer"
    changes = await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program()))
    assert changes.refused == {}
    assert scene.serving.store.load(EndDeviceRecord) == []


async def test_nothing_changes_when_the_store_refuses(scene, above):
    await scene.register()
    store = scene.serving.store

    class Full:
        async def commit(self, put=(), delete=()):
            raise LinkError("no space left")

        def __getattr__(self, name):
            return getattr(store, name)

    scene.serving.store = Full()
    with pytest.raises(LinkError):
        await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(1, [scene.control()])))
    assert scene.serving.programs == scene.serving.groups == scene.relayed.members == {}
    scene.serving.store = store
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(1, [scene.control()])))
    assert members_of(scene.serving, scene.program()) == set(scene.lfdis[:2])
