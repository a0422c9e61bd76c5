"""Telemetry on its way up: one figure for a group, which says how much of it was measured.

A member without a fresh reading is estimated where the caller knows how, and else counted as missing; it is never taken for
zero. A figure made of fewer members than the cell size shows no value.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from tierline.model.identity import DerId
from tierline.model.telemetry import PointName, Quality, Reading

Estimate = Callable[[DerId], float | None]
"""Gives the value of a member that was not measured, None when nobody can tell."""


def _nobody_can_tell(_: DerId) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One point, over one group, at one moment."""

    point: PointName
    time: datetime
    members: int
    measured: int
    estimated: int
    missing: int
    suppressed: bool
    """Whether the values are withheld because too few members stand behind them."""
    total: float | None
    """Sum over the members measured or estimated; None when there are none, or suppressed."""
    mean: float | None
    low: float | None
    high: float | None
    oldest: datetime | None
    """Time of the oldest reading used."""

    @property
    def is_complete(self) -> bool:
        """Whether every member was measured."""
        return self.measured == self.members


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """Which readings count."""

    max_age: timedelta
    """Older ones are as good as none."""
    min_cell: int = 1
    """The smallest number of members a figure may be made of."""


def roll_up(
    point: PointName,
    members: Iterable[DerId],
    latest: Mapping[DerId, Reading],
    now: datetime,
    freshness: Freshness,
    estimate: Estimate = _nobody_can_tell,
) -> Figure:
    """Make one figure of the latest readings of one point."""
    group = frozenset(members)
    fresh = {
        der: reading
        for der, reading in latest.items()
        if der in group and _is_usable(reading, point, now - freshness.max_age)
    }
    guessed = {der: value for der in group - fresh.keys() if (value := estimate(der)) is not None}
    values = [float(reading.scaled) for reading in fresh.values()] + list(guessed.values())
    suppressed = 0 < len(values) < freshness.min_cell
    shown = [] if suppressed else values
    total = math.fsum(shown) if shown else None  # exact, so it does not depend on the order
    return Figure(
        point=point,
        time=now,
        members=len(group),
        measured=len(fresh),
        estimated=len(guessed),
        missing=len(group) - len(fresh) - len(guessed),
        suppressed=suppressed,
        total=total,
        mean=None if total is None else total / len(shown),
        low=min(shown, default=None),
        high=max(shown, default=None),
        oldest=min((reading.time for reading in fresh.values()), default=None),
    )


def _is_usable(reading: Reading, point: PointName, since: datetime) -> bool:
    end = reading.time + timedelta(seconds=reading.duration_s)
    return reading.point == point and end >= since and Quality.QUESTIONABLE not in reading.quality
