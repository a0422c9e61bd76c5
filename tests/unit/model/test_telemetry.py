from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.model.identity import der_id
from tierline.model.telemetry import Alarm, Phase, Qualifier, Quality, Reading

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def reading(value, power_of_ten):
    return Reading(der_id=der_id(1), point="w", value=value, power_of_ten=power_of_ten, time=NOON)


@pytest.mark.parametrize(
    ("value", "power_of_ten", "scaled"),
    [(2405, -1, "240.5"), (100, 3, "100000"), (-5, 0, "-5"), (0, 3, "0")],
)
def test_a_reading_is_scaled_by_its_power_of_ten(value, power_of_ten, scaled):
    assert reading(value, power_of_ten).scaled == Decimal(scaled)


@given(st.integers(-(1 << 47), (1 << 47) - 1), st.integers(-9, 9))
def test_scaling_any_int48_is_exact(value, power_of_ten):
    assert reading(value, power_of_ten).scaled * Decimal(10) ** -power_of_ten == value


def test_a_reading_is_instantaneous_valid_and_of_no_phase_unless_said_otherwise():
    made = reading(1, 0)
    assert (made.duration_s, made.phase, made.qualifier, made.quality) == (
        0,
        Phase.NONE,
        Qualifier.INSTANTANEOUS,
        Quality.VALID,
    )


@pytest.mark.parametrize(
    ("enumeration", "numbers"),
    [
        (Phase, {"NONE": 0, "A": 128, "B": 64, "C": 32, "AN": 129, "BN": 65, "CN": 33, "AB": 132, "BC": 66, "CA": 40}),
        (Qualifier, {"INSTANTANEOUS": 0, "AVERAGE": 2, "MAXIMUM": 8, "MINIMUM": 9}),
    ],
)
def test_the_numbers_are_those_of_the_standard(enumeration, numbers):
    assert {member.name: member.value for member in enumeration} == numbers


def test_quality_flags_are_the_bits_of_the_standard():
    assert [flag.value for flag in Quality] == [1 << bit for bit in range(7)]


def test_an_alarm_has_no_details_unless_said_otherwise():
    alarm = Alarm(der_id=der_id(1), point="alarm_over_voltage", active=True, time=NOON)
    assert alarm.details == ""
