"""How much generation a control can take away, by the ratings of the grid."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tierline.model.functions import FUNCTIONS, Bound, Unit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tierline.model.control import Setpoints, Value
    from tierline.operations.serving.state import Serving


def ratings_w(serving: Serving) -> dict[str, Decimal]:
    """Give the rating of every service point of the grid. Units: W."""
    return {} if serving.grid is None else {point.id: point.p_w for point in serving.grid.service_points}


def relief_w(setpoints: Setpoints, ratings: Iterable[Decimal]) -> Decimal | None:
    """Say how much less than their ratings the members may generate; of several limits the tightest counts."""
    limits = {name: value for name, value in setpoints.items() if _limits_generation(name, value)}
    if not limits:
        return None
    return sum(
        (rated - min(_left_w(name, value, rated) for name, value in limits.items()) for rated in ratings), Decimal(0)
    )


def _limits_generation(name: str, value: Value) -> bool:
    row = FUNCTIONS[name]
    if name in {"connect", "energize"}:
        return value is False
    return row.bound is Bound.MAX_GENERATION or name in {"fixed_w_pct", "target_w"}


def _left_w(name: str, value: Value, rated: Decimal) -> Decimal:
    """Give what a DER may still generate; what it is told to absorb counts as nothing generated."""
    if not isinstance(value, Decimal):
        return Decimal(0)
    watts = value if FUNCTIONS[name].unit is Unit.W else value * rated / 100
    return min(rated, max(Decimal(0), watts))
