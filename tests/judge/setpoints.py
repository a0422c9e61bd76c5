"""The set-point of active power in the registers of a device."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registers import written

if TYPE_CHECKING:
    from records import Device, Request
    from registers import Layout

ENA, MODE, WATTS, PERCENT = "WSetEna", "WSetMod", "WSet", "WSetPct"
IN_PERCENT, IN_WATTS = 0, 1  # of WSetMod


@dataclass(frozen=True)
class SetPoint:
    """The set-point in W from `t` on; None when there is none, or none that this judge can read."""

    t: float
    watts: float | None


def setpoint_history(layout: Layout, device: Device, requests: list[Request]) -> list[SetPoint]:
    """Follow the set-point registers of one device; what was never written counts as disabled."""
    registers: dict[int, int] = {}
    states: list[SetPoint] = []
    touching = layout.span(704, ENA, MODE, WATTS, PERCENT)
    for request in requests:
        change = written(request.pdu)
        if not touching & change.keys():
            continue
        registers.update(change)
        watts: float | None = None
        if layout.decode(registers, 704, ENA) == 1:
            mode = layout.decode(registers, 704, MODE)
            if mode is None and layout.decode(registers, 704, WATTS) is None:
                # Not written: it was so already. Only one of the two values was ever written, and that is meant.
                mode = IN_PERCENT
            if mode == IN_WATTS:
                watts = layout.decode(registers, 704, WATTS)
            elif mode == IN_PERCENT and (percent := layout.decode(registers, 704, PERCENT)) is not None:
                watts = percent / 100 * device.rating_w
        states.append(SetPoint(request.t, watts))
    return states


def setpoint_at(states: list[SetPoint], t: float) -> float | None:
    """Find the set-point at a time."""
    index = bisect_right(states, t, key=lambda state: state.t) - 1
    return states[index].watts if index >= 0 else None


def count_w(layout: Layout, device: Device) -> float:
    """Find what one count of the coarser of the two registers is worth."""
    return max(layout.resolution(704, WATTS), layout.resolution(704, PERCENT) / 100 * device.rating_w)
