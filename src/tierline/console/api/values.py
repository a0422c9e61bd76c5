"""Setpoints between JSON and the model: by the value type of the function's row, with what is wrong said by name.

A number is a number (`50`, `"50.5"`), a permission true or false; the other types are objects:

- power factor `{"displacement": 0.95, "absorbing": true}`
- fixed var `{"percent": -30, "reference": "set_max_var"}`
- droop `{"dead_band_over_hz": …, "dead_band_under_hz": …, "slope_over": …, "slope_under": …, "open_loop_s": …}`
- curve `{"points": [[92, 44], [98, 0]], "y_ref": "set_max_var", "open_loop_s": 5}`; for watt-PF a point has a third part,
  true when the power factor absorbs.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from tierline.model.control import Curve, CurvePoint, Droop, FixedVar, PowerFactor, Reference, Setpoints
from tierline.model.errors import ConfigError
from tierline.model.functions import FUNCTIONS, FunctionRow, ValueType
from tierline.model.identity import Mrid
from tierline.model.validity import fault_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from tierline.model.control import Value

_UNNUMBERED = Mrid("0" * 32)
"""The server gives a curve its mRID when it takes it over."""

_DIGITS = 15
"""Powers of ten beyond which a number is a mistake: more than a petawatt, less than a femtowatt."""

_DROOP = ("dead_band_over_hz", "dead_band_under_hz", "slope_over", "slope_under", "open_loop_s")
_CURVE_NUMBERS = (
    "open_loop_s",
    "ramp_decrease_pct_per_s",
    "ramp_increase_pct_per_s",
    "low_pass_s",
    "v_ref_pct",
    "autonomous_v_ref_time_constant_s",
)


def read_setpoints(given: Mapping[str, JsonValue]) -> Setpoints:
    """Read setpoints.

    Raises: ConfigError naming the function, the value and what is allowed.
    """
    if not given:
        raise ConfigError('nothing is commanded; name at least one function, for example {"max_lim_w_pct": 50}')
    return Setpoints.of({name: read_value(name, value) for name, value in given.items()})


def read_value(name: str, given: JsonValue) -> Value:
    """Read the value of one function.

    Raises: ConfigError.
    """
    row = FUNCTIONS.get(name)
    if row is None:
        raise ConfigError(f"there is no function {name!r}; `tierline function list` shows them")
    value = _parse(row, given)
    fault = fault_of(name, value)
    if fault:
        raise ConfigError(f"{fault}{_allowed(row)}")
    return value


def write_setpoints(setpoints: Setpoints) -> dict[str, JsonValue]:
    """Write setpoints in the form they are read."""
    return {name: write_value(value) for name, value in setpoints.items()}


def write_value(value: Value) -> JsonValue:
    """Write one value in the form it is read."""
    match value:
        case bool():
            return value
        case Decimal():
            return _number(value)
        case PowerFactor():
            return {"displacement": _number(value.displacement), "absorbing": value.absorbing}
        case FixedVar():
            return {"percent": _number(value.value_pct), "reference": value.reference.name.lower()}
        case Droop():
            parts = (value.dead_band_over_hz, value.dead_band_under_hz, value.slope_over, value.slope_under)
            return dict(zip(_DROOP, map(_number, (*parts, value.open_loop_s)), strict=True))
        case Curve():
            return _written_curve(value)


def _parse(row: FunctionRow, given: JsonValue) -> Value:
    match row.value:
        case ValueType.NUMBER:
            return _decimal(row.name, given, _allowed(row))
        case ValueType.BOOLEAN:
            return _boolean(row.name, given)
        case ValueType.POWER_FACTOR:
            fields = _Fields.of(row, given, required=("displacement",), optional=("absorbing",))
            return PowerFactor(displacement=fields.number("displacement"), absorbing=fields.boolean("absorbing"))
        case ValueType.FIXED_VAR:
            fields = _Fields.of(row, given, required=("percent",), optional=("reference",))
            return FixedVar(
                value_pct=fields.number("percent"), reference=fields.reference("reference", Reference.SET_MAX_VAR)
            )
        case ValueType.DROOP:
            fields = _Fields.of(row, given, required=_DROOP)
            over, under, slope_over, slope_under, open_loop = (fields.number(name) for name in _DROOP)
            return Droop(
                dead_band_over_hz=over,
                dead_band_under_hz=under,
                slope_over=slope_over,
                slope_under=slope_under,
                open_loop_s=open_loop,
            )
        case ValueType.CURVE:
            return _parsed_curve(row, given)
        case ValueType.NONE:
            raise ConfigError(f"{row.name} takes no value: it works on its own and cannot be commanded")


def _parsed_curve(row: FunctionRow, given: JsonValue) -> Curve:
    optional = ("y_ref", "autonomous_v_ref", *_CURVE_NUMBERS)
    fields = _Fields.of(row, given, required=("points",), optional=optional)
    points = fields.values["points"]
    if not isinstance(points, list):
        raise ConfigError(f"{row.name}: points must be a list of [x, y], not {points!r}")
    return Curve(
        mrid=_UNNUMBERED,
        points=tuple(_point(row, number, point) for number, point in enumerate(points, start=1)),
        y_reference=fields.reference("y_ref", Reference.NONE),
        open_loop_s=fields.maybe("open_loop_s"),
        ramp_decrease_pct_per_s=fields.maybe("ramp_decrease_pct_per_s"),
        ramp_increase_pct_per_s=fields.maybe("ramp_increase_pct_per_s"),
        low_pass_s=fields.maybe("low_pass_s"),
        v_ref_pct=fields.maybe("v_ref_pct"),
        autonomous_v_ref=fields.boolean("autonomous_v_ref"),
        autonomous_v_ref_time_constant_s=fields.maybe("autonomous_v_ref_time_constant_s"),
    )


def _point(row: FunctionRow, number: int, given: JsonValue) -> CurvePoint:
    where = f"{row.name}, point {number}"
    if not isinstance(given, list) or len(given) not in {2, 3}:
        raise ConfigError(f"{where}, must be [x, y], not {given!r}")
    absorbing = _boolean(f"{where}, absorbing", given[2]) if len(given) == 3 else None
    return CurvePoint(x=_decimal(f"{where}, x", given[0]), y=_decimal(f"{where}, y", given[1]), absorbing=absorbing)


@dataclass(frozen=True, slots=True)
class _Fields:
    """The parts of an object, each known by name."""

    name: str
    values: dict[str, JsonValue]

    @classmethod
    def of(
        cls, row: FunctionRow, given: JsonValue, *, required: tuple[str, ...], optional: tuple[str, ...] = ()
    ) -> _Fields:
        shape = "{" + ", ".join(f'"{key}": …' for key in required) + "}"
        if not isinstance(given, dict):
            raise ConfigError(f"{row.name} takes {row.value.value.replace('_', ' ')}, an object {shape}, not {given!r}")
        unknown = sorted(set(given) - set(required) - set(optional))
        if unknown:
            known = ", ".join((*required, *optional))
            raise ConfigError(f"{row.name} has no part {unknown[0]!r}; there are {known}")
        missing = [key for key in required if key not in given]
        if missing:
            raise ConfigError(f"{row.name} lacks {missing[0]}; give {shape}")
        return cls(row.name, given)

    def number(self, key: str) -> Decimal:
        return _decimal(f"{self.name}, {key}", self.values[key])

    def maybe(self, key: str) -> Decimal | None:
        return None if self.values.get(key) is None else self.number(key)

    def boolean(self, key: str) -> bool:
        return _boolean(f"{self.name}, {key}", self.values.get(key, False))

    def reference(self, key: str, otherwise: Reference) -> Reference:
        given = self.values.get(key)
        if given is None:
            return otherwise
        found = next((one for one in Reference if str(given).lower() == one.name.lower()), None)
        if found is None:
            names = ", ".join(one.name.lower() for one in Reference)
            raise ConfigError(f"{self.name}: {key} {given!r} is unknown; there are {names}")
        return found


def _decimal(what: str, given: JsonValue, allowed: str = "") -> Decimal:
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        raise ConfigError(f"{what} must be a number, not {given!r}{allowed}")
    try:
        value = Decimal(str(given))
    except InvalidOperation as error:
        raise ConfigError(f"{what} must be a number, not {given!r}{allowed}") from error
    if not value.is_finite():
        raise ConfigError(f"{what} must be a finite number, not {given!r}{allowed}")
    if value and abs(value.adjusted()) > _DIGITS:
        raise ConfigError(f"{what} is {given!r}, which no device can carry out{allowed}")
    return value


def _boolean(what: str, given: JsonValue) -> bool:
    if not isinstance(given, bool):
        raise ConfigError(f"{what} must be true or false, not {given!r}")
    return given


def _allowed(row: FunctionRow) -> str:
    if row.low is None and row.high is None:
        return ""
    low = "" if row.low is None else f"from {row.low} "
    high = "" if row.high is None else f"up to {row.high} "
    return f"; allowed is {low}{high}{row.unit.value}".rstrip()


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _written_curve(curve: Curve) -> JsonValue:
    points: list[JsonValue] = []
    for point in curve.points:
        pair: list[JsonValue] = [_number(point.x), _number(point.y)]
        points.append(pair if point.absorbing is None else [*pair, point.absorbing])
    written: dict[str, JsonValue] = {"points": points}
    if curve.y_reference is not Reference.NONE:
        written["y_ref"] = curve.y_reference.name.lower()
    numbers = (
        curve.open_loop_s,
        curve.ramp_decrease_pct_per_s,
        curve.ramp_increase_pct_per_s,
        curve.low_pass_s,
        curve.v_ref_pct,
        curve.autonomous_v_ref_time_constant_s,
    )
    written |= {name: _number(value) for name, value in zip(_CURVE_NUMBERS, numbers, strict=True) if value is not None}
    if curve.autonomous_v_ref:
        written["autonomous_v_ref"] = True
    return written
