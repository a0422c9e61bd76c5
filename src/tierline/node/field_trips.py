"""Ride-through curves of a simulated inverter: models 707 to 710 against the plant's trip levels.

A curve is one of steps: a level holds from its time on, the level nearest to normal comes last. Slopes between levels are
not carried out and so not adopted; nor is a must-trip curve inside the zone that may-trip says to ride through, nor a set
without a must-trip curve.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from tierline.plant.service import LEVELS, Side

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierline.plant.service import ServiceSettings
    from tierline.protocols.sunspec.codec import Value

Levels = tuple[tuple[float, float], ...]
"""Level [as in the register] and time [s] of each, the one farthest from normal first."""

SIDES: Final[Mapping[int, tuple[Side, str, float]]] = {
    707: (Side.UNDER_VOLTAGE, "V", 0.01),
    708: (Side.OVER_VOLTAGE, "V", 0.01),
    709: (Side.UNDER_FREQUENCY, "Hz", 1.0),
    710: (Side.OVER_FREQUENCY, "Hz", 1.0),
}
"""Model number to side, name of the quantity and what a register counts in the plant's unit."""
_LOW: Final = frozenset({Side.UNDER_VOLTAGE, Side.UNDER_FREQUENCY})
_MUST, _MAY, _CEASE = "MustTrip.", "MayTrip.", "MomCess."


def may_be_adopted(model_id: int, values: Mapping[str, Value]) -> bool:
    """Tell whether the plant can do what a set of curves says."""
    side = SIDES[model_id][0]
    found = [_levels(model_id, values, part) for part in (_MUST, _MAY, _CEASE)]
    must, may, cease = found
    if must is None or may is None or cease is None or len(cease) > 1:
        return False
    return 0 < len(must) <= LEVELS and _rides_through(side, must, may)


def take_over(settings: ServiceSettings, row: int, model_id: int, values: Mapping[str, Value]) -> None:
    """Let one unit of the plant trip and cease as a set of curves says."""
    side, _, scale = SIDES[model_id]
    must, cease = _levels(model_id, values, _MUST), _levels(model_id, values, _CEASE)
    assert must is not None
    assert cease is not None
    settings.set_trips(side, row, tuple((level * scale, after_s) for level, after_s in must))
    if side is Side.UNDER_VOLTAGE:
        level, after_s = cease[0] if cease else (-np.inf, np.inf)
        settings.mc_v_lo_pu[row], settings.mc_lo_after_s[row] = level * scale, after_s
    elif side is Side.OVER_VOLTAGE:
        level, after_s = cease[0] if cease else (np.inf, np.inf)
        settings.mc_v_hi_pu[row], settings.mc_hi_after_s[row] = level * scale, after_s


def _levels(model_id: int, values: Mapping[str, Value], part: str) -> Levels | None:
    """Read one curve as levels; None where it is none of steps, no levels where it has no points."""
    side, quantity, _ = SIDES[model_id]
    number = values.get(f"{part}ActPt") or 0
    points = [
        (_float(values[f"{part}Pt[{k}].{quantity}"]), _float(values[f"{part}Pt[{k}].Tms"])) for k in range(int(number))
    ]
    outward = 1.0 if side in _LOW else -1.0
    if points and points[0][1] > points[-1][1]:
        points.reverse()
    found: dict[float, float] = {}
    for (level, after_s), (next_level, next_s) in pairwise([*points[:1], *points]):
        if (level != next_level and after_s != next_s) or next_s < after_s or (next_level - level) * outward < 0:
            return None
        found.setdefault(next_level, next_s)
    return tuple(found.items())


def _rides_through(side: Side, must: Levels, may: Levels) -> bool:
    """Tell whether a unit trips at no level before it may."""
    outward = 1.0 if side in _LOW else -1.0

    def after_s(levels: Levels, at: float) -> float:
        return min((time_s for level, time_s in levels if (level - at) * outward >= 0), default=np.inf)

    return not may or all(after_s(must, level) >= after_s(may, level) for level, _ in must)


def _float(value: Value) -> float:
    return 0.0 if value is None or isinstance(value, str) else float(value)
