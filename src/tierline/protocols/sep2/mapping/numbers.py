"""Scaled integers of the wire and exact decimals of the model."""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from tierline.model.errors import Unsupported

_FINEST: Final = -128
_COARSEST: Final = 127
"""PowerOfTenMultiplierType is an Int8."""


def to_scale(value: Decimal, exponent: int) -> int:
    """Give the integer that stands for a value at a power of ten, rounded half to even."""
    return int(value.scaleb(-exponent).to_integral_value(rounding=ROUND_HALF_EVEN))


def from_scale(number: int, exponent: int) -> Decimal:
    """Give the value of an integer at a power of ten."""
    return Decimal(number).scaleb(exponent)


def fitted(value: Decimal, *, low: int, high: int) -> tuple[int, int]:
    """Find the (integer, power of ten) that stands for a value within bounds without loss, or with the least.

    Raises: Unsupported when no power of ten of the type helps.
    """
    power = common_power([value], low=low, high=high)
    return to_scale(value, power), power


def common_power(values: Sequence[Decimal], *, low: int, high: int) -> int:
    """Find the finest power of ten that any of the values needs and at which all of them fit; whole numbers need none below 1.

    Raises: Unsupported when no power of ten of the type helps.
    """
    if low >= 0 and any(value < 0 for value in values):
        raise Unsupported(f"{', '.join(map(str, values))} may not be negative")
    for power in range(max(_FINEST, min(map(_exponent, values), default=0)), _COARSEST + 1):
        if all(low <= to_scale(value, power) <= high for value in values):
            return power
    raise Unsupported(f"{', '.join(map(str, values))} do not fit between {low} and {high} ")


def bounded(value: Decimal, exponent: int, low: int, high: int, what: str) -> int:
    """Give the integer that stands for a value at a fixed power of ten.

    Raises: Unsupported when it does not fit the element.
    """
    number = to_scale(value, exponent) if value.is_finite() else high + 1
    if not low <= number <= high:
        least, most = from_scale(low, exponent), from_scale(high, exponent)
        raise Unsupported(f"{what} cannot be {value}: it goes from {least} to {most}")
    return number


def _exponent(value: Decimal) -> int:
    """Give the power of ten of the last digit that is not 0; whole numbers need none below 1."""
    exponent = value.normalize().as_tuple().exponent
    if not isinstance(exponent, int):
        raise Unsupported(f"{value} is not a number")
    return min(exponent, 0)
