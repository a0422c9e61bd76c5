from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
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
    Provenance,
    Reference,
    ResponseRequired,
    Setpoints,
)
from tierline.model.programs import DefaultControl, Program
from tierline.model.telemetry import Quality
from tierline.storage.documents import dump, parse

numbers = st.decimals(allow_nan=False, allow_infinity=False)
times = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
texts = st.text(max_size=20)
mrids = st.text("0123456789ABCDEF", min_size=32, max_size=32)
points = st.builds(CurvePoint, x=numbers, y=numbers, absorbing=st.none() | st.booleans())
curves = st.builds(
    Curve,
    mrid=mrids,
    points=st.lists(points, max_size=4).map(tuple),
    y_reference=st.sampled_from(Reference),
    open_loop_s=st.none() | numbers,
    low_pass_s=st.none() | numbers,
    autonomous_v_ref=st.booleans(),
    creation_time=st.none() | times,
)
values = st.one_of(
    numbers,
    st.booleans(),
    st.builds(PowerFactor, displacement=numbers, absorbing=st.booleans()),
    st.builds(FixedVar, value_pct=numbers, reference=st.sampled_from(Reference)),
    st.builds(
        Droop,
        dead_band_over_hz=numbers,
        dead_band_under_hz=numbers,
        slope_over=numbers,
        slope_under=numbers,
        open_loop_s=numbers,
    ),
    curves,
)
setpoints = st.dictionaries(texts, values, max_size=4).map(Setpoints.of)
provenances = st.builds(
    Provenance,
    party=texts,
    channel=texts,
    lfdi=st.none() | texts,
    server=texts,
    received_at=st.none() | times,
    derived_from=st.none() | mrids,
    signature=st.binary(max_size=70),
)
controls = st.builds(
    Control,
    mrid=mrids,
    creation_time=times,
    interval=st.builds(Interval, start=times, duration_s=st.integers(0, 2**32)),
    setpoints=setpoints,
    randomize_start_s=st.integers(-3600, 3600),
    ramp_time_s=st.none() | numbers,
    status=st.sampled_from(EventStatus),
    status_time=st.none() | times,
    potentially_superseded=st.booleans(),
    response_required=st.integers(0, 7).map(ResponseRequired),
    description=texts,
    invalid=texts,
    provenance=st.none() | provenances,
)
defaults = st.builds(DefaultControl, mrid=mrids, setpoints=setpoints, provenance=st.none() | provenances)
programs = st.builds(
    Program,
    mrid=mrids,
    primacy=st.integers(0, 255),
    controls=st.lists(controls, max_size=2).map(tuple),
    default=st.none() | defaults,
)


@given(st.one_of(values, setpoints, controls, defaults, programs, times, st.binary(), st.lists(programs, max_size=2)))
def test_every_value_comes_back_equal_and_of_its_type(value):
    back = parse(dump(value))
    assert back == (tuple(value) if isinstance(value, list) else value)
    assert type(back) is (tuple if isinstance(value, list) else type(value))


@given(numbers)
def test_a_number_keeps_the_digits_it_was_written_with(number):
    assert str(parse(dump(number))) == str(number)


@pytest.mark.parametrize("value", [0, -1, 1.5, "", "é\x00", None, Quality.VALID | Quality.DERIVED, ()])
def test_plain_values_come_back(value):
    assert parse(dump(value)) == value


def test_a_time_of_another_zone_stays_the_same_instant():
    when = datetime(2026, 6, 18, 14, tzinfo=timezone(timedelta(hours=2)))
    assert parse(dump(when)) == when


def test_a_field_with_a_default_may_be_absent():
    assert parse('{"~":"CurvePoint","x":{"~":"n","v":"1"},"y":{"~":"n","v":"2"}}') == CurvePoint(
        x=Decimal(1), y=Decimal(2)
    )


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"~":"CurvePoint","x":1}', "lacks a field"),
        ('{"~":"CurvePoint","x":1,"y":2,"z":3}', "field 'z' of CurvePoint"),
        ('{"~":"Path","v":"/etc"}', "type 'Path'"),
        ('{"v":1}', "type None"),
        ('{"~":"EventStatus","v":99}', "99"),
        ("{", "Expecting"),
    ],
)
def test_what_is_not_known_is_refused(text, what):
    with pytest.raises(ValueError, match=what):
        parse(text)


@pytest.mark.parametrize("value", [{1, 2}, {"a": 1}, object(), timedelta(1)])
def test_only_values_of_the_model_are_written(value):
    with pytest.raises(TypeError, match="cannot be written"):
        dump(value)
