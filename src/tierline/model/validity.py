"""Whether a value can be carried out at all, judged by its function's row; the range of one device is no matter here."""

from collections.abc import Iterator
from decimal import Decimal
from typing import assert_never

from tierline.model.control import Curve, Droop, FixedVar, PowerFactor, Value
from tierline.model.functions import FUNCTIONS, FunctionRow, Unit, ValueType

CURVE_POINTS_MAX = 10
"""IEEE 2030.5-2018, DERCurve: CurveData occurs 1 to 10 times."""

_NEVER_NEGATIVE = frozenset({Unit.S, Unit.HZ, Unit.PCT_VREF})
"""Units of x that begin at 0; active power may be absorbed."""

_TYPES: dict[ValueType, type[Value]] = {
    ValueType.NUMBER: Decimal,
    ValueType.BOOLEAN: bool,
    ValueType.POWER_FACTOR: PowerFactor,
    ValueType.DROOP: Droop,
    ValueType.FIXED_VAR: FixedVar,
    ValueType.CURVE: Curve,
}


def fault_of(name: str, value: Value) -> str:
    """Say what makes a function's value invalid, in words for an operator; empty when it is valid."""
    row = FUNCTIONS.get(name)
    if row is None:
        return f"{name} is no known function"
    wanted = _TYPES.get(row.value)
    if wanted is None:
        return f"{name} takes no value"
    if type(value) is not wanted:
        return f"{name} takes {row.value.value.replace('_', ' ')}, not {type(value).__name__}"
    return next(_faults(row, value), "")


def _faults(row: FunctionRow, value: Value) -> Iterator[str]:
    match value:
        case bool():
            return
        case Decimal():
            yield from _outside(row, row.name, value)
        case PowerFactor(displacement=displacement):
            if not (displacement.is_finite() and 0 < displacement <= 1):
                yield f"{row.name} has the power factor {displacement}; it must be above 0 and at most 1"
        case FixedVar(value_pct=percent):
            yield from _outside(row, row.name, percent)
        case Droop():
            for what, part in (
                ("dead band over", value.dead_band_over_hz),
                ("dead band under", value.dead_band_under_hz),
                ("open loop time", value.open_loop_s),
            ):
                yield from _negative(row, what, part)
            for what, part in (("slope over", value.slope_over), ("slope under", value.slope_under)):
                if not (part.is_finite() and part > 0):
                    yield f"{row.name} has the {what} {part}; it must be above 0"
        case Curve():
            yield from _faults_of_curve(row, value)
        case _:
            assert_never(value)


def _faults_of_curve(row: FunctionRow, curve: Curve) -> Iterator[str]:
    if not 1 <= len(curve.points) <= CURVE_POINTS_MAX:
        yield f"{row.name} has {len(curve.points)} points; a curve has 1 to {CURVE_POINTS_MAX}"
    for number, point in enumerate(curve.points, start=1):
        if not point.x.is_finite() or (row.x_unit in _NEVER_NEGATIVE and point.x < 0):
            yield f"{row.name} has x = {point.x} at point {number}"
        yield from _outside(row, f"{row.name}, point {number},", point.y)
    for what, part in (
        ("open loop time", curve.open_loop_s),
        ("ramp down", curve.ramp_decrease_pct_per_s),
        ("ramp up", curve.ramp_increase_pct_per_s),
        ("low-pass filter", curve.low_pass_s),
        ("reference voltage", curve.v_ref_pct),
        ("time constant of the reference voltage", curve.autonomous_v_ref_time_constant_s),
    ):
        if part is not None:
            yield from _negative(row, what, part)


def _negative(row: FunctionRow, what: str, part: Decimal) -> Iterator[str]:
    if not (part.is_finite() and part >= 0):
        yield f"{row.name} has the {what} {part}; it must not be negative"


def _outside(row: FunctionRow, what: str, number: Decimal) -> Iterator[str]:
    if not number.is_finite():
        yield f"{what} is {number}, which is no number"
    elif row.low is not None and number < row.low:
        yield f"{what} is {number} {row.unit.value}; the least is {row.low}"
    elif row.high is not None and number > row.high:
        yield f"{what} is {number} {row.unit.value}; the most is {row.high}"
