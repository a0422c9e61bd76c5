"""DERCurve and the canonical Curve."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tierline.model.control import Curve, CurvePoint, Reference
from tierline.model.errors import PeerError
from tierline.protocols.sep2.mapping.functions import BY_FUNCTION
from tierline.protocols.sep2.mapping.numbers import common_power, from_scale, to_scale
from tierline.protocols.sep2.resources.der import CurveData, DERCurve

if TYPE_CHECKING:
    from decimal import Decimal

_INT32 = 2**31


def write_curve(curve: Curve, function: str, href: str) -> DERCurve:
    """Write a curve of a function."""
    mode = BY_FUNCTION[function]
    x_power = common_power([point.x for point in curve.points], low=-_INT32, high=_INT32 - 1)
    y_power = common_power([point.y for point in curve.points], low=-_INT32, high=_INT32 - 1)
    created = curve.creation_time
    return DERCurve(
        href=href,
        mrid=curve.mrid,
        autonomous_v_ref_enable=True if curve.autonomous_v_ref else None,
        autonomous_v_ref_time_constant=_hundredths(curve.autonomous_v_ref_time_constant_s),
        creation_time=0 if created is None else int(created.timestamp()),
        curve_data=tuple(
            CurveData(excitation=point.absorbing, xvalue=to_scale(point.x, x_power), yvalue=to_scale(point.y, y_power))
            for point in curve.points
        ),
        curve_type=mode.curve_type or 0,
        open_loop_tms=_hundredths(curve.open_loop_s),
        ramp_dec_tms=_hundredths(curve.ramp_decrease_pct_per_s),
        ramp_inc_tms=_hundredths(curve.ramp_increase_pct_per_s),
        v_ref=_hundredths(curve.v_ref_pct),
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
        open_loop_s=_seconds(curve.open_loop_tms),
        ramp_decrease_pct_per_s=_seconds(curve.ramp_dec_tms),
        ramp_increase_pct_per_s=_seconds(curve.ramp_inc_tms),
        v_ref_pct=_seconds(curve.v_ref),
        autonomous_v_ref=bool(curve.autonomous_v_ref_enable),
        autonomous_v_ref_time_constant_s=_seconds(curve.autonomous_v_ref_time_constant),
        creation_time=datetime.fromtimestamp(curve.creation_time, UTC),
    )


def curve_type_of(function: str) -> int | None:
    """Give the DERCurveType of a function that is a curve."""
    mode = BY_FUNCTION.get(function)
    return None if mode is None else mode.curve_type


def _hundredths(value: Decimal | None) -> int | None:
    return None if value is None else to_scale(value, -2)


def _seconds(number: int | None) -> Decimal | None:
    return None if number is None else from_scale(number, -2)
