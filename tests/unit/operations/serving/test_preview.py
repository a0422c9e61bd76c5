"""What a control would do."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tierline.engine.governor import Cap
from tierline.model.control import Curve, CurvePoint, PowerFactor, Setpoints
from tierline.model.errors import Unsupported
from tierline.model.identity import Mrid, PartyId
from tierline.model.parties import Principal, Role
from tierline.model.records import DerInfoKind
from tierline.operations.serving import dispatch, programs, registry, telemetry, topology
from tierline.operations.serving.preview import preview_control
from tierline.ports import DeviceFacts
from tierline.protocols.sep2.codec import render
from tierline.protocols.sep2.mapping.carry import why_not
from tierline.protocols.sep2.mapping.described import lacking
from tierline.protocols.sep2.mapping.description import write_capability


@pytest.fixture
def preview(serving, operator, clock):
    """Preview a control for a group: `preview("feeder-1", max_lim_w_pct=Decimal(50))`."""

    def ask(group, *, after_s=0, duration_s=900, randomize_s=0, ramp_time_s=None, **setpoints):
        order = dispatch.Order(
            group_id=topology.find_group(serving, group).group.id,
            setpoints=Setpoints.of(setpoints),
            start=clock.now() + timedelta(seconds=after_s),
            duration_s=duration_s,
            randomize_start_s=randomize_s,
            randomize_duration_s=randomize_s,
            ramp_time_s=ramp_time_s,
        )
        return preview_control(operator, serving, order)

    return ask


@pytest.mark.parametrize(
    ("setpoints", "relief_w"),
    [
        ({"max_lim_w_pct": Decimal(50)}, 15_000),
        ({"max_lim_w_pct": Decimal(100)}, 0),
        ({"gen_lim_w": Decimal(12_000)}, 8_000),  # the unit of 10 kW stays below
        ({"max_lim_w_pct": Decimal(50), "gen_lim_w": Decimal(6_000)}, 19_000),  # 5 + 6 kW are left
        ({"fixed_w_pct": Decimal(-20)}, 30_000),
        ({"target_w": Decimal(5_000)}, 20_000),
        ({"connect": False}, 30_000),
        ({"energize": False}, 30_000),
        ({"connect": True}, None),
        ({"load_lim_w": Decimal(100)}, None),
        ({"fixed_pf_inject_w": PowerFactor(displacement=Decimal("0.95"), absorbing=True)}, None),
    ],
)
async def test_relief_is_what_the_ratings_allow(preview, setpoints, relief_w):
    assert preview("feeder-1", **setpoints).relief_w == relief_w


async def test_a_der_that_cannot_obey_is_excluded_with_the_reason(serving, operator, preview):
    await registry.enable(operator, serving, "pv-3", enabled=False)
    found = preview("feeder-2", connect=False)
    assert found.members == ()
    assert {one.why for one in found.excluded} == {
        "it is disabled",
        "it does not communicate: no certificate is registered",
    }
    assert (found.rated_w, found.relief_w) == (0, 0)


async def test_who_has_not_called_is_named(serving, der, clock, preview):
    serving.last_seen[der("pv-1").der_id] = clock.now().timestamp()
    assert preview("feeder-1", connect=False).not_seen == (der("pv-2").der_id,)


async def test_it_meets_what_is_in_force_at_the_same_time(send, clock, preview):
    control = await send("two feeders", start=clock.now() + timedelta(minutes=30), max_lim_w_pct=Decimal(80))
    (met,) = preview("feeder-1", after_s=1790, max_lim_w_pct=Decimal(50)).overlaps
    assert (met.record.mrid, met.functions, met.shared, met.wins) == (control.mrid, ("max_lim_w_pct",), 2, True)
    (met,) = preview("feeder-1", randomize_s=900, max_lim_w_pct=Decimal(50)).overlaps
    assert met.record.mrid == control.mrid
    assert preview("feeder-1", max_lim_w_pct=Decimal(50)).overlaps == ()
    assert preview("feeder-1", after_s=1790, connect=False).overlaps == ()


async def test_a_stronger_program_ranks_first(send, clock, preview):
    await send("feeder-1", start=clock.now(), max_lim_w_pct=Decimal(80))
    assert not preview("two feeders", max_lim_w_pct=Decimal(50)).overlaps[0].wins
    assert preview("feeder-2", max_lim_w_pct=Decimal(50)).overlaps == ()
    # In the same program the newer one ranks first.
    assert preview("feeder-1", max_lim_w_pct=Decimal(50)).overlaps[0].wins


async def test_a_cancelled_control_is_not_met(serving, operator, send, clock, preview):
    control = await send("feeder-1", start=clock.now(), max_lim_w_pct=Decimal(80))
    await dispatch.cancel_control(operator, serving, control.mrid)
    assert preview("feeder-1", max_lim_w_pct=Decimal(50)).overlaps == ()


async def test_a_der_without_a_place_counts_no_watts(serving, operator, preview):
    await registry.register(operator, serving, [registry.NewDevice(lfdi=None, managed_by=PartyId("aggregator"))])
    serving.grid = None
    assert preview("feeder-1", connect=False).rated_w == 0


async def test_what_the_governor_would_refuse_is_told(serving, preview):
    assert preview("feeder-1", connect=False).refused == ""
    serving.budget = (Cap(name="cautious", window=timedelta(hours=1), power_w=Decimal(20_000)),)
    assert "cautious: 30000 W" in preview("feeder-1", connect=False).refused
    assert serving.granted == []


async def test_what_no_south_face_can_carry_is_refused(serving, operator, send, clock, preview):
    serving.carriers = [why_not]
    for given in ({"gen_lim_w": Decimal(5)}, {"max_lim_w_pct": Decimal(50), "min_lim_w_pct": Decimal(5)}):
        with pytest.raises(Unsupported, match=r"nothing was sent: IEEE 2030\.5"):
            preview("feeder-1", **given)
        with pytest.raises(Unsupported, match="has no element for"):
            await send("feeder-1", start=clock.now(), **given)
        group_id = topology.find_group(serving, "feeder-1").group.id
        with pytest.raises(Unsupported):
            await programs.set_default(operator, serving, group_id, Setpoints.of(given))
    assert not serving.program_of_control
    await send("feeder-1", start=clock.now(), max_lim_w_pct=Decimal(50))
    serving.carriers = [why_not, lambda *_: ""]
    await send("feeder-1", start=clock.now(), gen_lim_w=Decimal(5))


@pytest.mark.parametrize(
    ("curve", "reason"),
    [
        ({"points": ((92, 44),)}, ""),
        ({"points": ((92, 44),), "open_loop_s": Decimal(1000)}, "openLoopTms"),
        ({"points": ((Decimal("1e12"), 44), (Decimal("1e-12"), 0))}, ""),
    ],
)
def test_curves_must_fit_their_elements(curve, reason):
    points = tuple(CurvePoint(x=Decimal(x), y=Decimal(y)) for x, y in curve["points"])
    made = Curve(**{**curve, "mrid": Mrid("0" * 32), "points": points})
    assert reason in why_not(Setpoints.of({"volt_var": made}), None)
    assert bool(reason) == bool(why_not(Setpoints.of({"volt_var": made}), None))


def capability(*functions):
    facts = DeviceFacts(
        manufacturer="m",
        model="x",
        serial="",
        version="1",
        nameplate={"rtg_max_w": Decimal(10_000)},
        settings={},
        functions=frozenset(functions),
    )
    return render(write_capability(facts))


async def test_who_has_no_such_function_by_its_own_word_will_refuse_it(serving, der, preview):
    serving.lacking = lacking
    who = Principal(party=serving.party, role=Role.DEVICE, name="x", lfdi=serving.lfdi_of[der("pv-1").der_id])
    await telemetry.put_info(
        who, serving, der("pv-1").der_id, DerInfoKind.CAPABILITY, capability("max_lim_w_pct", "target_w")
    )
    found = preview("feeder-1", max_lim_w_pct=Decimal(50), connect=False)
    assert [(one.der_id, one.why) for one in found.refusing] == [
        (der("pv-1").der_id, "by its capability it does not carry out connect")
    ]
    assert preview("feeder-1", max_lim_w_pct=Decimal(50)).refusing == ()
    serving.lacking = None
    assert preview("feeder-1", connect=False).refusing == ()


async def test_a_ramp_is_warned_of_and_who_refused_one_is_named(send, respond, der, clock, preview):
    assert preview("feeder-1", max_lim_w_pct=Decimal(50)).warnings == ()
    ramped = preview("feeder-1", ramp_time_s=Decimal(5), max_lim_w_pct=Decimal(50))
    assert (ramped.refusing, ramped.warnings) == ((), ("rampTms: a DER that has no such ramp answers 252",))
    control = await send("feeder-1", start=clock.now(), ramp_time_s=Decimal(9), max_lim_w_pct=Decimal(60))
    await respond("pv-1", control.mrid, 252)
    (one,) = preview("feeder-1", ramp_time_s=Decimal(5), max_lim_w_pct=Decimal(50)).refusing
    assert (one.der_id, one.why) == (
        der("pv-1").der_id,
        f"it answered 252 to control {control.mrid}, which asked for rampTms too",
    )
    assert preview("feeder-1", max_lim_w_pct=Decimal(50)).refusing == ()
    assert preview("feeder-1", ramp_time_s=Decimal(5), connect=False).refusing == ()  # it may have lacked the function


async def test_a_curve_with_a_ramp_of_its_own_is_warned_of(send, respond, clock, preview):
    points = (CurvePoint(x=Decimal(92), y=Decimal(44)), CurvePoint(x=Decimal(98), y=Decimal(0)))
    ramped = Curve(mrid=Mrid("0" * 32), points=points, ramp_decrease_pct_per_s=Decimal(5))
    found = preview("feeder-1", volt_var=ramped)
    assert found.warnings == ("rampDecTms of volt_var: a DER that has no such ramp answers 252",)
    other = await send(
        "feeder-1", start=clock.now(), ramp_time_s=Decimal(5), volt_var=replace(ramped, ramp_decrease_pct_per_s=None)
    )
    await respond("pv-1", other.mrid, 252)
    await respond("pv-2", other.mrid, 1)
    assert preview("feeder-1", volt_var=ramped).refusing == ()  # it was asked for another ramp


def volt_var(count, number=1):
    points = tuple(CurvePoint(x=Decimal(90 + n), y=Decimal(0)) for n in range(count))
    return Curve(mrid=Mrid(f"{number:032X}"), points=points)


async def test_a_curve_longer_than_every_der_has_is_warned_of(preview):
    assert preview("feeder-1", volt_var=volt_var(4)).warnings == ()
    assert preview("feeder-1", volt_var=volt_var(5), connect=False).warnings == (
        "volt_var has 5 points: a DER that has but the 4 of IEEE 1547-2018 answers 252",
    )


async def test_who_refused_the_same_before_is_named(send, respond, der, clock, preview):
    control = await send("feeder-1", start=clock.now(), volt_var=volt_var(8))
    await respond("pv-1", control.mrid, 252)
    await respond("pv-2", control.mrid, 1)
    (one,) = preview("feeder-1", volt_var=volt_var(8, number=2), max_lim_w_pct=Decimal(50)).refusing
    assert (one.der_id, one.why) == (
        der("pv-1").der_id,
        f"it answered 252 to control {control.mrid}, which asked for the same volt_var",
    )
    assert preview("feeder-1", volt_var=volt_var(7)).refusing == ()
    assert preview("feeder-1", max_lim_w_pct=Decimal(50)).refusing == ()


async def test_who_refused_the_same_with_a_ramp_may_have_refused_the_ramp(send, respond, clock, preview):
    control = await send("feeder-1", start=clock.now(), volt_var=volt_var(8), ramp_time_s=Decimal(5))
    await respond("pv-1", control.mrid, 252)
    assert preview("feeder-1", volt_var=volt_var(8)).refusing == ()
