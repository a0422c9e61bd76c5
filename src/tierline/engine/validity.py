"""Whether anybody could carry out an event or a value (docs/rules.md E5), by the table of functions."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType

from tierline.model.control import Control, Curve, Droop, FixedVar, FunctionName, PowerFactor, Value
from tierline.model.functions import FUNCTIONS, FunctionRow, ValueType

RANDOMIZE_MAX_S = 3600
"""The widest randomization. Source: IEEE 2030.5-2018, OneHourRangeType."""

CURVE_POINTS_MAX = 10
"""Source: IEEE 2030.5-2018, DERCurve: 1 to 10 CurveData."""


def problem_of(control: Control) -> str:
    """Say why an event cannot be carried out by anybody (E5); empty when it can."""
    if control.invalid:
        return control.invalid
    if not control.setpoints:
        return "it has no mode"
    for name, offset in (("start", control.randomize_start_s), ("duration", control.randomize_duration_s)):
        if abs(offset) > RANDOMIZE_MAX_S:
            return f"its {name} is randomized by {offset} s, more than {RANDOMIZE_MAX_S} s"
    if control.interval.duration_s < 1:
        return f"it lasts {control.interval.duration_s} s"
    try:
        control.interval.end + timedelta(seconds=2 * RANDOMIZE_MAX_S)
    except OverflowError:
        return f"it lasts {control.interval.duration_s} s, beyond the year 9999"
    for name, value in control.setpoints.items():
        row = FUNCTIONS.get(name)
        problem = f"{name} stands in defaults only" if row and row.default_only else problem_of_value(name, value)
        if problem:
            return problem
    return ""


def problem_of_value(name: FunctionName, value: Value) -> str:
    """Say why a function cannot take a value; a function that no table knows is for `supported` to refuse."""
    row = FUNCTIONS.get(name)
    if row is None:
        return ""
    if not isinstance(value, _TYPES[row.value]):
        return f"{name} cannot be {value!r}"
    match value:
        case Decimal():
            is_valid = value.is_finite() and _is_within(row, value)
        case PowerFactor():
            is_valid = value.displacement.is_finite() and 0 < value.displacement <= 1
        case Curve():
            is_valid = 1 <= len(value.points) <= CURVE_POINTS_MAX
        case _:
            is_valid = True
    return "" if is_valid else f"{name} cannot be {value!r}"


def _is_within(row: FunctionRow, value: Decimal) -> bool:
    return (row.low is None or row.low <= value) and (row.high is None or value <= row.high)


_TYPES: Mapping[ValueType, type | tuple[type, ...]] = MappingProxyType(
    {
        ValueType.NUMBER: Decimal,
        ValueType.BOOLEAN: bool,
        ValueType.POWER_FACTOR: PowerFactor,
        ValueType.DROOP: Droop,
        ValueType.FIXED_VAR: FixedVar,
        ValueType.CURVE: Curve,
        ValueType.NONE: (),
    }
)
