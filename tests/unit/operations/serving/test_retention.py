from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tierline.model.control import Curve, CurvePoint, Setpoints
from tierline.model.errors import Forbidden, LinkError
from tierline.model.identity import Mrid
from tierline.model.parties import Principal, Role
from tierline.model.records import AuditRecord, ControlRecord, CurveRecord, ReadingRecord, ResponseRecord
from tierline.model.telemetry import Reading
from tierline.operations.serving import retention
from tierline.operations.serving.audit import faults
from tierline.operations.serving.prices import NewPrice, NewTariff, create_tariff, set_prices
from tierline.operations.serving.programs import set_default
from tierline.operations.serving.retention import Forgotten, Retention, forget_old
from tierline.operations.serving.topology import find_group

KEPT = Retention(readings=timedelta(days=30), controls=timedelta(days=400))
CURVE = Curve(
    mrid=Mrid("0" * 32),
    points=(CurvePoint(x=Decimal(95), y=Decimal(44)), CurvePoint(x=Decimal(105), y=Decimal(-44))),
)


@pytest.fixture
def node(serving):
    return Principal(party=serving.party, role=Role.SELF, name="utility")


async def test_nothing_is_forgotten_before_its_time_and_nothing_said(serving, node, send, respond, measure, clock):
    control = await send("feeder-1", start=clock.now(), duration_s=60, max_lim_w_pct=Decimal(50))
    await respond("pv-1", control.mrid, 1)
    await measure("pv-1", "w", 7)
    tail = serving.audit_tail
    clock.move(days=30)
    assert await forget_old(node, serving, KEPT) == Forgotten(readings=0, controls=0)
    assert serving.audit_tail == tail
    clock.move(days=370)
    await forget_old(node, serving, KEPT)
    assert serving.control(control.mrid) is not None


async def test_old_readings_go_first_and_then_old_controls_with_their_answers_and_curves(
    serving, node, send, respond, measure, clock, restarted, der
):
    control = await send("feeder-1", start=clock.now(), duration_s=60, volt_var=CURVE)
    await respond("pv-1", control.mrid, 1)
    await respond("pv-2", control.mrid, 1)
    await measure("pv-1", "w", 7)
    clock.move(days=31)
    assert await forget_old(node, serving, KEPT) == Forgotten(readings=1, controls=0)
    assert serving.store.load(ReadingRecord) == []
    assert serving.latest, "what was last is still shown"
    clock.move(days=370)
    assert await forget_old(node, serving, KEPT) == Forgotten(readings=0, controls=1)
    for state in (serving, restarted()):
        assert state.control(control.mrid) is None
        assert not state.responses.get(control.mrid)
        assert not state.responses_of.get(der("pv-1").der_id)
        assert state.program_of_curve == {}
    for kind in (ControlRecord, ResponseRecord, CurveRecord):
        assert serving.store.load(kind) == []


async def test_what_was_forgotten_stands_in_the_audit_which_stays_whole(serving, node, send, clock):
    await send("feeder-1", start=clock.now(), duration_s=60, max_lim_w_pct=Decimal(50))
    clock.move(days=401)
    await forget_old(node, serving, KEPT)
    line = serving.audit_tail
    assert (line.verb, line.resource, line.detail) == ("forget", "store", '{"controls":1,"prices":0,"readings":0}')
    assert faults(serving.store.load(AuditRecord)) == []


async def test_the_curve_of_the_default_and_of_controls_to_come_is_kept(serving, node, operator, send, clock):
    group = find_group(serving, "feeder-1").group.id
    await set_default(operator, serving, group, Setpoints.of({"volt_var": CURVE}))
    default = await set_default(operator, serving, group, Setpoints.of({"volt_var": CURVE}))
    clock.move(days=401)
    coming = await send("feeder-1", start=clock.now(), duration_s=60, volt_var=CURVE)
    await forget_old(node, serving, KEPT)
    kept = {record.mrid for record in serving.store.load(CurveRecord)}
    assert kept == {default.default.setpoints["volt_var"].mrid, coming.setpoints["volt_var"].mrid}
    assert set(serving.program_of_curve) == kept


async def test_much_is_forgotten_in_small_steps(serving, node, send, clock, der, monkeypatch):
    monkeypatch.setattr(retention, "_READINGS_AT_ONCE", 2)
    monkeypatch.setattr(retention, "_CONTROLS_AT_ONCE", 2)
    for number in range(5):
        await send("feeder-1", start=clock.now(), duration_s=60 + number, max_lim_w_pct=Decimal(50))
    reading = Reading(der_id=der("pv-1").der_id, point="w", value=1, power_of_ten=0, time=clock.now())
    record = ReadingRecord(party=serving.party, meter_reading=Mrid("A" * 32), reading=reading, received_at=clock.now())
    times = [clock.now() + timedelta(seconds=number) for number in range(4)]
    await serving.commit([replace(record, reading=replace(reading, time=time)) for time in times])
    clock.move(days=401)
    commits = serving.commits
    assert await forget_old(node, serving, KEPT) == Forgotten(readings=4, controls=5)
    assert serving.commits == commits + 3 + 1


async def test_a_full_disk_is_reported_and_the_next_day_goes_on(serving, node, send, clock, full_disk):
    await send("feeder-1", start=clock.now(), duration_s=60, max_lim_w_pct=Decimal(50))
    clock.move(days=401)
    store = serving.store
    full_disk()
    with pytest.raises(LinkError):
        await forget_old(node, serving, KEPT)
    serving.store = store
    assert await forget_old(node, serving, KEPT) == Forgotten(readings=0, controls=1)


async def test_a_viewer_forgets_nothing(serving):
    viewer = Principal(party=serving.party, role=Role.VIEWER, name="eve")
    with pytest.raises(Forbidden):
        await forget_old(viewer, serving, KEPT)


async def test_prices_are_forgotten_as_long_after_their_end_as_controls_and_their_tariffs_stay(
    serving, node, operator, clock, restarted
):
    tariff = await create_tariff(operator, serving, NewTariff(description="day ahead", currency=978))
    hours = [
        NewPrice(start=clock.now() + timedelta(hours=hour), duration_s=3600, price=Decimal("0.1")) for hour in range(3)
    ]
    await set_prices(operator, serving, tariff.mrid, hours)
    clock.move(days=400, hours=2)
    assert await forget_old(node, serving, KEPT) == Forgotten(readings=0, controls=0, prices=1)
    for state in (serving, restarted()):
        starts = sorted(price.start for price in state.prices[tariff.mrid].values())
        assert starts == [hour.start for hour in hours[1:]]
        assert tariff.mrid in state.tariffs
