from decimal import Decimal

import pytest

from tierline.model.control import Curve, CurvePoint, Droop, FixedVar, PowerFactor, Reference, Setpoints
from tierline.model.identity import Mrid
from tierline.operations.serving.wording import said, worded

CURVE = Curve(
    mrid=Mrid("A"), points=(CurvePoint(x=Decimal(95), y=Decimal(44)), CurvePoint(x=Decimal(98), y=Decimal(0)))
)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, "true"),
        (False, "false"),
        (Decimal("50.00"), "50"),
        (Decimal("1E+3"), "1000"),
        (Decimal("-0.5"), "-0.5"),
        (PowerFactor(displacement=Decimal("0.95"), absorbing=True), "0.95 absorbing"),
        (PowerFactor(displacement=Decimal("0.95"), absorbing=False), "0.95 injecting"),
        (FixedVar(value_pct=Decimal(20), reference=Reference.SET_MAX_VAR), "20 % of set_max_var"),
        (
            Droop(
                dead_band_over_hz=Decimal("0.036"),
                dead_band_under_hz=Decimal("0.03"),
                slope_over=Decimal("0.05"),
                slope_under=Decimal("0.04"),
                open_loop_s=Decimal(5),
            ),
            "dead band 0.036/0.03 Hz, slope 0.05/0.04, 5 s",
        ),
        (CURVE, "(95, 44) (98, 0)"),
    ],
)
def test_every_kind_of_value_is_said_in_words(value, words):
    assert said(value) == words


def test_setpoints_are_said_by_function():
    setpoints = Setpoints.of({"connect": False, "max_lim_w_pct": Decimal(50)})
    assert worded(setpoints) == {"connect": "false", "max_lim_w_pct": "50"}
