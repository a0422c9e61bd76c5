from decimal import Decimal

import pytest

from tierline.model.control import Curve, CurvePoint, Setpoints
from tierline.model.identity import Mrid
from tierline.model.ramps import ramp_of, ramps_of

FIVE = Decimal(5)


def curve(**more):
    return Curve(mrid=Mrid("0" * 32), points=(CurvePoint(x=Decimal(98), y=Decimal(0)),), **more)


@pytest.mark.parametrize(
    ("function", "more", "ramp"),
    [
        ("volt_var", {}, ""),
        ("volt_var", {"open_loop_s": FIVE}, ""),
        ("volt_var", {"ramp_decrease_pct_per_s": Decimal(0), "ramp_increase_pct_per_s": Decimal(0)}, ""),
        ("volt_var", {"ramp_decrease_pct_per_s": FIVE}, "rampDecTms"),
        ("volt_watt", {"ramp_increase_pct_per_s": FIVE}, "rampIncTms"),
        ("volt_var", {"ramp_decrease_pct_per_s": FIVE, "ramp_increase_pct_per_s": FIVE}, "rampDecTms and rampIncTms"),
        ("volt_var", {"low_pass_s": FIVE}, ""),
        ("volt_var", {"low_pass_s": FIVE, "open_loop_s": Decimal(0)}, ""),
        ("volt_var", {"low_pass_s": FIVE, "open_loop_s": FIVE}, "rampPT1Tms"),
        ("lvrt_must_trip", {"low_pass_s": FIVE}, "rampPT1Tms"),
        ("lvrt_must_trip", {"low_pass_s": Decimal(0)}, ""),
        ("watt_var", {"low_pass_s": FIVE}, "rampPT1Tms"),
        ("volt_watt", {"low_pass_s": FIVE}, ""),
    ],
)
def test_a_curve_asks_for_a_ramp_where_it_cannot_be_told_as_a_response_time(function, more, ramp):
    assert ramp_of(function, curve(**more)) == ramp


def test_only_curves_have_ramps_of_their_own():
    assert ramp_of("max_lim_w_pct", FIVE) == ""


def test_a_control_asks_for_its_own_ramp_time_and_for_those_of_its_curves():
    plain = Setpoints.of({"max_lim_w_pct": FIVE, "volt_var": curve()})
    assert ramps_of(plain, None) == ()
    ramped = Setpoints.of({"volt_var": curve(ramp_decrease_pct_per_s=FIVE)})
    assert ramps_of(ramped, Decimal(0)) == ("rampTms", "rampDecTms of volt_var")
