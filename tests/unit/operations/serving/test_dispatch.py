from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tierline.engine.governor import Cap
from tierline.model.control import EventStatus, Setpoints
from tierline.model.errors import ConfigError, Conflict, Forbidden, LinkError
from tierline.model.identity import Mrid
from tierline.model.parties import Principal, Role
from tierline.model.records import AuditRecord, ControlRecord
from tierline.operations.serving.audit import faults
from tierline.operations.serving.dispatch import Order, cancel_control, check_order, create_control, progress
from tierline.operations.serving.topology import confirm_switching, find_group

LIMIT = Setpoints.of({"max_lim_w_pct": Decimal(50)})


@pytest.fixture
def order(serving, later):
    return Order(
        group_id=find_group(serving, "feeder-1").group.id, setpoints=LIMIT, start=later(hours=1), duration_s=900
    )


async def test_a_control_is_kept_shown_and_audited_in_one_transaction(serving, operator, order, restarted):
    commits = serving.commits
    record = await create_control(operator, serving, replace(order, reason="storm"))
    assert serving.commits == commits + 1
    assert serving.control(record.mrid) == restarted().control(record.mrid) == record
    control = record.control
    assert control.interval.start == order.start
    assert control.provenance.party == operator.party
    line = serving.audit_tail
    assert (line.principal, line.verb, line.resource) == (operator.name, "control", f"control {record.mrid}")
    assert '"reason":"storm"' in line.detail
    assert "storm" not in str(control), "the reason stays here"


async def test_fractions_of_a_second_are_cut_off_for_the_wire_knows_none(serving, operator, order):
    record = await create_control(
        operator, serving, replace(order, start=order.start + timedelta(microseconds=999_999))
    )
    assert record.control.interval.start == order.start


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"setpoints": Setpoints()}, "nothing is commanded"),
        ({"duration_s": 0}, "at least one second, not 0"),
        ({"randomize_start_s": -3601}, "the start can be randomized by at most 3600 s, not -3601"),
        ({"randomize_duration_s": 3601}, "the duration can be randomized"),
    ],
)
async def test_an_order_that_makes_no_sense_is_refused_with_what_to_change(serving, operator, order, change, what):
    with pytest.raises(ConfigError, match=what):
        await create_control(operator, serving, replace(order, **change))
    assert serving.store.load(ControlRecord) == []


def test_an_order_that_would_be_over_is_refused(order, clock):
    past = replace(order, start=clock.now() - timedelta(seconds=900))
    with pytest.raises(ConfigError, match="which is now; start it later"):
        check_order(past, clock.now())
    check_order(replace(past, duration_s=901), clock.now())


def test_an_order_beyond_all_time_is_refused(order, clock):
    with pytest.raises(ConfigError, match="beyond the year 9999"):
        check_order(replace(order, duration_s=10**12), clock.now())


async def test_a_group_that_is_not_there_is_named(serving, operator, order):
    with pytest.raises(ConfigError, match="there is no group 'moon'"):
        await create_control(operator, serving, replace(order, group_id="moon"))


async def test_a_full_disk_creates_and_cancels_nothing(serving, operator, order, full_disk):
    record = await create_control(operator, serving, order)
    tail = serving.audit_tail
    full_disk()
    with pytest.raises(LinkError):
        await create_control(operator, serving, order)
    with pytest.raises(LinkError):
        await cancel_control(operator, serving, record.mrid)
    assert list(serving.program_of_control) == [record.mrid]
    assert serving.control(record.mrid).control.status is EventStatus.SCHEDULED
    assert serving.audit_tail == tail
    assert serving.granted == serving.granted[:1]


async def test_the_governor_stops_more_than_a_node_may_move(serving, operator, order):
    serving.budget = (
        Cap(name="day", window=timedelta(days=1), power_w=Decimal(15_000), devices=None, per_principal=False),
    )
    await create_control(operator, serving, order)
    with pytest.raises(Forbidden, match="refused by the governor"):
        await create_control(operator, serving, order)
    assert len(serving.store.load(ControlRecord)) == 1


@pytest.mark.parametrize(
    ("randomized", "status"), [(False, EventStatus.CANCELLED), (True, EventStatus.CANCELLED_RANDOMIZED)]
)
async def test_a_cancelled_control_stays_visible_as_cancelled(serving, operator, order, restarted, randomized, status):
    record = await create_control(operator, serving, order)
    await cancel_control(operator, serving, record.mrid, randomized=randomized)
    for state in (serving, restarted()):
        assert state.control(record.mrid).control.status is status
    assert serving.audit_tail.verb == "cancel"
    with pytest.raises(Conflict, match="is cancelled already"):
        await cancel_control(operator, serving, record.mrid)


async def test_what_has_ended_or_is_not_there_is_not_cancelled(serving, operator, order, clock):
    record = await create_control(operator, serving, order)
    clock.move(hours=2)
    with pytest.raises(Conflict, match=r"ended at 2026-06-18 13:15:00 UTC"):
        await cancel_control(operator, serving, record.mrid)
    with pytest.raises(ConfigError, match="there is no control ABC"):
        await cancel_control(operator, serving, Mrid("ABC"))


async def test_progress_shows_members_and_whoever_answered(serving, operator, order, der, respond, clock):
    record = await create_control(operator, serving, order)
    clock.move(minutes=1)
    await respond("pv-1", record.mrid, 1)
    clock.move(hours=1)
    await respond("pv-1", record.mrid, 2)
    await confirm_switching(operator, serving, {1: False})
    found = {state.der_id: state for state in progress(operator, serving, record.mrid)}
    assert set(found) == {der("pv-1").der_id}
    state = found[der("pv-1").der_id]
    assert state.responses == (1, 2)
    assert not state.is_member
    assert state.responded_at == clock.now()
    await confirm_switching(operator, serving, {1: True})
    found = {state.der_id: state for state in progress(operator, serving, record.mrid)}
    assert set(found) == {der("pv-1").der_id, der("pv-2").der_id}
    assert found[der("pv-2").der_id].responses == ()
    assert found[der("pv-2").der_id].responded_at is None
    with pytest.raises(ConfigError, match="there is no control"):
        progress(operator, serving, Mrid("ABC"))


async def test_a_viewer_looks_and_does_nothing(serving, operator, order):
    viewer = Principal(party=serving.party, role=Role.VIEWER, name="eve")
    record = await create_control(operator, serving, order)
    assert progress(viewer, serving, record.mrid)
    with pytest.raises(Forbidden):
        await create_control(viewer, serving, order)
    with pytest.raises(Forbidden):
        await cancel_control(viewer, serving, record.mrid)
    assert faults(serving.store.load(AuditRecord)) == []
