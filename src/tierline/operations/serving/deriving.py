"""Controls that are derived from those of a level above: made, renewed, superseded and cancelled as their parents want.

Two rules. A derived control keeps the first 64 bits of its parent's mRID, so that one event can be followed from the market
to the register. And it never outlives its parent as far as its end is known; where it is not, its own end is near and is
put off again and again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING

from tierline.engine.serving_status import latest_end, served_status
from tierline.model.control import ENDED_EARLY, Control, EventStatus, Interval, Provenance
from tierline.model.identity import Mrid
from tierline.model.records import ControlRecord

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from tierline.model.control import Setpoints
    from tierline.model.identity import ChannelId, PartyId
    from tierline.model.records import Record
    from tierline.operations.serving.state import Served, Serving

_SECOND = timedelta(seconds=1)
_PARENT_DIGITS = 16
"""Hexadecimal digits of an mRID that a derived control shares with its parent: 64 bits (docs/decisions/0014)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What one program shall hold because of one parent."""

    program: Mrid
    setpoints: Setpoints
    parent: Mrid
    """The event or default above; empty for what is this node's own wish."""
    party: PartyId
    channel: ChannelId
    until: datetime | None
    """When the parent ends; None when that is not known."""
    not_after: datetime | None = None
    """When it must have ended, whatever the parent says: what was granted ends then."""
    starts_at: datetime | None = None
    """When it begins; None: now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long a control of unknown end lasts, and how long before its end the next one must be there."""

    hold: timedelta
    margin: timedelta

    @classmethod
    def of_poll(cls, poll: timedelta) -> Pace:
        """Give the pace for members that come once in `poll`: they see the next control before the last one ends."""
        return cls(hold=max(timedelta(minutes=15), 2 * poll + timedelta(minutes=5)), margin=poll + timedelta(minutes=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """What has to be written so that the wishes hold."""

    made: tuple[ControlRecord, ...] = ()
    cancelled: tuple[ControlRecord, ...] = ()

    @property
    def records(self) -> tuple[ControlRecord, ...]:
        """All of it."""
        return (*self.cancelled, *self.made)


def is_derived_from(mrid: Mrid, parent: Mrid) -> bool:
    """Tell by its mRID whether a control may come from an event."""
    return mrid[:_PARENT_DIGITS] == parent[:_PARENT_DIGITS]


def live_controls(served: Served, now: datetime) -> list[ControlRecord]:
    """Give the derived controls of a program that are shown as scheduled or active."""
    siblings = [record.control for record in served.controls.values() if latest_end(record.control) > now]
    return [
        served.controls[control.mrid]
        for control in siblings
        if control.provenance is not None
        and control.provenance.derived_from is not None
        and served_status(control, siblings, now) not in ENDED_EARLY
    ]


def derive(serving: Serving, programs: Iterable[Mrid], wishes: Iterable[Wish], now: datetime, pace: Pace) -> Derived:
    """Say what must change so that of these programs exactly the wishes hold; what holds already is left alone."""
    by_program: dict[Mrid, list[Wish]] = {mrid: [] for mrid in programs}
    for wish in wishes:
        by_program[wish.program].append(wish)
    made: list[ControlRecord] = []
    cancelled: list[ControlRecord] = []
    taken: set[Mrid] = set()
    for mrid, wanted in by_program.items():
        served = serving.programs[mrid]
        live = live_controls(served, now)
        new = []
        for wish in wanted:
            held = next((record for record in live if _holds(record.control, wish, now, pace)), None)
            if held is not None:
                live.remove(held)
            elif _is_wanted(wish, now):
                new.append(_made(serving, served, wish, now, pace, taken))
        made += new
        replaced = {frozenset(record.control.setpoints) for record in new if record.control.interval.start <= now}
        # What a newer control for the same functions takes the place of is superseded by it, not cancelled.
        cancelled += [_cancelled(record, now) for record in live if frozenset(record.control.setpoints) not in replaced]
    return Derived(made=tuple(made), cancelled=tuple(cancelled))


def outlived(serving: Serving, programs: Iterable[Mrid], before: datetime, *, limit: int = 500) -> list[Record]:
    """Give derived controls of some programs that ended before a time, with what was answered to them.

    They are many, and the audit tells of each: nobody needs them for as long as what people ordered.
    """
    old = (
        record
        for mrid in programs
        for record in serving.programs[mrid].controls.values()
        if latest_end(record.control) < before
    )
    found: list[Record] = []
    for record in islice(old, limit):
        found += [record, *serving.responses.get(record.mrid, {}).values()]
    return found


def _holds(control: Control, wish: Wish, now: datetime, pace: Pace) -> bool:
    provenance = control.provenance
    assert provenance is not None  # `live_controls` has looked
    if provenance.derived_from != wish.parent or control.setpoints != wish.setpoints:
        return False
    end, last = control.interval.end, _last(wish)
    if wish.until is None:
        return end - now > pace.margin or (last is not None and end >= last - _SECOND)
    # A parent that is over is about to be let go: nothing is made anew for it.
    return wish.until <= now or last is None or abs(end - last) <= _SECOND


def _is_wanted(wish: Wish, now: datetime) -> bool:
    last = _last(wish)
    return last is None or last > now


def _last(wish: Wish) -> datetime | None:
    """Give the instant at which it must be over."""
    return min((time for time in (wish.until, wish.not_after) if time is not None), default=None)


def _made(serving: Serving, served: Served, wish: Wish, now: datetime, pace: Pace, taken: set[Mrid]) -> ControlRecord:
    start = (now if wish.starts_at is None else max(now, wish.starts_at)).replace(microsecond=0)
    last = _last(wish)
    end = start + pace.hold if wish.until is None else wish.until
    end = end if last is None else min(end, last)
    # The newest creationTime supersedes, so no two of a program have the same.
    created = now.replace(microsecond=0)
    newest = max((record.control.creation_time for record in served.controls.values()), default=created - _SECOND)
    control = Control(
        mrid=_new_mrid(serving, wish.parent, taken),
        creation_time=max(created, newest + _SECOND),
        interval=Interval(start=start, duration_s=max(1, (end - start) // _SECOND)),
        setpoints=wish.setpoints,
        status_time=created,
        provenance=Provenance(party=wish.party, channel=wish.channel, received_at=now, derived_from=wish.parent),
    )
    return ControlRecord(
        party=serving.party, mrid=control.mrid, program=served.record.mrid, control=control, changed_at=now
    )


def _new_mrid(serving: Serving, parent: Mrid, taken: set[Mrid]) -> Mrid:
    head = parent[:_PARENT_DIGITS] or f"{serving.random.bits(64):016X}"
    while True:
        drawn = Mrid(f"{head}{serving.random.bits(32):08X}{serving.pen:08X}")
        if drawn not in serving.program_of_control and drawn not in taken:
            taken.add(drawn)
            return drawn


def _cancelled(record: ControlRecord, now: datetime) -> ControlRecord:
    control = replace(record.control, status=EventStatus.CANCELLED, status_time=now.replace(microsecond=0))
    return replace(record, control=control, changed_at=now)
