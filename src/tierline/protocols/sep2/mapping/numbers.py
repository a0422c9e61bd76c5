"""Scaled integers of the wire and exact decimals of the model."""

from decimal import ROUND_HALF_EVEN, Decimal

from tierline.model.errors import Unsupported


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
    _, digits, exponent = value.normalize().as_tuple()
    if not isinstance(exponent, int):
        raise Unsupported(f"{value} is not a number")
    if not any(digits):
        return 0, 0
    for power in range(max(exponent, -128), 128):
        number = to_scale(value, power)
        if low <= number <= high:
            return number, power
    raise Unsupported(f"{value} does not fit")  # pragma: no cover - a power of 127 fits every Decimal in use


def common_power(values: list[Decimal], *, low: int, high: int) -> int:
    """Find one power of ten at which all values fit, the finest needed."""
    return max((fitted(value, low=low, high=high)[1] for value in values), default=0)
