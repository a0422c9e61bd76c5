"""What a server says of an event: its status now and how long it stays in its list (docs/rules.md S1 to S4)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tierline.model.control import CANCELLED, ENDED_EARLY, Control, EventStatus

LINGER = timedelta(seconds=10)
"""A client's clock may lag by the resolution of Time; an event that left its list at once would look cancelled (S4)."""


def earliest_start(control: Control) -> datetime:
    """Give the earliest effective start that randomization allows."""
    return control.interval.start + timedelta(seconds=min(0, control.randomize_start_s))


def latest_end(control: Control) -> datetime:
    """Give the latest effective end that randomization allows."""
    slack = max(0, control.randomize_start_s) + max(0, control.randomize_duration_s)
    return control.interval.end + timedelta(seconds=slack)


def is_over(control: Control, now: datetime) -> bool:
    """Say whether nobody has an event before him any more: it was cancelled, or has ended whatever was drawn for it."""
    return control.status in CANCELLED or latest_end(control) <= now


def listed_until(control: Control) -> datetime:
    """Give the first instant at which the event is no longer in its list (S4)."""
    return latest_end(control) + LINGER


def served_status(control: Control, siblings: Iterable[Control], now: datetime) -> EventStatus:
    """Say what the server shows; `siblings` are the events of the same program, the event itself may be among them."""
    if control.status in ENDED_EARLY:
        return control.status  # what was superseded above a relay stays so
    if any(earliest_start(other) <= now for other in siblings if supersedes(other, control)):
        return EventStatus.SUPERSEDED
    return EventStatus.SCHEDULED if now < earliest_start(control) else EventStatus.ACTIVE


def next_boundary(controls: Iterable[Control], now: datetime) -> datetime | None:
    """Give the next instant at which a status changes or an event leaves its list; None when nothing will."""
    times = [time for control in controls for time in (earliest_start(control), listed_until(control))]
    return min((time for time in times if time > now), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedByTime:
    """When time alone last changed what the lists of a program say, within a span; None when it did not."""

    listed: datetime | None
    """Of the list of all events: one became active, or left it."""
    active: datetime | None
    """Of the list of those that are active."""


def changed_by_time(controls: Iterable[Control], after: datetime, until: datetime) -> ChangedByTime:
    """Say what time alone changed after an instant and up to another; `controls` are the events of one program.

    Nothing that changed is left out; the beginning of an event that is superseded already is said too, although it shows nothing.
    """
    listed: list[datetime] = []
    active: list[datetime] = []
    for control in controls:
        begins, leaves = earliest_start(control), listed_until(control)
        if after < begins <= until and not _cancelled_before_start(control):
            listed.append(begins)
            active.append(begins)
        if after < leaves <= until:
            listed.append(leaves)
            if control.status not in ENDED_EARLY:
                active.append(leaves)
    return ChangedByTime(listed=max(listed, default=None), active=max(active, default=None))


def supersedes(other: Control, control: Control) -> bool:
    """Say whether an event of the same program takes all of another's place (S3, E12)."""
    return (
        other.mrid != control.mrid
        and not _cancelled_before_start(other)
        and (other.creation_time, other.mrid) > (control.creation_time, control.mrid)
        and frozenset(other.setpoints) == frozenset(control.setpoints)
        and other.device_category == control.device_category
        and max(other.interval.start, control.interval.start) < min(other.interval.end, control.interval.end)
    )


def _cancelled_before_start(control: Control) -> bool:
    """Say whether an event took nothing: what it took once is never given back (E13)."""
    if control.status not in CANCELLED:
        return False
    return control.status_time is None or control.status_time < earliest_start(control)
