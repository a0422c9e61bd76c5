"""DERCurve and the canonical Curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierline.model.control import Curve, CurvePoint, Reference
from tierline.model.errors import PeerError, Unsupported
from tierline.protocols.sep2.mapping.functions import BY_FUNCTION
from tierline.protocols.sep2.mapping.numbers import bounded, common_power, from_scale, to_scale
from tierline.protocols.sep2.mapping.times import read_time, write_time
from tierline.protocols.sep2.resources.der import CurveData, DERCurve

if TYPE_CHECKING:
    from decimal import Decimal

_INT32 = 2**31
_POINTS = 10
"""CurveData of a DERCurve."""


def write_curve(curve: Curve, function: str, href: str) -> DERCurve:
    """Write a curve of a function.

    Raises: Unsupported when the function is no curve of 2030.5, or a value does not fit its element.
    """
    curve_type = curve_type_of(function)
    if curve_type is None:
        raise Unsupported(f"IEEE 2030.5 has no curve for {function}")
    if not 1 <= len(curve.points) <= _POINTS:
        raise Unsupported(f"a DERCurve has 1 to {_POINTS} points, this one {len(curve.points)}")
    x_power = common_power([point.x for point in curve.points], low=-_INT32, high=_INT32 - 1)
    y_power = common_power([point.y for point in curve.points], low=-_INT32, high=_INT32 - 1)
    created = curve.creation_time
    return DERCurve(
        href=href,
        mrid=curve.mrid,
        autonomous_v_ref_enable=True if curve.autonomous_v_ref else None,
        autonomous_v_ref_time_constant=_hundredths(
            curve.autonomous_v_ref_time_constant_s, 32, "autonomousVRefTimeConstant"
        ),
        creation_time=0 if created is None else write_time(created),
        curve_data=tuple(
            CurveData(excitation=point.absorbing, xvalue=to_scale(point.x, x_power), yvalue=to_scale(point.y, y_power))
            for point in curve.points
        ),
        curve_type=curve_type,
        open_loop_tms=_hundredths(curve.open_loop_s, 16, "openLoopTms"),
        ramp_dec_tms=_hundredths(curve.ramp_decrease_pct_per_s, 16, "rampDecTms"),
        ramp_inc_tms=_hundredths(curve.ramp_increase_pct_per_s, 16, "rampIncTms"),
        ramp_pt1_tms=_hundredths(curve.low_pass_s, 16, "rampPT1Tms"),
        v_ref=_hundredths(curve.v_ref_pct, 16, "vRef"),
        x_multiplier=x_power,
        y_multiplier=y_power,
        y_ref_type=curve.y_reference.value,
    )


def read_curve(curve: DERCurve) -> Curve:
    """Read a curve.

    Raises: PeerError for an unknown reference.
    """
    try:
        reference = Reference(curve.y_ref_type)
    except ValueError as error:
        raise PeerError(f"{curve.y_ref_type} is no DERUnitRefType", path="DERCurve/yRefType") from error
    return Curve(
        mrid=curve.mrid,
        points=tuple(
            CurvePoint(
                x=from_scale(point.xvalue, curve.x_multiplier),
                y=from_scale(point.yvalue, curve.y_multiplier),
                absorbing=point.excitation,
            )
            for point in curve.curve_data
        ),
        y_reference=reference,
        open_loop_s=_from_hundredths(curve.open_loop_tms),
        ramp_decrease_pct_per_s=_from_hundredths(curve.ramp_dec_tms),
        ramp_increase_pct_per_s=_from_hundredths(curve.ramp_inc_tms),
        low_pass_s=_from_hundredths(curve.ramp_pt1_tms),
        v_ref_pct=_from_hundredths(curve.v_ref),
        autonomous_v_ref=bool(curve.autonomous_v_ref_enable),
        autonomous_v_ref_time_constant_s=_from_hundredths(curve.autonomous_v_ref_time_constant),
        creation_time=read_time(curve.creation_time, "DERCurve/creationTime"),
    )


def curve_type_of(function: str) -> int | None:
    """Give the DERCurveType of a function that is a curve."""
    mode = BY_FUNCTION.get(function)
    return None if mode is None else mode.curve_type


def _hundredths(value: Decimal | None, bits: int, element: str) -> int | None:
    return None if value is None else bounded(value, -2, 0, 2**bits - 1, element)


def _from_hundredths(number: int | None) -> Decimal | None:
    return None if number is None else from_scale(number, -2)
