from decimal import Decimal

import pytest

from tierline.model.errors import Unsupported
from tierline.protocols.sep2.mapping.numbers import bounded, common_power, fitted, to_scale

INT16 = {"low": -(2**15), "high": 2**15 - 1}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("0", (0, 0)),
        ("5000", (5000, 0)),
        ("100000", (10_000, 1)),
        ("97.5", (975, -1)),
        ("-32768", (-32_768, 0)),
        ("32768", (3277, 1)),
        ("0.12345678", (12_346, -5)),
        ("1E+100", (10_000, 96)),
    ],
)
def test_a_value_takes_the_finest_power_that_holds_it(value, written):
    assert fitted(Decimal(value), **INT16) == written


def test_the_points_of_a_curve_are_not_coarsened_by_a_round_one():
    assert common_power([Decimal(100), Decimal("97.5"), Decimal(20)], **INT16) == -1
    assert common_power([], **INT16) == 0


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1E+200"])
def test_what_no_power_of_ten_holds_is_refused(value):
    with pytest.raises(Unsupported, match=r"not a number|do not fit"):
        fitted(Decimal(value), **INT16)


def test_a_negative_value_of_an_unsigned_element_is_refused():
    with pytest.raises(Unsupported, match="may not be negative"):
        fitted(Decimal(-5), low=0, high=10)


def test_halves_go_to_the_even_number():
    assert [to_scale(Decimal(text), -1) for text in ("0.05", "0.15", "0.25", "-0.15")] == [0, 2, 2, -2]


@pytest.mark.parametrize("value", ["655.36", "-0.01", "NaN", "Infinity"])
def test_a_value_outside_its_element_names_both(value):
    with pytest.raises(Unsupported, match=rf"rampTms cannot be {value}: it goes from 0.00 to 655.35"):
        bounded(Decimal(value), -2, 0, 2**16 - 1, "rampTms")
