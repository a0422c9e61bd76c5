"""Why a DER should do what it does: the event rules are the engine's, the reasons are told."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tierline.model.control import Curve, CurvePoint, EventStatus, Setpoints
from tierline.model.errors import Forbidden
from tierline.model.identity import Mrid
from tierline.model.parties import Principal, Role
from tierline.operations.serving import dispatch, programs, topology
from tierline.operations.serving.explain import RECENT, acts_on, explain, seen_at

FIFTY, TWENTY = Decimal(50), Decimal(20)


@pytest.fixture
def why(operator, serving, der):
    """Explain a DER: its functions by name, its events by mRID."""

    def ask(point="pv-1"):
        found = explain(operator, serving, der(point))
        return {one.function: one for one in found.functions}, {one.mrid: one for one in found.events}

    return ask


async def test_nothing_is_commanded_of_a_new_der(operator, serving, der):
    found = explain(operator, serving, der("pv-1"))
    assert (found.functions, found.events, found.last_seen, found.readings) == ((), (), None, ())
    assert [(group.name, group.cause) for group in found.groups] == [
        ("feeder-1", "registered"),
        ("sub-1", "registered"),
        ("two feeders", "registered"),
    ]
    assert [program.group for program in found.programs] == ["feeder-1", "sub-1", "two feeders"]


async def test_an_active_control_commands(send, clock, why):
    control = await send("feeder-1", start=clock.now(), reason="overload", max_lim_w_pct=FIFTY)
    functions, events = why()
    function = functions["max_lim_w_pct"]
    assert (function.value, function.source, function.mrid, function.group) == ("50", "event", control.mrid, "feeder-1")
    assert (function.binding, function.confirmed) == (True, False)
    assert function.until == clock.now() + timedelta(minutes=15)
    event = events[control.mrid]
    assert (event.status, event.holds, event.why) == (EventStatus.ACTIVE, ("max_lim_w_pct",), "it ranks first")
    assert [(act.verb, act.principal, act.reason) for act in event.acts] == [("control", "ada", "overload")]


async def test_a_control_of_another_feeder_is_not_its_business(send, clock, why):
    await send("feeder-2", start=clock.now(), max_lim_w_pct=FIFTY)
    assert why("pv-1") == ({}, {})


async def test_a_control_to_come_commands_nothing_yet(send, clock, why):
    control = await send("feeder-1", start=clock.now() + timedelta(minutes=6), max_lim_w_pct=FIFTY)
    functions, events = why()
    assert functions == {}
    assert (events[control.mrid].holds, events[control.mrid].why) == ((), "it begins in 0:06:00")


async def test_a_default_holds_while_no_control_does(operator, serving, send, clock, why):
    for name, value in (("two feeders", 90), ("feeder-1", 80)):
        group_id = topology.find_group(serving, name).group.id
        await programs.set_default(
            operator, serving, group_id, Setpoints.of({"max_lim_w_pct": Decimal(value), "connect": True})
        )
    functions, _ = why()
    function = functions["max_lim_w_pct"]
    assert (function.value, function.source, function.group, function.until) == ("80", "default", "feeder-1", None)
    assert (function.confirmed, function.binding) == (None, True)
    await send("sub-1", start=clock.now(), max_lim_w_pct=FIFTY)
    functions, _ = why()
    assert functions["max_lim_w_pct"].source == "event"
    assert functions["connect"].source == "default"
    clock.move(minutes=20)
    assert why()[0]["max_lim_w_pct"].source == "default"


async def test_the_stronger_program_takes_over_and_what_is_lost_is_not_regained(send, clock, why):
    weak = await send("sub-1", start=clock.now(), duration_s=3600, max_lim_w_pct=FIFTY, connect=True)
    clock.move(minutes=1)
    strong = await send("feeder-1", start=clock.now(), duration_s=300, max_lim_w_pct=TWENTY)
    functions, events = why()
    assert (functions["max_lim_w_pct"].value, functions["connect"].mrid) == ("20", weak.mrid)
    assert events[weak.mrid].holds == ("connect",)
    assert events[weak.mrid].why == "it ranks first, but not for max_lim_w_pct"
    clock.move(minutes=10)
    functions, events = why()
    assert "max_lim_w_pct" not in functions
    assert (events[strong.mrid].holds, events[strong.mrid].why) == ((), "it is over")
    # On the other feeder nothing took it away.
    assert why("pv-3")[0]["max_lim_w_pct"].value == "50"


async def test_a_newer_control_of_the_same_program_takes_its_place(send, clock, why):
    old = await send("feeder-1", start=clock.now(), max_lim_w_pct=FIFTY)
    clock.move(minutes=1)
    new = await send("feeder-1", start=clock.now(), max_lim_w_pct=TWENTY)
    functions, events = why()
    assert functions["max_lim_w_pct"].value == "20"
    assert events[old.mrid].status is EventStatus.SUPERSEDED
    assert events[old.mrid].why == f"event {new.mrid} took its place"


@pytest.mark.parametrize("randomized", [False, True])
async def test_a_cancelled_control_commands_nothing(operator, serving, send, clock, why, randomized):
    control = await send("feeder-1", start=clock.now(), max_lim_w_pct=FIFTY)
    clock.move(minutes=1)
    await dispatch.cancel_control(operator, serving, control.mrid, randomized=randomized, reason="forecast")
    clock.move(minutes=1)
    functions, events = why()
    assert functions == {}
    assert events[control.mrid].why == "it was cancelled"
    assert [act.verb for act in events[control.mrid].acts] == ["control", "cancel"]


async def test_what_a_cancelled_control_took_is_not_given_back(operator, serving, send, clock, why):
    weak = await send("sub-1", start=clock.now(), duration_s=3600, max_lim_w_pct=FIFTY)
    clock.move(minutes=1)
    strong = await send("feeder-1", start=clock.now(), duration_s=3600, max_lim_w_pct=TWENTY)
    clock.move(minutes=1)
    await dispatch.cancel_control(operator, serving, strong.mrid)
    clock.move(minutes=1)
    functions, events = why()
    assert functions == {}
    assert events[weak.mrid].why == f"event {strong.mrid} took its place"


async def test_two_limits_stay_and_one_binds(send, clock, why):
    await send("feeder-1", start=clock.now(), max_lim_w_pct=FIFTY)
    await send("sub-1", start=clock.now(), gen_lim_w=Decimal(2000))
    functions, _ = why("pv-1")
    assert functions["gen_lim_w"].binding is True
    assert functions["max_lim_w_pct"].binding is False
    assert functions["max_lim_w_pct"].why == "not binding: gen_lim_w of this server is tighter"


async def test_what_the_der_answered_is_told(send, clock, why, respond):
    control = await send("feeder-1", start=clock.now(), max_lim_w_pct=FIFTY)
    for status in (1, 2):
        clock.move(seconds=5)
        await respond("pv-1", control.mrid, status)
    functions, events = why()
    assert functions["max_lim_w_pct"].confirmed is True
    assert [answer.status for answer in events[control.mrid].answers] == [1, 2]
    clock.move(seconds=5)
    await respond("pv-1", control.mrid, 6)
    assert why()[0]["max_lim_w_pct"].confirmed is False


async def test_a_der_that_moved_sees_the_controls_of_its_new_feeder(operator, serving, send, clock, why):
    control = await send("feeder-1", start=clock.now(), max_lim_w_pct=FIFTY)
    assert why("pv-4") == ({}, {})
    clock.move(minutes=2)
    await topology.confirm_switching(operator, serving, {2: False, 3: True})
    functions, events = why("pv-4")
    assert functions["max_lim_w_pct"].mrid == control.mrid
    assert events[control.mrid].holds == ("max_lim_w_pct",)


async def test_a_control_for_another_category_is_not_for_it(serving, send, clock, why):
    control = await send("feeder-1", start=clock.now(), max_lim_w_pct=FIFTY)
    record = serving.control(control.mrid)
    await serving.commit([replace(record, control=replace(control, device_category=1))])
    functions, events = why()
    assert functions == {}
    assert events[control.mrid].why == "it is for DERs of another category"


async def test_an_event_that_another_one_of_its_kind_holds_back_is_told(send, clock, why):
    await send("feeder-1", start=clock.now(), max_lim_w_pct=FIFTY)
    late = await send("sub-1", start=clock.now(), max_lim_w_pct=TWENTY)
    assert "took its place" in why()[1][late.mrid].why


async def test_old_controls_are_told_of_for_a_day(send, clock, why):
    control = await send("feeder-1", start=clock.now(), max_lim_w_pct=FIFTY)
    clock.move(hours=23)
    assert control.mrid in why()[1]
    clock.time += RECENT
    assert why()[1] == {}


async def test_curves_are_told_in_words(send, clock, why):
    points = tuple(CurvePoint(x=Decimal(x), y=Decimal(y)) for x, y in ((92, 44), (98, 0)))
    await send("feeder-1", start=clock.now(), volt_var=Curve(mrid=Mrid("0" * 32), points=points))
    assert why()[0]["volt_var"].value == "(92, 44) (98, 0)"
    assert why()[0]["volt_var"].binding is None


async def test_it_tells_when_the_der_called_and_what_it_measured(operator, serving, der, clock, measure):
    device = der("pv-1")
    serving.last_seen[device.der_id] = clock.now().timestamp()
    await measure("pv-1", "w", 7000)
    found = explain(operator, serving, device)
    assert found.last_seen == seen_at(serving, device.der_id) == clock.now()
    assert [record.reading.value for record in found.readings] == [7000]


async def test_a_der_cannot_ask(serving, der):
    someone = Principal(party=serving.party, role=Role.DEVICE, name="x")
    with pytest.raises(Forbidden):
        explain(someone, serving, der("pv-1"))


async def test_acts_on_an_unknown_control_are_none(serving, send, clock):
    control = await send("feeder-1", start=clock.now(), max_lim_w_pct=FIFTY)
    record = serving.control(control.mrid)
    assert [act.verb for act in acts_on(serving, record)] == ["control"]
    assert acts_on(serving, replace(record, mrid=Mrid("1" * 32))) == ()
