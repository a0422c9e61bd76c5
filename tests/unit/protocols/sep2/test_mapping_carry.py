from decimal import Decimal

import pytest

from tierline.model.control import Curve, CurvePoint, Setpoints
from tierline.model.identity import Mrid
from tierline.protocols.sep2.mapping.carry import why_not

CURVE = Curve(mrid=Mrid("0" * 32), points=(CurvePoint(x=Decimal(100), y=Decimal(0)),))


@pytest.mark.parametrize(
    ("setpoints", "ramp_s", "why"),
    [
        ({"max_lim_w_pct": Decimal(50), "volt_var": CURVE}, Decimal(10), ""),
        ({"grad_w_pct_per_s": Decimal("0.27")}, None, ""),
        ({"exp_lim_w": Decimal(1)}, None, "no element for exp_lim_w"),
        ({"max_lim_w_pct": Decimal(50)}, Decimal(700), "rampTms cannot be 700"),
        ({"grad_w_pct_per_s": Decimal(-1)}, None, "setGradW cannot be -1"),
        ({"volt_var": Curve(mrid=CURVE.mrid, points=())}, None, "1 to 10 points"),
    ],
)
def test_what_cannot_be_carried_is_said_beforehand(setpoints, ramp_s, why):
    said = why_not(Setpoints.of(setpoints), ramp_s)
    assert why in said
    assert bool(said) == bool(why)
