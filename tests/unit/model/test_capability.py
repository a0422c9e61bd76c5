from dataclasses import replace
from decimal import Decimal

import pytest

from tierline.model.capability import ANYTHING, Capability, Keeps, Span
from tierline.model.control import Curve, CurvePoint, Droop, FixedVar, PowerFactor, Reference
from tierline.model.identity import Mrid

HUNDRED = Span(low=Decimal(-100), high=Decimal(100))
FINE = Span(low=Decimal(0), high=Decimal(10), finest=Decimal("0.05"))
CURVE = Curve(
    mrid=Mrid("0" * 32),
    points=(CurvePoint(x=Decimal(98), y=Decimal(0)), CurvePoint(x=Decimal(99), y=Decimal(-44))),
    y_reference=Reference.SET_MAX_VAR,
)
DROOP = Droop(
    dead_band_over_hz=Decimal("0.03"),
    dead_band_under_hz=Decimal("0.03"),
    slope_over=Decimal(1),
    slope_under=Decimal(1),
    open_loop_s=Decimal(5),
)


def device(**functions):
    return Capability(functions=functions)


def curves(points=4, *, references=frozenset({Reference.SET_MAX_VAR, Reference.SET_MAX_W}), **parts):
    return device(
        volt_var=Keeps(parts={"x": HUNDRED, "y": HUNDRED} | parts, points=points, references=references),
    )


def test_where_nothing_is_known_nothing_is_refused():
    assert ANYTHING.why_not("volt_var", CURVE) == ""
    assert device(volt_watt=Keeps(parts={})).why_not("volt_var", CURVE) == ""


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (Decimal(0), ""),
        (Decimal(10), ""),
        (Decimal("0.05"), ""),
        (Decimal("10.1"), "rate asks for value = 10.1; the device holds 0 to 10"),
        (Decimal("-0.1"), "rate asks for value = -0.1; the device holds 0 to 10"),
        (Decimal("0.04"), "rate asks for value = 0.04; the device tells nothing finer than 0.05 from 0"),
    ],
)
def test_a_number_is_kept_within_what_the_device_can_tell(value, why):
    assert device(rate=Keeps(parts={"value": FINE})).why_not("rate", value) == why


def test_a_permission_asks_for_no_number():
    assert device(energize=Keeps(parts={})).why_not("energize", value=False) == ""


def test_a_power_factor_is_kept_within_its_span():
    keeps = device(fixed_pf_inject_w=Keeps(parts={"displacement": Span(low=Decimal("0.8"), high=Decimal(1))}))
    assert keeps.why_not("fixed_pf_inject_w", PowerFactor(displacement=Decimal("0.9"), absorbing=True)) == ""
    assert "0.8 to 1" in keeps.why_not("fixed_pf_inject_w", PowerFactor(displacement=Decimal("0.7"), absorbing=True))


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        (Reference.SET_MAX_VAR, ""),
        (Reference.SET_EFFECTIVE_V, "fixed_var refers to SET_EFFECTIVE_V; the device knows SET_MAX_VAR"),
    ],
)
def test_a_percentage_refers_to_what_the_device_knows(reference, why):
    keeps = device(fixed_var=Keeps(parts={"value_pct": HUNDRED}, references=frozenset({Reference.SET_MAX_VAR})))
    assert keeps.why_not("fixed_var", FixedVar(value_pct=Decimal(5), reference=reference)) == why


def test_a_device_that_knows_no_reference_says_so_and_one_that_is_told_none_does_not_mind():
    none = curves(references=frozenset())
    assert none.why_not("volt_var", CURVE) == "volt_var refers to SET_MAX_VAR; the device knows none"
    assert curves(references=None).why_not("volt_var", CURVE) == ""


@pytest.mark.parametrize(("room", "why"), [(2, ""), (1, "volt_var has 2 points; the device takes at most 1")])
def test_a_curve_has_no_more_points_than_there_is_room_for(room, why):
    assert curves(room).why_not("volt_var", CURVE) == why


@pytest.mark.parametrize(
    "part", ["dead_band_over_hz", "dead_band_under_hz", "slope_over", "slope_under", "open_loop_s"]
)
def test_every_part_of_a_droop_is_asked_for(part):
    parts = dict.fromkeys(
        ("dead_band_over_hz", "dead_band_under_hz", "slope_over", "slope_under", "open_loop_s"), HUNDRED
    )
    keeps = device(freq_droop=Keeps(parts=parts))
    assert keeps.why_not("freq_droop", DROOP) == ""
    assert f"{part} = 101" in keeps.why_not("freq_droop", replace(DROOP, **{part: Decimal(101)}))


@pytest.mark.parametrize("axis", ["x", "y"])
def test_every_point_of_a_curve_is_asked_for(axis):
    far = replace(CURVE.points[1], **{axis: Decimal(101)})
    why = curves().why_not("volt_var", replace(CURVE, points=(CURVE.points[0], far)))
    assert why == f"volt_var asks for {axis} = 101; the device holds -100 to 100"


@pytest.mark.parametrize(
    ("part", "asked", "number"),
    [
        ("open_loop_s", Decimal(5), 5),
        ("low_pass_s", Decimal(7), 7),
        ("v_ref_pct", Decimal(99), 99),
        ("autonomous_v_ref_time_constant_s", Decimal(30), 30),
        ("autonomous_v_ref", True, 1),
    ],
)
def test_what_a_curve_may_ask_for_beside_its_points_is_refused_where_there_is_no_such_thing(part, asked, number):
    wanted = replace(CURVE, **{part: asked})
    assert curves().why_not("volt_var", wanted) == f"volt_var asks for {part} = {number}; the device has no such thing"
    assert curves(**{part: HUNDRED}).why_not("volt_var", wanted) == ""


def test_no_filter_is_not_asked_for_and_a_filter_takes_the_place_of_the_response_time():
    assert curves().why_not("volt_var", replace(CURVE, low_pass_s=Decimal(0))) == ""
    filtered = replace(CURVE, low_pass_s=Decimal(7), open_loop_s=Decimal(5))
    assert "low_pass_s" in curves(open_loop_s=HUNDRED).why_not("volt_var", filtered)
    assert curves(low_pass_s=HUNDRED).why_not("volt_var", filtered) == ""
