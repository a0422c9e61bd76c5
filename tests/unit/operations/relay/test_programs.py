from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tierline.engine.serving_status import served_status
from tierline.model.control import Curve, CurvePoint, EventStatus, Setpoints
from tierline.model.errors import ConfigError, Conflict
from tierline.model.identity import Mrid
from tierline.model.parties import Role
from tierline.model.records import ProgramRecord
from tierline.operations.relay.downward import mirror
from tierline.operations.serving import dispatch
from tierline.operations.serving import programs as own_programs


def controls_of(serving, program):
    return {mrid: record.control for mrid, record in serving.programs[program.mrid].controls.items()}


def members_of(serving, program):
    group = serving.programs[program.mrid].record.group_id
    return {serving.lfdi_of[der] for der in serving.members_of.get(group, ())}


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


@pytest.mark.parametrize("waited_s", [70, 60 + 30 + 600])
async def test_what_is_gone_and_took_nothing_above_was_cancelled_before_it_began(scene, above, waited_s):
    """A relay that was cut off meanwhile takes nothing from the event it would have superseded either (R3)."""
    await scene.register()
    older = scene.control(1)
    newer = replace(scene.control(2), creation_time=older.creation_time + timedelta(seconds=1))
    long = replace(older, interval=replace(older.interval, duration_s=3600))
    await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(controls=[long, newer])))
    scene.clock.move(seconds=waited_s)
    shown = replace(long, status=EventStatus.ACTIVE)
    changes = await mirror(above, scene.serving, scene.relayed, scene.seen(scene.program(controls=[shown])))
    kept = controls_of(scene.serving, scene.program())
    assert (kept[newer.mrid].status, changes.cancelled) == (EventStatus.CANCELLED, [newer.mrid])
    assert served_status(kept[long.mrid], kept.values(), scene.clock.now()) is EventStatus.ACTIVE


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
    stranger = replace(above, role=Role.VIEWER)
    changes = await mirror(stranger, scene.serving, scene.relayed, scene.seen(scene.program(2)))
    assert changes.added == []


async def test_a_control_another_program_has_is_refused_and_the_rest_goes_on(scene, above):
    await scene.register()
    control = scene.control()
    strong = scene.program(1, [control], primacy=1)
    weak = scene.program(2, [control, scene.control(2)], primacy=2)
    found = await scene.refused(above, weak, strong)
    assert list(found) == [f"control {control.mrid} of {weak.mrid}"]
    assert set(controls_of(scene.serving, strong)) == {control.mrid}
    assert set(controls_of(scene.serving, weak)) == {scene.control(2).mrid}


async def test_an_invalid_control_is_refused(scene, above):
    await scene.register()
    found = await scene.refused(above, scene.program(1, [scene.control(invalid="the curve has no points")]))
    assert list(found.values()) == ["the curve has no points"]


async def test_what_no_south_face_can_carry_is_refused(scene, above):
    await scene.register()
    scene.serving.carriers.append(lambda _setpoints, ramp: "no ramp times" if ramp else "")
    program = scene.program(1, [scene.control(ramp_time_s=Decimal(5)), scene.control(2)])
    changes = await mirror(above, scene.serving, scene.relayed, scene.seen(program))
    (why,) = changes.refused.values()
    assert "no ramp times" in why
    assert changes.created == [scene.control(2).mrid]


async def test_a_curve_of_another_program_is_refused(scene, above):
    await scene.register()
    curve = Curve(mrid=Mrid("E" * 32), points=(CurvePoint(x=Decimal(95), y=Decimal(30)),))
    setpoints = Setpoints.of({"volt_var": curve})
    one = scene.program(1, [scene.control(1, setpoints=setpoints)], primacy=1)
    two = scene.program(
        2, [scene.control(2, setpoints=setpoints)], default=scene.default(setpoints=setpoints), primacy=2
    )
    found = await scene.refused(above, one, two)
    assert set(found) == {f"control {scene.control(2).mrid} of {two.mrid}", f"default of {two.mrid}"}
    assert all("has its curve" in why for why in found.values())


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
