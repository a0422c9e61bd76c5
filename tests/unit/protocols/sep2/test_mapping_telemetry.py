from datetime import UTC, datetime, timedelta

import pytest

from tierline.model.errors import PeerError
from tierline.model.points import POINTS
from tierline.model.telemetry import Phase, Qualifier, Quality, Reading
from tierline.protocols.sep2.mapping.telemetry import (
    BY_POINT,
    POINT_TYPES,
    Series,
    mirror_mrid,
    point_of,
    read_readings,
    reading_type,
    write_readings,
)
from tierline.protocols.sep2.resources import metering
from tierline.protocols.sep2.resources.objects import DateTimeInterval

NOON = datetime(2026, 6, 18, 12, tzinfo=UTC)
LFDI = "AB" * 20
DER = "aaaaaaaaaaaaa"


def reading(point="w", value=5000, after_s=0, **more):
    more = {"power_of_ten": 0, **more}
    return Reading(der_id=DER, point=point, value=value, time=NOON + timedelta(seconds=after_s), **more)


@pytest.mark.parametrize(
    ("point", "uom", "kind", "accumulation", "flow", "phase"),
    [
        ("w", 38, 37, 12, 19, 0),
        ("var", 63, 37, 12, 19, 0),
        ("v_an", 29, None, 12, 1, 129),
        ("v_bn", 29, None, 12, 1, 65),
        ("v_cn", 29, None, 12, 1, 33),
        ("v_ab", 29, None, 12, 1, 132),
        ("v_bc", 29, None, 12, 1, 66),
        ("v_ca", 29, None, 12, 1, 40),
        ("hz", 33, None, 12, 1, 0),
        ("wh_generated", 72, 12, 9, 19, 0),
    ],
)
def test_reading_types_are_those_of_the_test_procedures(point, uom, kind, accumulation, flow, phase):
    found = reading_type(point, -1)
    assert (found.uom, found.kind, found.accumulation_behaviour, found.flow_direction, found.phase) == (
        uom,
        kind,
        accumulation,
        flow,
        phase,
    )
    assert (found.commodity, found.power_of_ten_multiplier, found.data_qualifier) == (1, -1, 0)


@pytest.mark.parametrize("row", POINT_TYPES, ids=lambda row: row.point)
def test_every_point_is_known_and_found_again_by_its_type(row):
    assert row.point in POINTS
    assert point_of(reading_type(row.point, 3)) == row.point
    assert BY_POINT[row.point] is row


@pytest.mark.parametrize(
    ("kind", "point"),
    [
        ({"uom": 29, "phase": 128}, "v_an"),
        ({"uom": 38}, "w"),
        ({"uom": 38, "flow_direction": 1}, "w"),
        ({"uom": 119}, "uom_119_phase_0"),
        ({"uom": 72}, "uom_72_phase_0"),
        ({"uom": 5, "phase": 32}, "uom_5_phase_32"),
    ],
)
def test_other_descriptions_are_understood_or_kept_by_their_numbers(kind, point):
    assert point_of(metering.ReadingType(**kind)) == point


def test_a_type_that_does_not_say_what_is_measured_is_refused():
    with pytest.raises(PeerError, match="uom is missing"):
        point_of(metering.ReadingType())


def test_the_names_of_a_mirror_stay_the_same_and_carry_the_pen():
    assert mirror_mrid(LFDI, "", 37244) == mirror_mrid(LFDI, "", 37244)
    assert mirror_mrid(LFDI, "", 37244).endswith(f"{37244:08X}")
    names = {mirror_mrid(LFDI, Series("w", power, Qualifier(code)).name, 1) for power in (0, 1) for code in (0, 2)}
    assert len(names) == 4


def test_a_message_holds_one_series_only():
    with pytest.raises(ValueError, match="unpack"):
        write_readings(LFDI, [reading(power_of_ten=0), reading(power_of_ten=-1)], 1)


def test_a_set_covers_all_its_readings():
    meter = write_readings(LFDI, [reading(after_s=60, duration_s=60), reading(after_s=0, duration_s=60)], 1)
    (one,) = meter.mirror_reading_sets
    assert (one.time_period.start, one.time_period.duration) == (int(NOON.timestamp()), 120)


def test_one_reading_outside_a_set_counts_as_well():
    meter = metering.MirrorMeterReading(
        mrid="1" * 32,
        reading=metering.Reading(value=7, time_period=DateTimeInterval(start=5, duration=60), quality_flags=0x81),
    )
    ((mrid, found),) = read_readings(meter, metering.ReadingType(uom=38, power_of_ten_multiplier=2), DER)
    assert (mrid, found.value, found.power_of_ten, found.duration_s) == ("1" * 32, 7, 2, 60)
    assert (found.quality, found.phase) == (Quality.VALID, Phase.NONE)


def test_a_single_reading_takes_the_time_of_its_set():
    period = DateTimeInterval(start=100, duration=300)
    one = metering.MirrorReadingSet(mrid="2" * 32, time_period=period, readings=(metering.Reading(value=1),))
    meter = metering.MirrorMeterReading(mrid="1" * 32, mirror_reading_sets=(one,))
    ((_, found),) = read_readings(meter, metering.ReadingType(uom=38), DER)
    assert (found.time, found.duration_s) == (datetime.fromtimestamp(100, UTC), 300)


def test_sets_and_readings_come_in_order():
    def a_set(start, *values):
        readings = tuple(
            metering.Reading(value=value, local_id=local_id, time_period=DateTimeInterval(start=start, duration=0))
            for local_id, value in values
        )
        period = DateTimeInterval(start=start, duration=60)
        return metering.MirrorReadingSet(mrid="2" * 32, time_period=period, readings=readings)

    meter = metering.MirrorMeterReading(
        mrid="1" * 32, mirror_reading_sets=(a_set(60, (1, 4), (0, 3)), a_set(0, (None, 1), (1, 2)))
    )
    found = read_readings(meter, metering.ReadingType(uom=38), DER)
    assert [one.value for _, one in found] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (metering.Reading(time_period=DateTimeInterval(start=0, duration=0)), "value is missing"),
        (metering.Reading(value=1), "timePeriod is missing"),
        (metering.Reading(value=1, time_period=DateTimeInterval(start=2**62, duration=0)), "not a time"),
    ],
)
def test_a_reading_without_value_or_time_is_refused(one, why):
    meter = metering.MirrorMeterReading(mrid="1" * 32, reading=one)
    with pytest.raises(PeerError, match=why):
        read_readings(meter, metering.ReadingType(uom=38), DER)


@pytest.mark.parametrize(
    ("code", "point", "qualifier"),
    [
        (None, "v_ln", Qualifier.INSTANTANEOUS),
        (2, "v_ln", Qualifier.AVERAGE),
        (12, "v_ln", Qualifier.INSTANTANEOUS),
        (29, "uom_29_phase_0_qualifier_29", Qualifier.INSTANTANEOUS),
    ],
)
def test_a_plain_value_may_be_called_normal_and_a_deviation_is_no_value(code, point, qualifier):
    one = metering.Reading(value=1, time_period=DateTimeInterval(start=0, duration=0))
    meter = metering.MirrorMeterReading(mrid="1" * 32, reading=one)
    ((_, found),) = read_readings(meter, metering.ReadingType(uom=29, data_qualifier=code), DER)
    assert (found.point, found.qualifier) == (point, qualifier)


def test_a_phase_nobody_knows_is_none():
    one = metering.Reading(value=1, time_period=DateTimeInterval(start=0, duration=0))
    meter = metering.MirrorMeterReading(mrid="1" * 32, reading=one)
    ((_, found),) = read_readings(meter, metering.ReadingType(uom=29, phase=224), DER)
    assert (found.point, found.phase) == ("v_ll", Phase.NONE)
