from decimal import Decimal

import msgspec
import pytest

from tierline.model.control import Curve, CurvePoint, Reference
from tierline.model.errors import PeerError, Unsupported
from tierline.model.identity import Mrid
from tierline.protocols.sep2.mapping.curves import curve_type_of, read_curve, write_curve

POINTS = tuple(CurvePoint(x=Decimal(x), y=Decimal(y)) for x, y in ((92, 44), (98, 0), (102, 0), (108, -44)))
VOLT_VAR = Curve(mrid=Mrid("A" * 32), points=POINTS, y_reference=Reference.SET_MAX_VAR, open_loop_s=Decimal(5))


def test_a_volt_var_curve_is_in_percent():
    wire = write_curve(VOLT_VAR, "volt_var", "/dc/a")
    assert [(data.xvalue, data.yvalue) for data in wire.curve_data] == [(92, 44), (98, 0), (102, 0), (108, -44)]
    assert (wire.curve_type, wire.open_loop_tms, wire.y_ref_type) == (11, 500, 2)
    assert (wire.autonomous_v_ref_enable, wire.ramp_dec_tms) == (None, None)


def test_a_function_that_is_no_curve_has_no_type():
    assert (curve_type_of("max_lim_w_pct"), curve_type_of("nothing"), curve_type_of("freq_watt")) == (None, None, 0)
    with pytest.raises(Unsupported, match="no curve for max_lim_w_pct"):
        write_curve(VOLT_VAR, "max_lim_w_pct", "/dc/a")


@pytest.mark.parametrize("count", [0, 11])
def test_a_curve_has_one_to_ten_points(count):
    with pytest.raises(Unsupported, match=f"this one {count}"):
        write_curve(Curve(mrid=VOLT_VAR.mrid, points=POINTS[:1] * count), "volt_var", "/dc/a")


def test_a_low_pass_filter_is_told_by_the_time_it_takes_to_settle():
    filtered = Curve(mrid=VOLT_VAR.mrid, points=POINTS, low_pass_s=Decimal("2.5"))
    wire = write_curve(filtered, "volt_var", "/dc/a")
    assert wire.ramp_pt1_tms == 250
    assert read_curve(wire).low_pass_s == Decimal("2.5")
    assert write_curve(VOLT_VAR, "volt_var", "/dc/a").ramp_pt1_tms is None


def test_a_time_that_is_too_long_is_refused():
    slow = Curve(mrid=VOLT_VAR.mrid, points=POINTS, open_loop_s=Decimal(700))
    with pytest.raises(Unsupported, match="openLoopTms cannot be 700"):
        write_curve(slow, "volt_var", "/dc/a")


@pytest.mark.parametrize(
    ("field", "value", "why"), [("y_ref_type", 8, "yRefType"), ("creation_time", -1, "creationTime")]
)
def test_what_nobody_knows_is_refused(field, value, why):
    wire = msgspec.structs.replace(write_curve(VOLT_VAR, "volt_var", "/dc/a"), **{field: value})
    with pytest.raises(PeerError, match=f"DERCurve/{why}"):
        read_curve(wire)
