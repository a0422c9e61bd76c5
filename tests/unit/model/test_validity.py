from decimal import Decimal

import pytest

from tierline.model.control import Curve, CurvePoint, Droop, FixedVar, PowerFactor, Reference
from tierline.model.functions import FUNCTIONS, ValueType
from tierline.model.identity import mrid
from tierline.model.validity import CURVE_POINTS_MAX, fault_of

NAN, INFINITE = Decimal("NaN"), Decimal("Infinity")


def curve(*points, **more):
    return Curve(mrid=mrid(1, 2), points=tuple(CurvePoint(x=Decimal(x), y=Decimal(y)) for x, y in points), **more)


def droop(**changed):
    values = {
        "dead_band_over_hz": Decimal("0.036"),
        "dead_band_under_hz": Decimal("0.036"),
        "slope_over": Decimal("0.05"),
        "slope_under": Decimal("0.05"),
        "open_loop_s": Decimal(5),
    }
    return Droop(**(values | changed))


GOOD = {
    ValueType.NUMBER: Decimal(1),
    ValueType.BOOLEAN: True,
    ValueType.POWER_FACTOR: PowerFactor(displacement=Decimal("0.95"), absorbing=True),
    ValueType.DROOP: droop(),
    ValueType.FIXED_VAR: FixedVar(value_pct=Decimal(-30), reference=Reference.SET_MAX_VAR),
    ValueType.CURVE: curve((1, 1)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_takes_its_own_type_and_no_other(name):
    wanted = FUNCTIONS[name].value
    for type_, value in GOOD.items():
        assert (fault_of(name, value) == "") == (type_ is wanted)


def test_an_unknown_function_is_named():
    assert fault_of("warp_drive", Decimal(1)) == "warp_drive is no known function"


def test_a_service_takes_no_value():
    assert fault_of("monitoring", True) == "monitoring takes no value"


def test_a_wrong_type_is_named():
    assert fault_of("max_lim_w_pct", True) == "max_lim_w_pct takes number, not bool"


@pytest.mark.parametrize("value", ["-0.01", "100.01", "NaN", "Infinity"])
def test_a_limit_in_percent_lies_between_0_and_100(value):
    assert f"max_lim_w_pct is {value}" in fault_of("max_lim_w_pct", Decimal(value))


@pytest.mark.parametrize("value", ["0", "100", "33.33"])
def test_the_ends_of_a_range_are_valid(value):
    assert fault_of("max_lim_w_pct", Decimal(value)) == ""


def test_a_fault_says_what_is_allowed():
    assert fault_of("max_lim_w_pct", Decimal(101)) == "max_lim_w_pct is 101 % of set_max_w; the most is 100"
    assert fault_of("exp_lim_w", Decimal(-1)) == "exp_lim_w is -1 W; the least is 0"


def test_a_set_point_in_percent_may_absorb():
    assert fault_of("fixed_w_pct", Decimal(-100)) == ""
    assert fault_of("fixed_w_pct", Decimal("-100.01")) != ""


def test_watts_have_no_bound_of_their_own():
    assert fault_of("target_w", Decimal(-(10**9))) == ""


@pytest.mark.parametrize("displacement", ["0", "-0.9", "1.001", "NaN"])
def test_a_power_factor_is_above_0_and_at_most_1(displacement):
    value = PowerFactor(displacement=Decimal(displacement), absorbing=False)
    assert "must be above 0 and at most 1" in fault_of("fixed_pf_inject_w", value)


@pytest.mark.parametrize("percent", [Decimal(101), Decimal(-101), NAN])
def test_a_fixed_var_is_at_most_all_of_its_reference(percent):
    assert fault_of("fixed_var", FixedVar(value_pct=percent, reference=Reference.SET_MAX_VAR)) != ""


@pytest.mark.parametrize("part", ["dead_band_over_hz", "dead_band_under_hz", "open_loop_s"])
@pytest.mark.parametrize("bad", [Decimal("-0.001"), NAN, INFINITE])
def test_dead_bands_and_times_of_a_droop_are_not_negative(part, bad):
    assert "must not be negative" in fault_of("freq_droop", droop(**{part: bad}))
    assert fault_of("freq_droop", droop(**{part: Decimal(0)})) == ""


@pytest.mark.parametrize("part", ["slope_over", "slope_under"])
@pytest.mark.parametrize("bad", [Decimal(0), Decimal("-0.05"), NAN])
def test_slopes_of_a_droop_are_above_0(part, bad):
    assert "must be above 0" in fault_of("freq_droop", droop(**{part: bad}))


@pytest.mark.parametrize("count", [0, CURVE_POINTS_MAX + 1])
def test_a_curve_has_1_to_10_points(count):
    assert f"has {count} points" in fault_of("volt_var", curve(*((x, 0) for x in range(count))))


def test_a_curve_of_10_points_is_valid():
    assert fault_of("volt_var", curve(*((x, 0) for x in range(CURVE_POINTS_MAX)))) == ""


def test_a_point_of_a_curve_is_a_number():
    assert fault_of("volt_var", curve(("NaN", 0))) == "volt_var has x = NaN at point 1"
    assert fault_of("volt_var", curve((1, 0), (2, "NaN"))) == "volt_var, point 2, is NaN, which is no number"


@pytest.mark.parametrize("name", ["volt_var", "freq_watt", "hvrt_must_trip"])
def test_voltages_frequencies_and_times_of_a_curve_are_not_negative(name):
    assert fault_of(name, curve((-1, 0))) == f"{name} has x = -1 at point 1"
    assert fault_of(name, curve((0, 0))) == ""


def test_a_curve_over_active_power_may_begin_where_it_is_absorbed():
    assert fault_of("watt_var", curve((-100, 44), (0, 0))) == ""


@pytest.mark.parametrize(
    "part",
    [
        "open_loop_s",
        "ramp_decrease_pct_per_s",
        "ramp_increase_pct_per_s",
        "low_pass_s",
        "v_ref_pct",
        "autonomous_v_ref_time_constant_s",
    ],
)
@pytest.mark.parametrize("bad", [Decimal(-1), NAN])
def test_times_and_rates_of_a_curve_are_not_negative(part, bad):
    assert "must not be negative" in fault_of("volt_var", curve((1, 1), **{part: bad}))
    assert fault_of("volt_var", curve((1, 1), **{part: Decimal(0)})) == ""


def test_y_of_a_ride_through_curve_is_not_negative():
    assert "the least is 0" in fault_of("lvrt_must_trip", curve((1, -1)))


def test_y_of_a_watt_pf_curve_is_at_most_1():
    assert "the most is 1" in fault_of("watt_pf", curve((1, "1.1")))
