"""Setpoints between JSON and the model."""

from decimal import Decimal

import pytest

from tierline.console.api.values import read_setpoints, read_value, write_setpoints, write_value
from tierline.model.control import Curve, CurvePoint, Droop, FixedVar, PowerFactor, Reference
from tierline.model.errors import ConfigError
from tierline.model.functions import FUNCTIONS, ValueType

DROOP = {
    "dead_band_over_hz": 0.036,
    "dead_band_under_hz": 0.036,
    "slope_over": 0.05,
    "slope_under": 0.05,
    "open_loop_s": 5,
}
CURVE = {"points": [[92, 44], [98.5, 0], [102, 0], [108, -44]], "y_ref": "set_max_var", "open_loop_s": 5}
GOOD = {
    "max_lim_w_pct": 50,
    "target_w": -1500.5,
    "connect": False,
    "fixed_pf_inject_w": {"displacement": 0.95, "absorbing": True},
    "fixed_var": {"percent": -30, "reference": "stat_var_avail"},
    "freq_droop": DROOP,
    "volt_var": CURVE,
    "volt_watt": {
        **CURVE,
        "points": [[106, 100], [110, 0]],
        "v_ref_pct": 99.5,
        "ramp_decrease_pct_per_s": 1,
        "ramp_increase_pct_per_s": 2,
        "low_pass_s": 3,
        "autonomous_v_ref_time_constant_s": 300,
        "autonomous_v_ref": True,
    },
    "watt_pf": {"points": [[0, 1, False], [50, 0.95, True]]},
}


@pytest.mark.parametrize(("name", "value"), GOOD.items())
def test_a_value_survives_the_round_trip(name, value):
    assert write_value(read_value(name, value)) == value


def test_all_types_of_values_are_read():
    assert {FUNCTIONS[name].value for name in GOOD} == set(ValueType) - {ValueType.NONE}
    assert write_setpoints(read_setpoints(GOOD)) == GOOD


def test_values_are_read_exactly():
    assert read_value("max_lim_w_pct", 50.1) == Decimal("50.1")
    assert read_value("max_lim_w_pct", "50.10") == Decimal("50.1")
    assert read_value("connect", True) is True
    assert read_value("fixed_pf_inject_w", {"displacement": 0.9}) == PowerFactor(
        displacement=Decimal("0.9"), absorbing=False
    )
    assert read_value("fixed_var", {"percent": 5}) == FixedVar(value_pct=Decimal(5), reference=Reference.SET_MAX_VAR)
    droop = read_value("freq_droop", DROOP)
    assert isinstance(droop, Droop)
    assert droop.slope_under == Decimal("0.05")
    curve = read_value("watt_pf", GOOD["watt_pf"])
    assert isinstance(curve, Curve)
    assert curve.points[1] == CurvePoint(x=Decimal(50), y=Decimal("0.95"), absorbing=True)
    assert curve.y_reference is Reference.NONE


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("max_lim_w_pct", 150, ("max_lim_w_pct", "150", "from 0 up to 100", "% of set_max_w")),
        ("max_lim_w_pct", -1, ("max_lim_w_pct", "-1", "from 0 up to 100")),
        ("max_lim_w_pct", True, ("max_lim_w_pct must be a number", "True", "from 0 up to 100")),
        ("max_lim_w_pct", "half", ("must be a number", "half")),
        ("max_lim_w_pct", [50], ("must be a number", "[50]")),
        ("max_lim_w_pct", "NaN", ("must be a finite number",)),
        ("gen_lim_w", -5, ("gen_lim_w", "-5", "allowed is from 0 W")),
        ("connect", 1, ("connect must be true or false, not 1",)),
        ("fixed_pf_inject_w", 0.95, ("fixed_pf_inject_w takes power factor", '{"displacement": …}', "0.95")),
        ("fixed_pf_inject_w", {"displacement": 1.5}, ("1.5", "above 0 and at most 1")),
        ("fixed_pf_inject_w", {"displacement": 0.9, "absorbing": "yes"}, ("absorbing must be true or false",)),
        ("fixed_pf_inject_w", {"absorbing": True}, ("fixed_pf_inject_w lacks displacement",)),
        ("fixed_pf_inject_w", {"displacement": 0.9, "pf": 1}, ("has no part 'pf'", "displacement, absorbing")),
        ("fixed_var", {"percent": 5, "reference": "moon"}, ("reference 'moon' is unknown", "set_max_var")),
        ("freq_droop", {**DROOP, "slope_over": 0}, ("slope over 0", "above 0")),
        ("volt_var", {"points": "92,44"}, ("points must be a list",)),
        ("volt_var", {"points": [[92]]}, ("volt_var, point 1", "must be [x, y]")),
        ("volt_var", {"points": [[92, 44], [98, None]]}, ("volt_var, point 2, y must be a number",)),
        ("volt_var", {"points": []}, ("0 points", "1 to 10")),
        ("nonsense", 1, ("there is no function 'nonsense'", "tierline function list")),
    ],
)
def test_what_is_wrong_is_named(name, value, words):
    with pytest.raises(ConfigError) as caught:
        read_value(name, value)
    for word in words:
        assert word in str(caught.value)


def test_a_function_without_a_value_cannot_be_set():
    name = next(row.name for row in FUNCTIONS.values() if row.value is ValueType.NONE)
    with pytest.raises(ConfigError, match="takes no value"):
        read_value(name, 1)


def test_nothing_is_no_command():
    with pytest.raises(ConfigError, match="nothing is commanded"):
        read_setpoints({})
