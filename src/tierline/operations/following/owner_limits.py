"""What the owner of a device says at its node: limits for a time, kept as the one program of a channel of their own.

The node is the server of that channel (docs/rules.md A10): it gives the events their names, keeps the program with the last
walk of the channel, and lists an event as long as any server must (S2, S4). Everything here makes a new program from the old.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from tierline.engine.following.obey import LIMITS
from tierline.engine.serving_status import latest_end, listed_until
from tierline.model.capability import ANYTHING
from tierline.model.control import CANCELLED, Control, EventStatus, Interval
from tierline.model.errors import ConfigError, Conflict, Unsupported
from tierline.model.identity import mrid
from tierline.model.programs import Program
from tierline.model.validity import fault_of

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from tierline.model.capability import Capability
    from tierline.model.control import Setpoints
    from tierline.model.identity import DerId, Mrid, PartyId
    from tierline.model.programs import ProgramsSeen

LISTED_MAX = 200
"""Limits that are not over, at once: the program is written down as a whole whenever one is added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOrder:
    """What the owner asks for."""

    setpoints: Setpoints
    start: datetime
    duration_s: int


def check_limit(
    order: LimitOrder, now: datetime, supported: Collection[str], capability: Capability = ANYTHING
) -> None:
    """Check what the owner asks for before anything is done.

    Raises: ConfigError saying what to change; Unsupported when the device does not carry it out or does not keep the value.
    """
    can = sorted(LIMITS.intersection(supported))
    if not order.setpoints:
        raise ConfigError(f"no limit is given; give one of {', '.join(can)}")
    for name, value in order.setpoints.items():
        if name not in LIMITS:
            raise ConfigError(f"{name!r} is no limit; use {', '.join(can)}")
        if name not in can:
            raise Unsupported(f"this device does not carry out {name}; it carries out {', '.join(can) or 'no limit'}")
        if fault := fault_of(name, value):
            raise ConfigError(fault)
        if lack := capability.why_not(name, value):
            raise Unsupported(lack)
    if order.duration_s < 1:
        raise ConfigError(
            f"a limit lasts at least one second, not {order.duration_s}; what always holds is [follow] owner_limits"
        )
    try:
        end = order.start + timedelta(seconds=order.duration_s)
    except OverflowError as error:
        raise ConfigError(f"a limit of {order.duration_s} s would end beyond the year 9999; end it sooner") from error
    if end <= now:
        raise ConfigError(
            f"the limit would end at {end:%Y-%m-%d %H:%M:%S} UTC, which is over (it is {now:%Y-%m-%d %H:%M:%S} UTC)"
        )


def program_of(seen: ProgramsSeen | None, party: PartyId, der_id: DerId, pen: int) -> Program:
    """Give the program of a device's owner: as it was last read, else empty; its name is the same after every restart."""
    if seen is not None and seen.programs:
        return seen.programs[0]
    digest = hashlib.sha256(f"{party}/{der_id}/owner".encode()).digest()
    name = mrid(int.from_bytes(digest[:12], "big"), pen)
    return Program(mrid=name, primacy=0, description="what the owner says at the device")


def with_limit(program: Program, order: LimitOrder, name: Mrid, now: datetime) -> Program:
    """Add a limit; of two that overlap the newer supersedes, as in any program (E12, E14).

    Raises: Conflict when there are too many.
    """
    listed = _listed(program, now)
    if len(listed) >= LISTED_MAX:
        raise Conflict(f"{len(listed)} limits are not over yet; cancel some of them first")
    control = Control(
        mrid=name,
        creation_time=now,  # to the microsecond: no protocol carries it, and the newer one must be
        interval=Interval(start=order.start.replace(microsecond=0), duration_s=order.duration_s),
        setpoints=order.setpoints,
        status_time=now,
    )
    return replace(program, controls=(*listed, control))


def without_limit(program: Program, name: Mrid, now: datetime) -> Program:
    """Cancel a limit; it stays listed as cancelled until it would have ended.

    Raises: Conflict when it is not known, cancelled or over.
    """
    found = next((control for control in program.controls if control.mrid == name), None)
    if found is None:
        raise Conflict(f"limit {name} is over, or none of the owner's; `tierline owner list` shows those there are")
    if found.status in CANCELLED:
        raise Conflict(f"limit {name} is cancelled already")
    if latest_end(found) <= now:
        raise Conflict(f"limit {name} ended at {latest_end(found):%Y-%m-%d %H:%M:%S} UTC")
    cancelled = replace(found, status=EventStatus.CANCELLED, status_time=now)
    return replace(program, controls=tuple(cancelled if one is found else one for one in _listed(program, now)))


def _listed(program: Program, now: datetime) -> tuple[Control, ...]:
    return tuple(control for control in program.controls if listed_until(control) > now)
