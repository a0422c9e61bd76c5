"""All events of one channel at one DER: what a walk brings, who takes a mode from whom, and what holds now.

The order at one instant is that of docs/rules.md E22: what a walk brings, then losses, then ends, repeated until nothing
changes; starts are confirmed from outside by `confirm`, once the values were read back. Instants that were slept through
are gone through one by one, so a late call gives the same as a punctual one.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tierline.engine.following.holding import by_mode
from tierline.engine.lifecycle import (
    Cause,
    Draw,
    EventState,
    Fate,
    State,
    cancel_with_randomization,
    first_sight,
    in_rank_order,
    is_similar,
    move,
    ranks_before,
)
from tierline.model.capability import ANYTHING, Capability
from tierline.model.control import Control, EventStatus, FunctionName
from tierline.model.identity import Mrid
from tierline.model.programs import Program, ResponseStatus

FORGET_AFTER = timedelta(days=1)
"""How long a terminal event is remembered after its effective end, at least, and as long as it is listed: while it is
known it is never answered twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRules:
    """What one channel's events are judged by at one DER."""

    supported: frozenset[FunctionName]
    """What the DER carries out (E5)."""
    carries_ramp_time: bool = False
    """Whether the DER keeps to a ramp time; an event that has one is rejected otherwise (E5)."""
    capability: Capability = ANYTHING
    """Which values of what it carries out the DER keeps (E5)."""
    of_record: bool = True
    """False: the DER obeys another channel alone, and this one's events are answered 13 (A1)."""
    always_7: bool = False
    """Answer every supersession with 7 (E18)."""
    device_category: int = 0
    """DeviceCategoryType bitmap of the DER; events for other categories are not for it. 0: unknown, all are."""


class Schedule:
    """The events of one channel at one DER."""

    def __init__(self, rules: ScheduleRules, draw: Draw) -> None:
        self.rules = rules
        """What first sights are judged by; may be replaced."""
        self.events: dict[Mrid, EventState] = {}
        """All that are remembered, terminal ones included."""
        self.programs: tuple[Program, ...] = ()
        """Those of the last walk, each once, the first-ranked first (E8)."""
        self._draw = draw
        self._time: datetime | None = None
        self._changed: dict[Mrid, None] = {}
        self._answers: list[tuple[Mrid, ResponseStatus]] = []
        self._forgotten: list[EventState] = []

    def restore(self, events: Iterable[EventState], programs: Iterable[Program], seen_at: datetime | None) -> None:
        """Take up what was kept; the instants since the last first sight are then gone through again."""
        self.events = {event.mrid: event for event in events}
        self.programs = in_program_order(programs)
        known = [event.known_at for event in self.events.values()]
        self._time = max(known if seen_at is None else [*known, seen_at], default=None)

    def see(self, programs: Iterable[Program], now: datetime) -> None:
        """Take in one complete walk (E6 to E10, E19), then settle this instant."""
        self._pass_instants(now)
        self._lapse(now)  # a program that is assigned again at the effective end comes too late (E9)
        self.programs = in_program_order(programs)
        listed: dict[Mrid, tuple[Program, Control]] = {}
        for program in self.programs:
            for control in program.controls:
                listed.setdefault(control.mrid, (program, control))
        known = [event for event in self.events.values() if event.is_live]
        met = [m for m, (_, control) in listed.items() if m not in self.events and self._is_for_us(control)]
        for mrid in met:
            self._meet(*listed[mrid], now)
        self._locate(known, listed, now)
        self._take_statuses([event.mrid for event in known], listed, now)
        for mrid in (*(event.mrid for event in known), *met):
            if self.events[mrid].state is State.SUPERSEDED:
                self._begin_successor(self.events[mrid], now)
        self._forget(listed, now)
        self._settle(now)
        self._time = now

    def advance(self, now: datetime) -> bool:
        """Go through all instants up to now; says whether there was any."""
        due = self.next_boundary()
        is_due = due is not None and due <= now
        if is_due:
            self._pass_instants(now)
            self._settle(now)
        self._time = now
        return is_due

    def next_boundary(self) -> datetime | None:
        """Say when something can change next; None when only a walk can change anything."""
        return min((t for t in self._boundaries() if self._time is None or t > self._time), default=None)

    def coming(self, now: datetime) -> list[EventState]:
        """Give the events that will start at their time by all that is known now: no other wants any of their modes then."""
        known = list(self._taking_part())
        return [
            event
            for event in known
            if event.starts_at > now
            and not event.has_started
            and len(event.held) == len(event.control.setpoints)
            and all(other is event or not _meet(event, other) for other in known)
        ]

    @property
    def has_live(self) -> bool:
        """Whether any event is not over."""
        return any(event.is_live for event in self.events.values())

    def in_effect(self, now: datetime) -> dict[FunctionName, EventState]:
        """Say which event holds each mode at this moment."""
        found: dict[FunctionName, EventState] = {}
        for event in in_rank_order(e for e in self._taking_part() if e.has_started or e.starts_at <= now):
            for mode in event.held:
                found.setdefault(mode, event)
        return found

    def confirm(self, mrids: Iterable[Mrid]) -> None:
        """Note that the values of some events were written and read back (E17)."""
        assigned = self._assigned()
        for mrid in mrids:
            event = self.events.get(mrid)
            is_ours = event is not None and event.program in assigned
            if event is not None and is_ours and event.state in {State.RECEIVED, State.MISSED}:
                self._move(event, Cause.WRITTEN)

    def displace(self, mrid: Mrid) -> None:
        """End an event of which another channel won all it commands (A3)."""
        self._move(self.events[mrid], Cause.DISPLACE)

    def opt_out(self, mrid: Mrid, now: datetime) -> bool:
        """End an event because the owner of the DER refuses it (E23); says whether there was one to end."""
        is_now = self._time is None or self._time <= now
        if is_now:
            self._pass_instants(now)  # not now itself: the owner comes before what ends then (E22)
        event = self.events.get(mrid)
        is_live = event is not None and event.is_live
        if event is not None and is_live:
            self._move(event, Cause.OPT_OUT)
        self._settle(now)
        if is_now:
            self._time = now
        return is_live

    def reject(self, mrid: Mrid, why: str, now: datetime) -> None:
        """End an event that has not started because the DER refused a value of it at the write (E24)."""
        self.advance(now)  # what ends now ends first
        event = self.events.get(mrid)
        if event is not None and event.state is State.RECEIVED:
            self._move(replace(event, refusal=why), Cause.NOT_SUPPORTED)
            self._settle(now)

    def hand_over(self, now: datetime) -> None:
        """End what was known before another channel became the one of record (A8)."""
        is_now = self._time is None or self._time <= now
        if is_now:
            self._pass_instants(now)
            self._stop(now)
            while self._end(now):  # but nobody loses anything yet: the change comes before that (E22)
                pass
        for event in list(self.events.values()):
            if event.is_live and event.known_at < now:
                self._move(event, Cause.DISPLACE)
        self._settle(now)
        if is_now:
            self._time = now

    def drain(self) -> tuple[tuple[EventState, ...], tuple[tuple[Mrid, ResponseStatus], ...], tuple[EventState, ...]]:
        """Give the events that changed, the Responses due and the events forgotten, since the last call."""
        changed = tuple(self.events[mrid] for mrid in self._changed)
        answers, forgotten = tuple(self._answers), tuple(self._forgotten)
        self._changed, self._answers, self._forgotten = {}, [], []
        return changed, answers, forgotten

    # What a walk brings

    def _is_for_us(self, control: Control) -> bool:
        ours = self.rules.device_category
        return not ours or not control.device_category or bool(ours & control.device_category)

    def _meet(self, program: Program, control: Control, now: datetime) -> None:
        event, due = first_sight(
            control,
            program,
            now,
            supported=self.rules.supported,
            carries_ramp_time=self.rules.carries_ramp_time,
            capability=self.rules.capability,
            of_record=self.rules.of_record,
            draw=self._draw,
        )
        self._keep(event, due)

    def _locate(
        self, known: Iterable[EventState], listed: Mapping[Mrid, tuple[Program, Control]], now: datetime
    ) -> None:
        """Say to which program each event belongs now (E8), and cancel what is gone from its list (E10)."""
        assigned = self._assigned()
        for event in known:
            program = listed[event.mrid][0] if event.mrid in listed else assigned.get(event.program)
            if program is None:
                continue
            if (program.mrid, program.primacy) != (event.program, event.primacy):
                event = replace(event, program=program.mrid, primacy=program.primacy)  # noqa: PLW2901  # the same event
                self._keep(event)
            if event.mrid not in listed and event.ends_at >= now:
                self._move(event, Cause.CANCEL)

    def _take_statuses(
        self, known: Iterable[Mrid], listed: Mapping[Mrid, tuple[Program, Control]], now: datetime
    ) -> None:
        """Read the status of each known event (E19)."""
        for mrid in known:
            event = self.events[mrid]
            status = listed[mrid][1].status if mrid in listed else None
            if status is EventStatus.CANCELLED:
                self._move(event, Cause.CANCEL)
            elif status is EventStatus.CANCELLED_RANDOMIZED:
                if event.has_started:
                    self._keep_if_new(cancel_with_randomization(event, now, self._draw))
                else:
                    self._move(event, Cause.CANCEL)
            elif status is EventStatus.SUPERSEDED:
                self._move(event, Cause.SUPERSEDE)

    def _begin_successor(self, gone: EventState, now: datetime) -> None:
        """Let what superseded an event begin at once, unless the start of the old one may still be randomized (E19)."""
        control = gone.control
        if now < control.interval.start + timedelta(seconds=max(0, control.randomize_start_s)):
            return
        for event in list(self._taking_part()):
            begins = event.program == gone.program and is_similar(event, gone) and ranks_before(event, gone)
            if begins and event.control.interval.start <= now < event.starts_at:
                self._keep(replace(event, starts_at=now))

    def _forget(self, listed: Mapping[Mrid, object], now: datetime) -> None:
        for event in list(self.events.values()):
            if not event.is_live and event.mrid not in listed and event.ends_at + FORGET_AFTER <= now:
                del self.events[event.mrid]
                self._changed.pop(event.mrid, None)
                self._forgotten.append(event)

    # What time brings

    def _pass_instants(self, now: datetime) -> None:
        """Settle every boundary after the last call and before now."""
        due = self.next_boundary()
        while due is not None and due < now:
            self._settle(due)
            self._time = due
            due = self.next_boundary()

    def _boundaries(self) -> Iterator[datetime]:
        for event in self.events.values():
            if event.is_live:
                yield event.starts_at
                yield event.ends_at
                if event.cancel_at is not None:
                    yield event.cancel_at

    def _settle(self, now: datetime) -> None:
        """Let losses and ends happen until nothing changes (E22)."""
        takers: dict[Mrid, list[EventState]] = {}
        self._stop(now)
        while self._lose(now, takers) or self._end(now):
            pass

    def _lose(self, now: datetime, takers: dict[Mrid, list[EventState]]) -> bool:
        """Find who loses a mode to whom (E14, E16), and who lost the last one (E18)."""
        lost: dict[Mrid, set[FunctionName]] = {}
        for holding in by_mode(self._taking_part()):
            for event, taker in holding.losses(now):
                lost.setdefault(event.mrid, set()).add(holding.mode)
                takers.setdefault(event.mrid, []).append(taker)
        for mrid, modes in lost.items():
            event = self.events[mrid].with_fate(modes, Fate.LOST)
            self._keep(event)
            if not event.held:
                self._supersede(event, in_rank_order(takers[mrid])[0])
        return bool(lost)

    def _supersede(self, event: EventState, taker: EventState) -> None:
        same = self.rules.always_7 or taker.program == event.program
        self._move(replace(event, taken_by=taker.mrid), Cause.SUPERSEDE if same else Cause.OVERRIDE)

    def _end(self, now: datetime) -> bool:
        """Let periods end (E15), and what is not assigned lapse (E9)."""
        ended: dict[Mrid, set[FunctionName]] = {}
        for holding in by_mode(self._taking_part()):
            for event in holding.ended(now):
                ended.setdefault(event.mrid, set()).add(holding.mode)
        for mrid, modes in ended.items():
            event = self.events[mrid].with_fate(modes, Fate.ENDED)
            self._keep(event)
            if not event.held:
                self._move(event, Cause.END if event.cancel_at is None else Cause.CANCEL)
        self._lapse(now)
        return bool(ended)

    def _stop(self, now: datetime) -> None:
        """End what runs out because it was cancelled with randomization (E19)."""
        for event in list(self._taking_part()):
            if event.cancel_at is not None and event.cancel_at <= now:
                self._move(event, Cause.CANCEL)

    def _lapse(self, now: datetime) -> None:
        """End silently what is over while its program is not assigned (E9)."""
        assigned = self._assigned()
        for event in list(self.events.values()):
            if event.is_live and event.program not in assigned and (event.cancel_at or event.ends_at) <= now:
                self._move(event, Cause.LAPSE)

    # Keeping

    def _assigned(self) -> dict[Mrid, Program]:
        return {program.mrid: program for program in self.programs}

    def _taking_part(self) -> Iterator[EventState]:
        """Give the events that are not terminal and whose program is assigned (E9)."""
        assigned = self._assigned()
        return (event for event in self.events.values() if event.is_live and event.program in assigned)

    def _move(self, event: EventState, cause: Cause) -> None:
        self._keep(*move(event, cause))

    def _keep_if_new(self, event: EventState) -> None:
        if event != self.events[event.mrid]:
            self._keep(event)

    def _keep(self, event: EventState, due: Iterable[ResponseStatus] = ()) -> None:
        self.events[event.mrid] = event
        self._changed[event.mrid] = None
        self._answers.extend((event.mrid, status) for status in due)


def in_program_order(programs: Iterable[Program]) -> tuple[Program, ...]:
    """Give each program once, lowest primacy first, then highest mRID (E8, E20)."""
    ranked = sorted(programs, key=lambda program: (-program.primacy, program.mrid), reverse=True)
    unique: dict[Mrid, Program] = {}
    for program in ranked:
        unique.setdefault(program.mrid, program)
    return tuple(unique.values())


def _meet(one: EventState, other: EventState) -> bool:
    """Tell whether two events want the same mode at the same time."""
    return is_similar(one, other) and max(one.starts_at, other.starts_at) < min(one.ends_at, other.ends_at)
