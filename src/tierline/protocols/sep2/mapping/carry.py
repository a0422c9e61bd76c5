"""Whether IEEE 2030.5 can carry what an operator wants, asked before it is promised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierline.model.control import Curve
from tierline.model.errors import Unsupported
from tierline.protocols.sep2.mapping.curves import write_curve
from tierline.protocols.sep2.mapping.functions import write_base, write_settings

if TYPE_CHECKING:
    from decimal import Decimal

    from tierline.model.control import Setpoints


def why_not(setpoints: Setpoints, ramp_time_s: Decimal | None) -> str:
    """Say why setpoints cannot be carried by a control or default; empty when they can."""
    try:
        write_base(setpoints, lambda _: "/curve", ramp_time_s=ramp_time_s)
        write_settings(setpoints)
        for name, value in setpoints.items():
            if isinstance(value, Curve):
                write_curve(value, name, "/curve")
    except Unsupported as error:
        return str(error)
    return ""
