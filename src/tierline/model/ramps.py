"""Ramps that one command asks for, beside the ramp rate a device has for all of them."""

from decimal import Decimal
from typing import Final

from tierline.model.control import Curve, Setpoints, Value
from tierline.model.functions import FUNCTIONS, Unit

_OVER_VOLTAGE: Final = Unit.PCT_VREF
"""The x of volt-var and volt-watt, the curves that have an adjustable open loop response time (IEEE 1547-2018 5.3.3, 5.4.2)."""


def ramp_of(function: str, value: Value) -> str:
    """Say which ramp of its own a value asks for, in the words of IEEE 2030.5; empty for none.

    An open loop response time is none. A low-pass filter is one only where it cannot be told as such a time: beside another,
    or where the curve has none.
    Source: IEEE 2030.5-2018, DERCurve; 0 means no limit, so only another value asks for something.
    """
    if not isinstance(value, Curve):
        return ""
    asked = {
        "rampDecTms": bool(value.ramp_decrease_pct_per_s),
        "rampIncTms": bool(value.ramp_increase_pct_per_s),
        "rampPT1Tms": bool(value.low_pass_s)
        and (bool(value.open_loop_s) or FUNCTIONS[function].x_unit is not _OVER_VOLTAGE),
    }
    return " and ".join(name for name, is_asked in asked.items() if is_asked)


def ramps_of(setpoints: Setpoints, ramp_time_s: Decimal | None) -> tuple[str, ...]:
    """Say which ramps of their own a control with a ramp time and its curves ask for."""
    curves = [f"{ramp} of {name}" for name, value in setpoints.items() if (ramp := ramp_of(name, value))]
    return (*(["rampTms"] if ramp_time_s is not None else []), *curves)
