from dataclasses import replace
from decimal import Decimal

from tierline.model.control import EventStatus, Setpoints
from tierline.model.records import AuditRecord
from tierline.operations.relay.downward import mirror
from tierline.operations.serving.audit import faults


def controls_of(serving, program):
    return {mrid: record.control for mrid, record in serving.programs[program.mrid].controls.items()}


def audit(serving):
    return serving.store.load(AuditRecord)


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
