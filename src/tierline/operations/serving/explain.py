"""Why a DER should do what it does, by what this server knows: groups, programs, events, answers.

The event rules are those of `engine.following.schedule`: what was shown to the DER is gone through again in the order it
was shown. A server knows its own channel only; what another authority says to the DER is not known here, and the offsets
a DER drew are not either, so a randomized time is the scheduled one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from tierline.engine.access import Verb
from tierline.engine.arbitration import Claim, Ratings, arbitrate
from tierline.engine.following.schedule import Schedule, ScheduleRules
from tierline.engine.serving_status import latest_end, served_status
from tierline.model.control import CANCELLED, EventStatus
from tierline.model.functions import FUNCTIONS
from tierline.model.identity import ChannelId
from tierline.model.parties import Authority
from tierline.model.programs import Program
from tierline.operations.serving.access import require
from tierline.operations.serving.audit import lines_since
from tierline.operations.serving.registry import rating_w
from tierline.operations.serving.telemetry import TERMINAL
from tierline.operations.serving.wording import said, worded

if TYPE_CHECKING:
    from tierline.engine.arbitration import Entry
    from tierline.engine.lifecycle import EventState
    from tierline.model.control import Control
    from tierline.model.identity import DerId, GroupId, Lfdi, Mrid
    from tierline.model.parties import Principal
    from tierline.model.programs import ResponseStatus
    from tierline.model.records import ControlRecord, EndDeviceRecord, ReadingRecord
    from tierline.operations.serving.state import Served, Serving

_HERE = ChannelId("this server")

RECENT = timedelta(days=1)
"""How long an event that is over is still told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSince:
    """A group the DER belongs to."""

    group_id: GroupId
    name: str
    tier: str
    since: datetime
    cause: str
    """What brought it there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramNow:
    """A program the DER is assigned to, the strongest first."""

    mrid: Mrid
    group: str
    primacy: int
    default: dict[str, str]
    """In words, by function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """Who did something, and why."""

    verb: str
    principal: str
    party: str
    time: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the DER answered, and when by its own clock."""

    status: ResponseStatus
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EventNow:
    """An event of one of its programs."""

    mrid: Mrid
    group: str
    primacy: int
    status: EventStatus
    """As it is shown to the DER now."""
    start: datetime
    end: datetime
    randomized_s: int
    """By how much the DER may shift it, either way."""
    setpoints: dict[str, str]
    holds: tuple[str, ...]
    """The functions it commands at this DER now."""
    why: str
    """Why it holds them, or nothing."""
    acts: tuple[Issued, ...]
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionNow:
    """What should be in effect for one function."""

    function: str
    value: str
    source: str
    """`event` or `default`."""
    mrid: Mrid
    group: str
    until: datetime | None
    """Scheduled end; None for a default."""
    binding: bool | None
    """For limits and permissions: whether this one bounds; None for all others."""
    why: str
    confirmed: bool | None
    """Whether the DER said it started; None for a default, which is never answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All that a server can say about one DER at one moment."""

    device: EndDeviceRecord
    lfdi: Lfdi | None
    at: datetime
    last_seen: datetime | None
    groups: tuple[GroupSince, ...]
    programs: tuple[ProgramNow, ...]
    functions: tuple[FunctionNow, ...]
    events: tuple[EventNow, ...]
    readings: tuple[ReadingRecord, ...]


@dataclass(frozen=True, slots=True)
class _Rated:
    """What the rules made of the events, once they were gone through."""

    schedule: Schedule
    holding: dict[str, EventState]


def explain(principal: Principal, serving: Serving, device: EndDeviceRecord) -> Explanation:
    """Say what a DER should do now and why."""
    require(principal, Verb.READ, f"device {device.der_id}")
    der, now = device.der_id, serving.clock.now()
    programs = serving.programs_for(der)
    rated = _replayed(serving, der, programs, now)
    records = [
        (served, record)
        for served in programs
        for record in served.controls.values()
        if latest_end(record.control) + RECENT > now
    ]
    audit = _acts(serving, [record for _, record in records])
    events = tuple(
        _event(serving, der, served, record, rated, audit.get(record.mrid, ()), now)
        for served, record in sorted(records, key=lambda pair: pair[1].control.interval.start)
    )
    return Explanation(
        device=device,
        lfdi=serving.lfdi_of.get(der),
        at=now,
        last_seen=seen_at(serving, der),
        groups=_groups(serving, der),
        programs=tuple(_program(serving, served) for served in programs),
        functions=_functions(serving, device, programs, rated),
        events=events,
        readings=tuple(record for key, record in sorted(serving.latest.items()) if key[0] == der),
    )


def seen_at(serving: Serving, der: DerId) -> datetime | None:
    """Give when a DER last called since this node started, itself or by those who pass its assignments on."""
    callers = [der, *(peer for party in serving.standing.shown_to(der) for peer in serving.standing.peers(party))]
    at = max((serving.last_seen[caller] for caller in callers if caller in serving.last_seen), default=None)
    return None if at is None else datetime.fromtimestamp(at, UTC)


def acts_on(serving: Serving, record: ControlRecord) -> tuple[Issued, ...]:
    """Give who created and who cancelled a control, and why."""
    return _acts(serving, [record]).get(record.mrid, ())


def _acts(serving: Serving, records: list[ControlRecord]) -> dict[Mrid, tuple[Issued, ...]]:
    if not records:
        return {}
    # The creationTime of a derived control may run ahead of the clock.
    since = min(min(record.control.creation_time, record.control.interval.start) for record in records)
    mrid_of = {f"control {record.mrid}": record.mrid for record in records}
    wanted = frozenset(mrid_of.values())
    found: dict[Mrid, tuple[Issued, ...]] = {}
    for line in lines_since(serving.store, since):
        mrid = mrid_of.get(line.resource)
        is_of_fleet = line.resource.startswith("fleet ")
        if mrid is None and not is_of_fleet:
            continue
        detail = json.loads(line.detail)
        reason = f"derived from {detail['parent']}" if "parent" in detail else str(detail.get("reason", ""))
        act = Issued(verb=line.verb, principal=line.principal, party=line.party, time=line.time, reason=reason)
        for one in _named(detail) & wanted if is_of_fleet else (mrid_of[line.resource],):
            found[one] = (*found.get(one, ()), act)
    return found


def _named(detail: dict[str, list[Mrid]]) -> frozenset[Mrid]:
    """Give the controls that an act of a fleet made or let go."""
    return frozenset((*detail.get("derived", ()), *detail.get("controls", ())))


def _replayed(serving: Serving, der: DerId, programs: list[Served], now: datetime) -> _Rated:
    """Show the events to the rules at every instant at which what is shown changed, up to now."""
    since = {served.record.mrid: _assigned_at(serving, der, served) for served in programs}
    controls = [record.control for served in programs for record in served.controls.values()]
    instants = {now, *since.values(), *(control.creation_time for control in controls)}
    instants |= {
        control.status_time for control in controls if control.status in CANCELLED and control.status_time is not None
    }
    device = serving.devices[der]
    rules = ScheduleRules(supported=frozenset(FUNCTIONS), device_category=device.device_category)
    schedule = Schedule(rules, draw=lambda _low, _high: 0)
    for instant in sorted(instant for instant in instants if instant <= now):
        schedule.see([_shown(served, instant) for served in programs if since[served.record.mrid] <= instant], instant)
    return _Rated(schedule, schedule.in_effect(now))


def _assigned_at(serving: Serving, der: DerId, served: Served) -> datetime:
    return serving.memberships[der, served.record.group_id].membership.valid_from


def _shown(served: Served, instant: datetime) -> Program:
    """Give a program as it was shown at an instant."""
    controls = (record.control for record in served.controls.values())
    return Program(
        mrid=served.record.mrid,
        primacy=served.record.primacy,
        controls=tuple(_then(control, instant) for control in controls if control.creation_time <= instant),
        default=None if served.default is None else served.default.default,
    )


def _then(control: Control, instant: datetime) -> Control:
    is_later = control.status_time is not None and control.status_time > instant
    if control.status in CANCELLED and is_later:
        return replace(control, status=EventStatus.SCHEDULED)
    return control


def _functions(
    serving: Serving, device: EndDeviceRecord, programs: list[Served], rated: _Rated
) -> tuple[FunctionNow, ...]:
    group_of = {served.record.mrid: _group_name(serving, served) for served in programs}
    claims: dict[tuple[str, Mrid], tuple[Claim, str, datetime | None]] = {}
    for name, event in rated.holding.items():
        claim = Claim(
            function=name,
            value=event.control.setpoints[name],
            channel=_HERE,
            mrid=event.mrid,
            authority=Authority.UTILITY,
            rank=0,
            primacy=event.primacy,
            creation_time=event.control.creation_time,
        )
        claims[name, event.mrid] = (claim, group_of[event.program], event.ends_at)
    for served in programs:
        for name, value in () if served.default is None else served.default.default.setpoints.items():
            if served.default is None or any(function == name for function, _ in claims):
                continue  # an event holds it, or the default of a stronger program (docs/rules.md E20)
            mrid = served.default.default.mrid
            claim = Claim(
                function=name,
                value=value,
                channel=_HERE,
                mrid=mrid,
                authority=Authority.DEFAULT,
                rank=0,
                primacy=served.record.primacy,
                is_event=False,
                program=served.record.mrid,
            )
            claims[name, mrid] = (claim, group_of[served.record.mrid], None)
    rating = Decimal(str(rating_w(serving, device))) or Decimal(1)
    merged = arbitrate(
        (claim for claim, _, _ in claims.values()),
        ratings=Ratings(set_max_w=rating),
        supported=frozenset(FUNCTIONS),
    )
    return tuple(
        _function(serving, device.der_id, entry, *claims[entry.function, entry.mrid][1:])
        for entry in merged.explanation
    )


def _function(serving: Serving, der: DerId, entry: Entry, group: str, until: datetime | None) -> FunctionNow:
    answers = {status for status, _ in _answers(serving, der, entry.mrid)}
    return FunctionNow(
        function=entry.function,
        value=said(entry.value),
        source="event" if entry.is_event else "default",
        mrid=entry.mrid,
        group=group,
        until=until,
        binding=entry.binding,
        why=entry.reason,
        confirmed=(2 in answers and not answers & TERMINAL) if entry.is_event else None,
    )


def _event(
    serving: Serving,
    der: DerId,
    served: Served,
    record: ControlRecord,
    rated: _Rated,
    acts: tuple[Issued, ...],
    now: datetime,
) -> EventNow:
    control = record.control
    status = served_status(control, [other.control for other in served.controls.values()], now)
    holds = tuple(sorted(name for name, event in rated.holding.items() if event.mrid == record.mrid))
    return EventNow(
        mrid=record.mrid,
        group=_group_name(serving, served),
        primacy=served.record.primacy,
        status=status,
        start=control.interval.start,
        end=control.interval.end,
        randomized_s=max(abs(control.randomize_start_s), abs(control.randomize_duration_s)),
        setpoints=worded(control.setpoints),
        holds=holds,
        why=_why(control, rated, holds, now),
        acts=acts,
        answers=tuple(Answer(status=answer, at=at) for answer, at in _answers(serving, der, record.mrid)),
    )


def _why(control: Control, rated: _Rated, holds: tuple[str, ...], now: datetime) -> str:
    state = rated.schedule.events.get(control.mrid)
    if control.status in CANCELLED and not holds:
        return "it was cancelled"
    if state is None:
        return "it is for DERs of another category"
    if state.taken_by is not None:
        return f"event {state.taken_by} took its place"
    if holds:
        lost = sorted(set(control.setpoints) - set(holds))
        return "it ranks first" + (f", but not for {', '.join(lost)}" if lost else "")
    if latest_end(control) <= now:
        return "it is over"
    if control.interval.start > now:
        return f"it begins in {timedelta(seconds=round((control.interval.start - now).total_seconds()))}"
    return "it does not hold any function now"


def _answers(serving: Serving, der: DerId, mrid: Mrid) -> list[tuple[ResponseStatus, datetime]]:
    given = serving.responses_of.get(der, {})
    found = [(status, record.created_at) for (subject, status), record in given.items() if subject == mrid]
    return sorted(found, key=lambda answer: (answer[1], answer[0]))


def _groups(serving: Serving, der: DerId) -> tuple[GroupSince, ...]:
    found = []
    for group_id in serving.groups_of.get(der, ()):
        record = serving.memberships[der, group_id]
        group = serving.groups[group_id].group
        found.append(
            GroupSince(
                group_id=group_id,
                name=group.name,
                tier=group.tier.value,
                since=record.membership.valid_from,
                cause=record.cause,
            )
        )
    return tuple(sorted(found, key=lambda group: (group.tier, group.name)))


def _program(serving: Serving, served: Served) -> ProgramNow:
    return ProgramNow(
        mrid=served.record.mrid,
        group=_group_name(serving, served),
        primacy=served.record.primacy,
        default={} if served.default is None else worded(served.default.default.setpoints),
    )


def _group_name(serving: Serving, served: Served) -> str:
    return serving.groups[served.record.group_id].group.name
