"""What is said to be kept is not refused at the write, and what the registers cannot hold is said not to be."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.model.control import Curve, CurvePoint, Droop, FixedVar, PowerFactor, Reference, Setpoints
from tierline.model.identity import Mrid
from tierline.model.ramps import ramp_of
from tierline.model.validity import fault_of
from tierline.protocols.sunspec import orders
from tierline.protocols.sunspec.capability import capability_of
from tierline.protocols.sunspec.codec import compile_layout
from tierline.protocols.sunspec.device import InverterType, standard_models
from tierline.protocols.sunspec.mapping import FUNCTIONS
from tierline.protocols.sunspec.south import Held, step_changes

KIND = InverterType(
    manufacturer="Acme",
    model="X1",
    serial="1",
    rated_w=Decimal(5000),
    rated_va=Decimal(5500),
    rated_var=Decimal(2400),
    curve_points=4,
)


def held_of(models):
    return {
        layout.model_id: Held(layout=layout, address=0, registers=bytearray(layout.encode(values)))
        for layout, values in models
    }


HELD = held_of(standard_models(KIND))
BLOCKS = {model_id: held.block() for model_id, held in HELD.items()}
CAPABILITY = capability_of(BLOCKS)

_numbers = st.one_of(
    st.decimals(min_value=-1000, max_value=1000, places=3),
    st.decimals(min_value=-(10**10), max_value=10**10, places=0),
    st.sampled_from(
        [Decimal(text) for text in ("0", "0.0001", "32767", "327.67", "655.34", "65534", "6553.4", "65.534")]
    ),
)
_above_0 = _numbers.map(abs)
_maybe = st.none() | _above_0
_references = st.sampled_from(Reference)
_curves = st.builds(
    Curve,
    mrid=st.just(Mrid("0" * 32)),
    points=st.lists(st.builds(CurvePoint, x=_above_0, y=_numbers), min_size=1, max_size=10).map(tuple),
    y_reference=_references,
    open_loop_s=_maybe,
    low_pass_s=_maybe,
    v_ref_pct=_maybe,
    autonomous_v_ref=st.booleans(),
    autonomous_v_ref_time_constant_s=_maybe,
)
_values = st.one_of(
    _numbers,
    st.booleans(),
    st.builds(PowerFactor, displacement=_above_0, absorbing=st.booleans()),
    st.builds(FixedVar, value_pct=_numbers, reference=_references),
    st.builds(
        Droop,
        dead_band_over_hz=_above_0,
        dead_band_under_hz=_above_0,
        slope_over=_above_0,
        slope_under=_above_0,
        open_loop_s=_above_0,
    ),
    _curves,
)


def is_refused(name, value):
    """Ask what would be written, as an apply does before it writes."""
    target = Setpoints.of({name: value})
    plan = orders.plan(target, BLOCKS, fits=lambda step: step_changes(step, HELD[step.model_id]))
    assert plan.refused.keys() <= {name}
    return bool(plan.refused)


@given(name=st.sampled_from([row.name for row in FUNCTIONS]), value=_values)
def test_what_is_said_to_be_kept_is_not_refused_at_the_write(name, value):
    if fault_of(name, value) or ramp_of(name, value):
        return  # judged before
    if not CAPABILITY.why_not(name, value):
        assert not is_refused(name, value)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("target_w", Decimal(10) ** 12, "the device holds -"),
        ("grad_w_pct_per_s", Decimal("0.27"), "nothing finer than 0.5 from 0"),
        (
            "fixed_var",
            FixedVar(value_pct=Decimal(1), reference=Reference.SET_EFFECTIVE_V),
            "knows SET_MAX_W, SET_MAX_VAR",
        ),
    ],
)
def test_what_a_register_cannot_hold_is_said_before_it_is_refused(name, value, why):
    assert why in CAPABILITY.why_not(name, value)
    assert is_refused(name, value)


def curve(count, **more):
    points = tuple(CurvePoint(x=Decimal(90 + n), y=Decimal(0)) for n in range(count))
    return Curve(mrid=Mrid("0" * 32), points=points, y_reference=Reference.SET_MAX_W, **more)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("volt_var", curve(5), "5 points; the device takes at most 4"),
        ("volt_var", replace(curve(4), y_reference=Reference.NONE), "refers to NONE"),
        ("watt_var", curve(4, open_loop_s=Decimal(5)), "asks for open_loop_s = 5; the device has no such thing"),
        ("volt_watt", curve(4, v_ref_pct=Decimal(99)), "asks for v_ref_pct = 99; the device has no such thing"),
        ("volt_watt", curve(4, autonomous_v_ref=True), "asks for autonomous_v_ref = 1; the device has no such thing"),
        ("lvrt_must_trip", curve(6), "at most 5"),
    ],
)
def test_what_a_curve_model_has_no_room_for_is_said_before_it_is_refused(name, value, why):
    assert why in CAPABILITY.why_not(name, value)
    assert is_refused(name, value)


def test_each_curve_is_asked_for_by_the_points_of_its_own_model():
    points = {name: keeps.points for name, keeps in CAPABILITY.functions.items() if keeps.points}
    assert points["volt_var"] == points["volt_watt"] == 4
    assert points["watt_var"] == 10
    assert points["lvrt_must_trip"] == points["hfrt_may_trip"] == 5


def test_a_slope_that_would_become_none_is_not_kept():
    droop = Droop(
        dead_band_over_hz=Decimal("0.03"),
        dead_band_under_hz=Decimal("0.03"),
        slope_over=Decimal("0.0001"),
        slope_under=Decimal("0.05"),
        open_loop_s=Decimal(5),
    )
    assert "slope_over = 0.0001; the device tells nothing finer" in CAPABILITY.why_not("freq_droop", droop)


def test_a_ride_through_curve_is_told_no_reference():
    assert CAPABILITY.functions["lvrt_must_trip"].references is None


def test_a_function_that_the_device_does_not_implement_is_not_in_its_capability():
    assert "watt_var" not in capability_of({model: block for model, block in BLOCKS.items() if model != 712}).functions
    assert "connect" not in CAPABILITY.functions


def test_a_model_of_curves_without_points_keeps_none():
    none = held_of([(compile_layout(706, {"NPt": 0, "NCrv": 2}), {"Ena": 0, "Crv[0].ActPt": 0, "Crv[1].ReadOnly": 0})])
    keeps = capability_of({706: none[706].block()}).functions["volt_watt"]
    assert (keeps.points, dict(keeps.parts)) == (0, {})
