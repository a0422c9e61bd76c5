"""Setpoints as an operator reads them, for the audit and for explanations."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tierline.model.control import Curve, Droop, FixedVar, PowerFactor

if TYPE_CHECKING:
    from tierline.model.control import Setpoints, Value


def worded(setpoints: Setpoints) -> dict[str, str]:
    """Say every value in words, by function."""
    return {name: said(value) for name, value in setpoints.items()}


def said(value: Value) -> str:
    """Say one value in words."""
    match value:
        case bool():
            return "true" if value else "false"
        case Decimal():
            return format(value.normalize(), "f")
        case PowerFactor():
            return f"{value.displacement} {'absorbing' if value.absorbing else 'injecting'}"
        case FixedVar():
            return f"{value.value_pct} % of {value.reference.name.lower()}"
        case Droop():
            return (
                f"dead band {value.dead_band_over_hz}/{value.dead_band_under_hz} Hz, "
                f"slope {value.slope_over}/{value.slope_under}, {value.open_loop_s} s"
            )
        case Curve():
            return " ".join(f"({point.x}, {point.y})" for point in value.points)
