import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tierline.model.control import Curve, CurvePoint, EventStatus, Setpoints
from tierline.model.errors import ConfigError, Conflict, LinkError
from tierline.model.identity import Mrid
from tierline.model.parties import Role
from tierline.model.records import AuditRecord, EndDeviceRecord, MembershipRecord, ProgramRecord
from tierline.operations.relay.downward import mirror
from tierline.operations.serving import dispatch, registry, topology
from tierline.operations.serving import programs as own_programs
from tierline.operations.serving.audit import faults


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


@pytest.mark.parametrize("status", [EventStatus.CANCELLED, EventStatus.CANCELLED_RANDOMIZED, EventStatus.SUPERSEDED])
async def test_what_was_decided_above_is_decided_here(scene, above, status):
    await scene.register()
    control = scene.control()
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(controls=[control])))
    first = scene.clock.now()
    scene.clock.move(seconds=70)
    decided = replace(control, status=status, status_time=scene.clock.now())
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(controls=[decided])))
    kept = controls_of(scene.serving, scene.program())[control.mrid]
    assert (kept.status, kept.status_time) == (status, scene.clock.now())
    assert kept.provenance.received_at == first


async def test_an_event_that_is_not_shown_any_more_before_its_end_is_cancelled(scene, above):
    await scene.register()
    control = scene.control()
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(controls=[control])))
    scene.clock.move(seconds=70)
    changes = await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program()))
    kept = controls_of(scene.serving, scene.program())[control.mrid]
    assert (kept.status, kept.status_time) == (EventStatus.CANCELLED, scene.clock.now())
    assert changes.cancelled == [control.mrid]
    again = await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program()))
    assert again.commits == 0


async def test_an_event_that_is_over_may_leave_its_list(scene, above):
    await scene.register()
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(controls=[scene.control()])))
    scene.clock.move(seconds=60 + 30 + 600)
    changes = await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program()))
    assert changes.commits == 0


async def test_whether_an_event_is_over_is_told_by_the_clock_of_its_server(scene, above):
    await scene.register()
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(controls=[scene.control()])))
    scene.clock.move(seconds=60 + 30 + 590)
    changes = await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(), clock_offset_s=20.0))
    assert changes.cancelled == []


async def test_a_default_follows_and_ends(scene, above):
    await scene.register()
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(default=scene.default(80))))
    served = scene.serving.programs[scene.program().mrid]
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(default=scene.default(60))))
    assert served.default.default.setpoints["max_lim_w_pct"] == 60
    changes = await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program()))
    assert served.default is None
    assert changes.defaults == [scene.program().mrid]
    assert scene.restarted()[0].programs[scene.program().mrid].default is None


async def test_primacy_and_description_follow(scene, above):
    await scene.register()
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(primacy=9)))
    group = scene.serving.programs[scene.program().mrid].record.group_id
    await mirror(above, scene.serving, scene.relayed, scene.seen(replace(scene.program(primacy=3), description="x")))
    record = scene.serving.programs[scene.program().mrid].record
    assert (record.primacy, record.description, record.group_id) == (3, "x", group)


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


async def test_a_program_nobody_is_shown_keeps_its_events_and_loses_its_members(scene, above):
    await scene.register()
    program = scene.program(controls=[scene.control()])
    await mirror(above, scene.serving, scene.relayed, scene.seen(program))
    await mirror(above, scene.serving, scene.relayed, scene.seen(members=dict.fromkeys(scene.lfdis[:2], ())))
    assert members_of(scene.serving, program) == set()
    assert [control.status for control in controls_of(scene.serving, program).values()] == [EventStatus.SCHEDULED]
    scene.clock.move(seconds=1)
    changes = await mirror(above, scene.serving, scene.relayed, scene.seen(program))
    assert members_of(scene.serving, program) == set(scene.lfdis[:2])
    assert changes.created == changes.changed == []


async def test_a_program_that_is_gone_is_removed_when_nothing_of_it_is_kept(scene, above):
    await scene.register()
    curve = Curve(mrid=Mrid("E" * 32), points=(CurvePoint(x=Decimal(95), y=Decimal(30)),))
    program = scene.program(default=scene.default(setpoints=Setpoints.of({"volt_var": curve})))
    await mirror(above, scene.serving, scene.relayed, scene.seen(program))
    changes = await mirror(above, scene.serving, scene.relayed, scene.seen())
    assert changes.removed == [program.mrid]
    assert scene.serving.programs == scene.serving.groups == scene.serving.program_of_curve == {}
    assert scene.serving.store.load(ProgramRecord) == []
    again = scene.restarted()[0]
    assert again.programs == again.groups == again.memberships == {}
    assert (await mirror(above, scene.serving, scene.relayed, scene.seen())).commits == 0
    await mirror(above, scene.serving, scene.relayed, scene.seen(program))
    assert members_of(scene.serving, program) == set(scene.lfdis[:2])


async def test_a_program_that_is_gone_stays_while_its_controls_are_kept(scene, above):
    await scene.register()
    program = scene.program(controls=[scene.control()])
    await mirror(above, scene.serving, scene.relayed, scene.seen(program))
    scene.clock.move(days=1)
    changes = await mirror(above, scene.serving, scene.relayed, scene.seen())
    assert changes.removed == []
    assert program.mrid in scene.serving.programs


# --- refusals -------------------------------------------------------------------------------------------------------


async def refused(scene, above, *programs):
    changes = await mirror(above, scene.serving, scene.relayed, scene.seen(*programs))
    assert changes.refused
    lines = [line for line in audit(scene.serving) if line.outcome == "refused"]
    assert [line.resource for line in lines] == list(changes.refused)
    assert faults(audit(scene.serving)) == []
    assert (await mirror(above, scene.serving, scene.relayed, scene.seen(*programs))).commits == 0, "told once"
    serving, relayed = scene.restarted()
    assert (await mirror(above, serving, relayed, scene.seen(*programs))).commits == 0, "told once in all lives"
    return changes.refused


async def test_a_program_of_our_own_is_not_the_servers_to_change(serving, scene, above):
    scene.serving = serving
    mrid, mine = next(iter(serving.programs.items()))
    before = mine.record
    scene.lfdis = []
    theirs = replace(scene.program(), mrid=mrid, primacy=1)
    found = (await mirror(above, serving, scene.relayed, scene.seen(theirs, scene.program()))).refused
    assert "not in its scope" in found[f"program {mrid}"]
    assert serving.programs[mrid].record == before
    assert scene.program().mrid in serving.programs, "the rest goes on"


async def test_who_is_no_server_above_may_not_mirror(scene, above):
    await scene.register()
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program()))
    changes = await mirror(
        replace(above, role=Role.DEVICE), scene.serving, scene.relayed, scene.seen(scene.program(primacy=1))
    )
    assert list(changes.refused) == [f"program {scene.program().mrid}"]


async def test_a_control_another_program_has_is_refused_and_the_rest_goes_on(scene, above):
    await scene.register()
    control = scene.control()
    strong = scene.program(1, [control], primacy=1)
    weak = scene.program(2, [control, scene.control(2)], primacy=2)
    found = await refused(scene, above, weak, strong)
    assert list(found) == [f"control {control.mrid} of {weak.mrid}"]
    assert set(controls_of(scene.serving, strong)) == {control.mrid}
    assert set(controls_of(scene.serving, weak)) == {scene.control(2).mrid}


async def test_an_invalid_control_is_refused(scene, above):
    await scene.register()
    found = await refused(scene, above, scene.program(1, [scene.control(invalid="the curve has no points")]))
    assert list(found.values()) == ["the curve has no points"]


async def test_what_no_south_face_can_carry_is_refused(scene, above):
    await scene.register()
    scene.serving.carriers.append(lambda _setpoints, ramp: "no ramp times" if ramp else "")
    found = await refused_without_restart(scene, above, scene.control(ramp_time_s=Decimal(5)))
    assert "no ramp times" in found


async def refused_without_restart(scene, above, control):
    changes = await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(1, [control])))
    return next(iter(changes.refused.values()))


async def test_a_curve_of_another_program_is_refused(scene, above):
    await scene.register()
    curve = Curve(mrid=Mrid("E" * 32), points=(CurvePoint(x=Decimal(95), y=Decimal(30)),))
    setpoints = Setpoints.of({"volt_var": curve})
    one = scene.program(1, [scene.control(1, setpoints=setpoints)], primacy=1)
    two = scene.program(
        2, [scene.control(2, setpoints=setpoints)], default=scene.default(setpoints=setpoints), primacy=2
    )
    found = await refused(scene, above, one, two)
    assert set(found) == {f"control {scene.control(2).mrid} of {two.mrid}", f"default of {two.mrid}"}
    assert all("has its curve" in why for why in found.values())


async def test_what_is_right_again_is_taken_and_a_new_refusal_is_told_again(scene, above):
    await scene.register()
    bad = scene.control(invalid="no points")
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(1, [bad])))
    good = replace(bad, invalid="")
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(1, [good])))
    assert scene.relayed.refused == scene.restarted()[1].refused == {}
    assert bad.mrid in scene.serving.program_of_control
    assert (await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(1, [bad])))).refused
    assert controls_of(scene.serving, scene.program())[bad.mrid].status is EventStatus.SCHEDULED, "it is still shown"


# --- who is registered ----------------------------------------------------------------------------------------------


async def test_a_member_not_registered_here_is_refused_and_ignored(scene, above):
    await scene.register(scene.lfdis[0])
    found = await refused(scene, above, scene.program())
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


# --- the audit, and who may act -------------------------------------------------------------------------------------


async def test_every_change_of_a_control_is_one_line_of_the_audit(scene, above):
    await scene.register()
    control = scene.control()
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(1, [control])))
    changed = replace(control, setpoints=Setpoints.of({"max_lim_w_pct": Decimal(40)}))
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(1, [changed])))
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(1)))
    lines = [line for line in audit(scene.serving) if line.verb == "relay"]
    assert [(line.resource, line.outcome) for line in lines] == [
        (f"control {control.mrid}", outcome) for outcome in ("created", "changed", "cancelled")
    ]
    assert {line.principal for line in lines} == {"utility"}
    assert faults(audit(scene.serving)) == []


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


async def test_what_is_relayed_is_not_the_operators_to_change(scene, above, operator):
    await scene.register()
    control = scene.control()
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(1, [control])))
    group = scene.serving.programs[scene.program().mrid].record.group_id
    order = dispatch.Order(
        group_id=group,
        setpoints=control.setpoints,
        start=scene.clock.now() + timedelta(seconds=60),
        duration_s=60,
    )
    with pytest.raises(ConfigError, match="relayed from utility"):
        await dispatch.create_control(operator, scene.serving, order)
    with pytest.raises(ConfigError, match="relayed from utility"):
        await own_programs.set_default(operator, scene.serving, group, control.setpoints)
    with pytest.raises(Conflict, match="relayed from utility"):
        await dispatch.cancel_control(operator, scene.serving, control.mrid)
