"""Canonical to IEEE 2030.5 and back, over the bytes of the wire: nothing is lost beyond the declared resolution."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tierline.model.control import (
    Control,
    Curve,
    CurvePoint,
    Droop,
    EventStatus,
    FixedVar,
    Interval,
    PowerFactor,
    Reference,
    ResponseRequired,
    Setpoints,
)
from tierline.model.errors import Unsupported
from tierline.model.functions import FUNCTIONS
from tierline.model.identity import Mrid
from tierline.model.programs import DefaultControl
from tierline.model.telemetry import Phase, Qualifier, Quality, Reading
from tierline.protocols.sep2.codec import Dialect, parse, render
from tierline.protocols.sep2.mapping.curves import read_curve, write_curve
from tierline.protocols.sep2.mapping.events import read_control, read_default_control, write_control, write_default
from tierline.protocols.sep2.mapping.functions import MODES, SETTINGS, Form, functions_of_bitmap, modes_bitmap
from tierline.protocols.sep2.mapping.numbers import common_power, fitted, from_scale, to_scale
from tierline.protocols.sep2.mapping.telemetry import POINT_TYPES, read_readings, write_readings
from tierline.protocols.sep2.resources.der import DefaultDERControl, DERControl, DERCurve
from tierline.protocols.sep2.resources.metering import MirrorMeterReading
from tierline.protocols.sep2.resources.rows import Edition

AUS = Dialect(edition=Edition.CSIP_AUS_1_3)
LFDI = "AB" * 20
DER = "aaaaaaaaaaaaa"
CENT = Decimal("0.01")

mrids = st.integers(0, 2**128 - 1).map(lambda number: Mrid(f"{number:032X}"))
times = st.integers(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
hundredths = st.integers(0, 2**16 - 1).map(lambda number: Decimal(number).scaleb(-2))


def numbers(low, high, places):
    return st.decimals(low, high, places=places, allow_nan=False)


CURVES = st.builds(
    Curve,
    mrid=mrids,
    points=st.lists(
        st.builds(
            CurvePoint, x=numbers(-1000, 1000, 3), y=numbers(-1000, 1000, 2), absorbing=st.none() | st.booleans()
        ),
        min_size=1,
        max_size=10,
    ).map(tuple),
    y_reference=st.sampled_from(Reference),
    open_loop_s=st.none() | hundredths,
    ramp_decrease_pct_per_s=st.none() | hundredths,
    ramp_increase_pct_per_s=st.none() | hundredths,
    low_pass_s=st.none() | hundredths,
    v_ref_pct=st.none() | hundredths,
    autonomous_v_ref=st.booleans(),
    autonomous_v_ref_time_constant_s=st.none() | hundredths,
    creation_time=times,
)
VALUES = {
    Form.FLAG: st.booleans(),
    Form.PERCENT: numbers(0, 100, 2),
    Form.WATTS: numbers(-(10**9), 10**9, 1),
    Form.VARS: numbers(-(10**9), 10**9, 1),
    Form.POWER_FACTOR: st.builds(PowerFactor, displacement=numbers(Decimal("0.0001"), 1, 4), absorbing=st.booleans()),
    Form.FIXED_VAR: st.builds(FixedVar, value_pct=numbers(-100, 100, 2), reference=st.sampled_from(Reference)),
    Form.DROOP: st.builds(
        Droop,
        dead_band_over_hz=numbers(0, 10, 3),
        dead_band_under_hz=numbers(0, 10, 3),
        slope_over=numbers(0, 10, 3),
        slope_under=numbers(0, 10, 3),
        open_loop_s=hundredths,
    ),
    Form.CURVE: CURVES,
}


def apart(values):
    """Give every curve a name of its own, as every node does."""
    return Setpoints.of(
        {
            name: replace(value, mrid=Mrid(f"{number:032X}")) if isinstance(value, Curve) else value
            for number, (name, value) in enumerate(values.items())
        }
    )


SETPOINTS = st.fixed_dictionaries({}, optional={mode.function: VALUES[mode.form] for mode in MODES}).map(apart)


def curve_path(curve):
    return f"/dc/{curve.mrid}"


def read_back(value, expected):
    return parse(render(value, dialect=AUS), expected, dialect=AUS)


def curves_in(setpoints):
    """Give what a walk would have found: every curve over the wire, by its path."""
    return {
        curve_path(value): read_curve(read_back(write_curve(value, name, curve_path(value)), DERCurve))
        for name, value in setpoints.items()
        if isinstance(value, Curve)
    }


def assert_within_resolution(read, written):
    assert list(read) == list(written)
    for name, value in written.items():
        if FUNCTIONS[name].unit.value in {"W", "var"}:
            # a value has four digits at least, whatever its size
            assert abs(read[name] - value) <= abs(value) * Decimal("0.0002") + Decimal("0.05")
        else:
            assert read[name] == value, name


@given(SETPOINTS, st.none() | hundredths, mrids, times, times, st.integers(1, 86_400), st.integers(-3600, 3600))
def test_every_control_comes_back_within_the_resolution(setpoints, ramp_s, mrid, created, start, duration, offset):
    control = Control(
        mrid=mrid,
        creation_time=created,
        interval=Interval(start=start, duration_s=duration),
        setpoints=setpoints,
        randomize_start_s=offset,
        randomize_duration_s=-offset,
        ramp_time_s=ramp_s,
        device_category=1 << 20,
        status_time=created,
        potentially_superseded=True,
        response_required=ResponseRequired(3),
        description="why",
    )
    wire = write_control(
        control,
        EventStatus.SCHEDULED,
        href="/derc/a",
        reply_to="/rsp",
        curve_href=curve_path,
        edition=AUS.edition,
    )
    found = read_control(read_back(wire, DERControl), curves_in(setpoints).get)
    assert_within_resolution(found.setpoints, setpoints)
    parts = {name: getattr(found, name) for name in Control.__slots__ if name != "setpoints"}
    assert parts == {name: getattr(control, name) for name in Control.__slots__ if name != "setpoints"}


LIMITS = {
    "es_high_volt_pct": (-300, 300),
    "es_low_volt_pct": (-300, 300),
}


@given(
    st.fixed_dictionaries(
        {},
        optional={setting.function: numbers(*LIMITS.get(setting.function, (0, 600)), 2) for setting in SETTINGS},
    ),
    SETPOINTS,
    mrids,
)
def test_every_default_comes_back_within_the_resolution(settings, setpoints, mrid):
    both = Setpoints.of({**setpoints, **settings})
    default = DefaultControl(mrid=mrid, setpoints=both, description="kept")
    wire = write_default(default, href="/dderc", curve_href=curve_path, edition=AUS.edition)
    found = read_default_control(read_back(wire, DefaultDERControl), curves_in(setpoints).get)
    assert_within_resolution(found.setpoints, both)
    assert (found.mrid, found.description) == (mrid, "kept")


@given(CURVES, st.sampled_from([mode.function for mode in MODES if mode.curve_type is not None]))
def test_every_curve_comes_back_whole(curve, function):
    wire = read_back(write_curve(curve, function, "/dc/a"), DERCurve)
    assert read_curve(wire) == curve
    assert wire.curve_type == next(mode.curve_type for mode in MODES if mode.function == function)


@given(
    st.lists(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**8), max_value=10**8), max_size=10),
    st.sampled_from([16, 32]),
)
def test_values_share_the_finest_power_that_holds_them_all(values, bits):
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    power = common_power(values, low=low, high=high)
    worst = Decimal(1).scaleb(power) / 2
    for value in values:
        assert low <= to_scale(value, power) <= high
        assert abs(from_scale(to_scale(value, power), power) - value) <= worst
    if any(from_scale(to_scale(value, power), power) != value for value in values):
        assert any(not low <= to_scale(value, power - 1) <= high for value in values)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**30))
def test_a_value_keeps_four_digits_at_least(value):
    number, power = fitted(value, low=0, high=2**16 - 1)
    assume(power > -128)
    assert abs(from_scale(number, power) - value) <= value * Decimal("0.0001")


@given(st.sets(st.sampled_from([mode.function for mode in MODES if mode.bit is not None])))
def test_modes_supported_comes_back(functions):
    assert functions_of_bitmap(modes_bitmap(frozenset(functions))) == functions


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.function)
@given(value=st.sampled_from(["text", 1, None, Decimal("NaN"), Decimal("1E400")]))
def test_what_is_no_value_of_a_function_is_refused(mode, value):
    control = Setpoints.of({mode.function: value})
    default = DefaultControl(mrid=Mrid("0" * 32), setpoints=control)
    with pytest.raises(Unsupported):
        write_default(default, href="/a", curve_href=curve_path, edition=AUS.edition)


@given(
    st.sampled_from(POINT_TYPES),
    st.integers(-6, 6),
    st.sampled_from(Qualifier),
    st.lists(
        st.tuples(
            st.integers(-(2**47), 2**47),
            st.integers(0, 86_400),
            st.integers(0, 900),
            st.integers(0, 127).map(Quality),
        ),
        min_size=1,
        max_size=20,
    ),
)
def test_readings_keep_integer_power_time_and_quality(row, power, qualifier, drawn):
    noon = datetime(2026, 6, 18, 12, tzinfo=UTC)
    phase = Phase(row.phase) if row.phase in set(Phase) else Phase.NONE
    readings = [
        Reading(
            der_id=DER,
            point=row.point,
            value=value,
            power_of_ten=power,
            time=noon + timedelta(seconds=after),
            duration_s=duration,
            phase=phase,
            qualifier=qualifier,
            quality=quality,
        )
        for value, after, duration, quality in drawn
    ]
    meter = read_back(write_readings(LFDI, readings, 37244), MirrorMeterReading)
    assert [reading for _, reading in read_readings(meter, meter.reading_type, DER)] == readings
    assert {mrid for mrid, _ in read_readings(meter, meter.reading_type, DER)} == {meter.mrid}
