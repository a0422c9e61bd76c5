"""What a total means in the units of members, and what is to be thought of a sum: plain arithmetic of a fleet."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from tierline.engine.disaggregate import Share
from tierline.model.telemetry import Quality

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tierline.engine.rollup import Figure
    from tierline.model.control import FunctionName, Setpoints, Value
    from tierline.model.identity import DerId
    from tierline.operations.serving.members import Member

_ZERO, _HUNDRED = Decimal(0), Decimal(100)
_PERCENT = Decimal("0.01")
"""Source: IEEE 2030.5-2018, PerCent: hundredths of a percent."""
_INT16_MAX = 32_767
"""Source: IEEE 2030.5-2018, ActivePower.value."""


def set_w(target: Setpoints, members: Iterable[Member]) -> Decimal | None:
    """Give the active power the members are to have together; None when it is not set."""
    for name in ("target_w", "fixed_w_pct"):
        value = target.get(name)
        if isinstance(value, Decimal):
            return value if name == "target_w" else _of_ratings(value, members)
    return None


def moved_w(name: FunctionName, value: Value, members: Iterable[Member]) -> Decimal:
    """Say how much active power a value may move against what is now, at most.

    A member that was not measured may do anything between nothing and what it is rated for.
    """
    known = list(members)
    least = sum((_ZERO if one.measured_w is None else one.measured_w for one in known), _ZERO)
    most = sum((one.rating_w if one.measured_w is None else one.measured_w for one in known), _ZERO)
    match name, value:
        case "target_w", Decimal():
            return max(abs(value - least), abs(value - most))
        case "fixed_w_pct", Decimal():
            total = _of_ratings(value, known)
            return max(abs(total - least), abs(total - most))
        case "gen_lim_w", Decimal():
            return max(_ZERO, most - value)
        case "max_lim_w_pct", Decimal():
            return sum((max(_ZERO, _most_w(one) - value * one.rating_w / _HUNDRED) for one in known), _ZERO)
        case "connect" | "energize", False:
            return max(abs(least), abs(most))
        case _:
            return _ZERO


def set_to(member: Member, watts: Decimal) -> tuple[FunctionName, Decimal]:
    """Say by which function and value a member is told its share: in watts where it can."""
    functions = member.functions
    if functions is None or "target_w" in functions:
        return "target_w", watts
    if "fixed_w_pct" in functions:
        return "fixed_w_pct", percent(watts, member.absorb_w if watts < 0 else member.rating_w)
    return "max_lim_w_pct", percent(watts, member.rating_w)


def percent(watts: Decimal, rating_w: Decimal) -> Decimal:
    """Give a power in percent of a rating, rounded towards zero."""
    return _ZERO if not rating_w else (watts * _HUNDRED / rating_w).quantize(_PERCENT, rounding=ROUND_DOWN)


def by_rating(member: Member) -> Share:
    """Give what sharing out a limit needs of a member: what it may do, not what it could do just now."""
    return Share(der_id=member.der_id, rating_w=member.rating_w, price=member.price, measured_w=member.measured_w)


def resolution_w(members: Iterable[Member]) -> Decimal:
    """Give the step in which every share can be carried without loss, as an integer of 16 bits and a power of ten."""
    most = max((max(member.rating_w, member.absorb_w) for member in members), default=_ZERO)
    step = Decimal(1)
    while most > _INT16_MAX * step:
        step *= 10
    return step


def quality(figure: Figure) -> Quality:
    """Say what is to be thought of a sum: derived, estimated in part, or in question when too little was measured."""
    if figure.missing or 2 * figure.measured < figure.members:
        return Quality.DERIVED | Quality.QUESTIONABLE
    if figure.estimated:
        return Quality.VALID | Quality.DERIVED | Quality.ESTIMATED_LINEAR
    return Quality.VALID | Quality.DERIVED


def estimates_w(members: Iterable[Member], told: Mapping[DerId, Decimal] | None) -> dict[DerId, float]:
    """Guess what those do who were not measured: what they were told, or what the others do for their rating."""
    if told is not None:
        return {der_id: float(watts) for der_id, watts in told.items()}
    known = list(members)
    measured = [(one.measured_w, one.rating_w) for one in known if one.measured_w is not None]
    rated_w = sum((rating for _, rating in measured), _ZERO)
    if not rated_w:
        return {}
    use = float(sum((watts for watts, _ in measured), _ZERO) / rated_w)
    return {one.der_id: use * float(one.rating_w) for one in known}


def _of_ratings(value_pct: Decimal, members: Iterable[Member]) -> Decimal:
    """Give the watts of a percentage. Source: IEEE 2030.5-2018, opModFixedW: of setMaxChargeRateW when negative."""
    rated = (member.absorb_w if value_pct < 0 else member.rating_w for member in members)
    return value_pct * sum(rated, _ZERO) / _HUNDRED


def _most_w(member: Member) -> Decimal:
    return member.rating_w if member.measured_w is None else member.measured_w
