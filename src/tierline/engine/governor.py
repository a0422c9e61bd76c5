"""How much may be moved at once: limits to what one mistake or one stolen key can do.

A `Cap` bounds what is granted within any window of its length, to one principal or to all together. A ramp is a cap with a
short window. Windows slide, so no sequence of requests gets more through than one request could.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from tierline.engine.verdict import ALLOW, Deny, Verdict
from tierline.model.identity import DerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """A bound on what is granted within one window."""

    name: str
    """As the configuration calls it, for the message."""
    window: timedelta
    power_w: Decimal | None = None
    """The most power that may be moved, summed over all requests; None: no bound."""
    devices: int | None = None
    """The most DERs that may be reached, each counted once; None: no bound."""
    per_principal: bool = True
    """Whether each principal has this much to itself; False: all share it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody wants to move."""

    principal: str
    at: datetime
    power_w: Decimal
    """How much active power changes at most, up or down alike; not negative."""
    devices: frozenset[DerId]


Budget = tuple[Cap, ...]
"""All caps hold at once."""


def check(budget: Budget, history: Iterable[Request], request: Request) -> Verdict:
    """Say whether a request may be granted after those that were.

    Raises: ValueError when it asks for a negative power.
    """
    if request.power_w < 0:
        raise ValueError(f"a request moves at least 0 W, not {request.power_w} W")
    granted = tuple(history)
    verdicts = (_check(cap, granted, request) for cap in budget)
    return next((verdict for verdict in verdicts if verdict != ALLOW), ALLOW)


def horizon(budget: Budget) -> timedelta:
    """Say how long what was granted must be remembered."""
    return max((cap.window for cap in budget), default=timedelta())


def _check(cap: Cap, granted: Iterable[Request], request: Request) -> Verdict:
    within = [
        past
        for past in granted
        if past.at > request.at - cap.window and (not cap.per_principal or past.principal == request.principal)
    ]
    whose = request.principal if cap.per_principal else "all together"
    power_w = sum((past.power_w for past in within), request.power_w)
    if cap.power_w is not None and power_w > cap.power_w:
        return Deny(f"{cap.name}: {power_w} W within {cap.window} for {whose}, at most {cap.power_w} W are allowed")
    devices = len(request.devices.union(*(past.devices for past in within)))
    if cap.devices is not None and devices > cap.devices:
        return Deny(f"{cap.name}: {devices} DERs within {cap.window} for {whose}, at most {cap.devices} are allowed")
    return ALLOW
