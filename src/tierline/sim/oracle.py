"""The oracle: docs/rules.md, sections 1 to 3, read a second time, slowly and obviously, without sight of the engine.

Its two rules: it imports nothing of tierline, and it remembers nothing. Every question walks the whole history again, from the first
walk on, instant after instant; so a restart of a DER cannot exist in it, and whoever obeys the rules across restarts agrees with it.
The rules E1 to E23 cited below are those of docs/rules.md; one channel only: `sim.oracle_channels` tells of several, and of section 5.
Times are seconds on the server's clock.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

SCHEDULED, ACTIVE, CANCELLED, CANCELLED_WITH_RANDOMIZATION, SUPERSEDED = range(5)
"""EventStatus.currentStatus (IEEE 2030.5-2018, EventStatus); E19: scheduled and active are the same to a follower."""

RECEIVED, STARTED, COMPLETED, OPTED_OUT, RESPONSE_CANCELLED, RESPONSE_SUPERSEDED = 1, 2, 3, 4, 6, 7
ABORTED_BY_SERVER, ABORTED_BY_PROGRAM = 13, 14
NOT_APPLICABLE, INVALID, TOO_LATE = 252, 253, 254
"""Response.status (IEEE 2030.5-2018, Table 27)."""

LONGEST_RANDOMIZATION_S = 3600
"""E1: |randomize…| never exceeds an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleEvent:
    """Hold one event as a walk showed it."""

    mrid: str
    """Its identity in the channel (E8)."""
    creation_time: float
    """The newer ranks first at equal primacy (E12)."""
    start: float
    """Scheduled start, without randomization."""
    duration: float
    """Scheduled duration, without randomization."""
    modes: Mapping[str, object]
    """Mode to value; values are compared for equality only. A ramp time the DER cannot keep to (E5) is told by a mode not supported."""
    randomize_start: int = 0
    """E1: r1 lies between 0 and this."""
    randomize_duration: int = 0
    """E1: r2 lies between 0 and this."""
    status: int = SCHEDULED
    """0 scheduled, 1 active, 2 cancelled, 3 cancelled with randomization, 4 superseded (E19)."""
    response_required: int = 3
    """E21: bit 0 asks for Response 1, bit 1 for all others."""
    valid: bool = True
    """False when a value of the event is not valid (E5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleProgram:
    """Hold one program as a walk showed it."""

    mrid: str
    """Its identity in the channel."""
    primacy: int
    """The lower ranks first (E12)."""
    events: tuple[OracleEvent, ...] = ()
    """Its whole list of controls."""
    default: Mapping[str, object] = field(default_factory=dict)
    """Mode to value of its default control (E20); empty when it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """Hold what one DER saw in one complete walk."""

    at: float
    """The moment at which the walk was complete."""
    programs: tuple[OracleProgram, ...]
    """All programs assigned to the DER, in any order, once per way they were reached (E8)."""


Draws = Mapping[str, tuple[float, float, float | None]]
"""Event mRID to the offsets (r1, r2, r3) the DER really drew; r3 is None while it was never needed (E1, E19)."""

Keeps = Callable[[str, object], bool]
"""Whether a value of a mode lies within the capability of the DER (E5)."""


def _everything(_mode: str, _value: object) -> bool:
    """E5: where nothing is known of a mode, all its values are kept."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Hold all that one DER saw and drew, and how it is set up."""

    walks: tuple[Walk, ...]
    """In order of time. A lost walk is not there; a late one has its late moment (E11)."""
    draws: Draws
    """The offsets drawn."""
    supported: frozenset[str]
    """The modes the DER carries out (E5)."""
    supersede_code: str = "14"
    """E18: "7" answers 7 always; "14" answers 14 to an event of another program that never started."""
    opt_outs: tuple[tuple[str, float], ...] = ()
    """E23: which event the owner refused, and when; only such as may be refused."""
    keeps: Keeps = _everything
    """E5 (c): whether a value is within the capability of the DER, which does not change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """Hold the value a mode must have and who commanded it."""

    value: object
    """The value of the event or default."""
    source: str
    """The event's mRID, or "default:" and the program's mRID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Hold one Response that must be sent."""

    at: float
    """The moment at which its reason arises."""
    mrid: str
    """The event it answers."""
    status: int
    """The code of IEEE 2030.5-2018, Table 27."""


def applied(history: History, t: float) -> dict[str, Applied]:
    """Say which value every commanded mode has at `t`, once all that happens at `t` has happened."""
    return _retell(history, t).applied()


def responses(history: History, until: float) -> list[Expected]:
    """List the Responses due up to and including `until`.

    The order binds for one event. Between events at one instant it follows E22 and is otherwise arbitrary.
    """
    return _retell(history, until).sent


def boundaries(history: History, until: float) -> list[float]:
    """List every instant up to and including `until` at which something may change (E22)."""
    return _retell(history, until).instants


def violations(history: History) -> list[str]:
    """Name every offset that was not drawn or not drawn as E1 and E19 demand."""
    return _retell(history, float("inf")).violations()


@dataclass(slots=True, eq=False)
class _Seen:
    """Remember one event from first sight on."""

    event: OracleEvent
    """As first seen (E7)."""
    program: str
    """The program it belongs to (E8)."""
    effective_start: float
    effective_end: float
    needs_draws: bool = False
    """It was received in earnest, so r1 and r2 matter."""
    started: bool = False
    """E17 happened."""
    terminal: bool = False
    """Nothing more happens to it."""
    cancel_at: float | None = None
    """The end set by E19, status 3."""
    gone: set[str] = field(default_factory=set)
    """Modes it no longer holds (E13): lost, or their period ended."""

    def holds(self, mode: str) -> bool:
        """E13."""
        return not self.terminal and mode in self.event.modes and mode not in self.gone

    def held(self) -> list[str]:
        """E13, for all modes."""
        return [mode for mode in sorted(self.event.modes) if self.holds(mode)]

    def last_end(self) -> float:
        """E19, status 3, can only bring the end forward."""
        return self.effective_end if self.cancel_at is None else self.cancel_at


def _retell(history: History, until: float) -> "_Story":
    """Go through all instants up to and including `until`, in order."""
    story = _Story(history)
    while (instant := story.next_instant()) is not None and instant <= until:
        story.happen(instant)
    return story


class _Story:
    """Follow one DER through its history, instant by instant."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.now = float("-inf")
        self.instants: list[float] = []
        self.programs: dict[str, OracleProgram] = {}  # those of the last walk
        self.seen: dict[str, _Seen] = {}
        self.sent: list[Expected] = []
        self.takers: dict[str, list[_Seen]] = {}  # who took modes from an event at this very instant (E18)
        self.is_of_record = True  # A1, A8: always, where there is one channel only

    # --- the passing of time -------------------------------------------------------------------------------------------------

    def next_instant(self) -> float | None:
        """E22: the next walk, refusal or boundary after now: effective starts and ends, ends of E19, and no other."""
        instants = [walk.at for walk in self.history.walks] + [at for _, at in self.history.opt_outs]
        for seen in self.seen.values():
            if not seen.terminal:
                instants += [seen.effective_start, seen.effective_end]
                if seen.cancel_at is not None:
                    instants.append(seen.cancel_at)
        return min((instant for instant in instants if instant > self.now), default=None)

    def happen(self, instant: float) -> None:
        """E22: what comes from outside first, then losses, then ends, then starts, repeated until nothing changes."""
        self.come_to(instant)
        self.hear()
        while self.lose_modes() or self.end_periods() or self.start_events():
            pass

    def come_to(self, instant: float) -> None:
        """Let time pass; nothing happens yet."""
        self.now = instant
        self.instants.append(instant)
        self.takers = {}

    def hear(self) -> None:
        """E22: what a walk brings, then what the owner refuses; then E19, status 3, ends what it must."""
        for walk in self.history.walks:
            if walk.at == self.now:
                self.take(walk)
        for mrid, at in self.history.opt_outs:
            if at == self.now:
                self.refuse(mrid)
        self.end_cancelled()

    def refuse(self, mrid: str) -> None:
        """E23: also when its program is not assigned; what is not known or is terminal stays as it is."""
        seen = self.seen.get(mrid)
        if seen is not None and not seen.terminal:
            self.finish(seen, OPTED_OUT)

    def depose(self) -> None:
        """A8: another channel is of record from now on; after what ends now everything that is not terminal is displaced."""
        self.end_cancelled()
        while self.end_periods():
            pass
        for seen in self.not_terminal():
            self.finish(seen, ABORTED_BY_SERVER)
        self.is_of_record = False

    # --- what a walk brings (E6 to E10, E19) ---------------------------------------------------------------------------------

    def take(self, walk: Walk) -> None:
        """Take in one complete walk."""
        self.end_silently()  # E9: assigned again *before* the effective end; at the end itself it is too late
        self.programs = {}
        for program in walk.programs:
            self.programs.setdefault(program.mrid, program)  # E8: one program, however often reached
        listed: dict[str, tuple[OracleProgram, OracleEvent]] = {}
        for program in self.ranked_programs():
            for event in program.events:
                listed.setdefault(event.mrid, (program, event))  # E8: one event, of the program that ranks first
        superseded_now = []
        for mrid, (program, event) in sorted(listed.items()):
            was_terminal = mrid in self.seen and self.seen[mrid].terminal
            if mrid not in self.seen:
                self.see_first(program, event)
            else:
                self.seen[mrid].program = program.mrid
                self.see_status(self.seen[mrid], event.status)
            if event.status == SUPERSEDED and not was_terminal:
                superseded_now.append(self.seen[mrid])
        for seen in self.taking_part():
            # E10: gone from the list of an assigned program, before its own effective end was over
            if seen.event.mrid not in listed and seen.effective_end >= walk.at:
                self.finish(seen, RESPONSE_CANCELLED)
        for seen in superseded_now:
            self.begin_successor_of_superseded(seen)

    def see_first(self, program: OracleProgram, event: OracleEvent) -> None:
        """E6, E5, E3, in this order, for an event not seen before."""
        r1, r2, _ = self.history.draws.get(event.mrid, (0, 0, None))
        start = event.start + r1  # E1
        end = start + max(0, event.duration + r2)  # E1: never below 0
        seen = _Seen(event=event, program=program.mrid, effective_start=start, effective_end=end)
        self.seen[event.mrid] = seen
        if event.status in {CANCELLED, CANCELLED_WITH_RANDOMIZATION}:  # E6
            self.say(seen, RECEIVED)
            self.finish(seen, RESPONSE_CANCELLED)
        elif event.status == SUPERSEDED:  # E6
            self.say(seen, RECEIVED)
            self.finish(seen, RESPONSE_SUPERSEDED)
        elif (
            not event.modes
            or abs(event.randomize_start) > LONGEST_RANDOMIZATION_S
            or abs(event.randomize_duration) > LONGEST_RANDOMIZATION_S
            or event.duration < 1
            or not event.valid
        ):  # E5
            self.finish(seen, INVALID)
        elif not all(self.keeps(mode, value) for mode, value in event.modes.items()):  # E5: as a whole
            self.finish(seen, NOT_APPLICABLE)
        else:
            seen.needs_draws = True
            if end <= self.now:  # E3
                self.finish(seen, TOO_LATE)
            else:
                self.say(seen, RECEIVED)  # E6
                if not self.is_of_record:  # A1
                    self.finish(seen, ABORTED_BY_SERVER)

    def keeps(self, mode: str, value: object) -> bool:
        """E5 (a) and (c): the DER carries the mode out, and the value is not outside its capability."""
        return mode in self.history.supported and self.history.keeps(mode, value)

    def see_status(self, seen: _Seen, status: int) -> None:
        """E7: of an event seen before only the status is read. E19 says what it means."""
        if seen.terminal:
            return
        if status == CANCELLED or (status == CANCELLED_WITH_RANDOMIZATION and not seen.started):
            self.finish(seen, RESPONSE_CANCELLED)
        elif status == CANCELLED_WITH_RANDOMIZATION and seen.cancel_at is None:
            r3 = self.history.draws.get(seen.event.mrid, (0, 0, None))[2] or 0
            seen.cancel_at = min(self.now + r3, seen.effective_end)
        elif status == SUPERSEDED:
            self.finish(seen, RESPONSE_SUPERSEDED)

    def begin_successor_of_superseded(self, old: _Seen) -> None:
        """E19, status 4: the event N that superseded `old` begins now, if the conditions hold."""
        for new in self.taking_part():
            if (
                set(new.event.modes) & set(old.event.modes)  # similar
                and self.ranks_before(new, old)
                and new.program == old.program
                and new.event.start <= self.now
                and self.now >= old.event.start + max(0, old.event.randomize_start)
            ):
                new.effective_start = min(new.effective_start, self.now)  # its effective end stays

    def end_cancelled(self) -> None:
        """E19, status 3: the drawn end has come."""
        for seen in self.taking_part():
            if seen.cancel_at is not None and seen.cancel_at <= self.now:
                self.finish(seen, RESPONSE_CANCELLED)

    # --- losses (E14, E16) ---------------------------------------------------------------------------------------------------

    def lose_modes(self) -> bool:
        """Let events lose modes, all of one moment together; say whether any did.

        E14: one that itself loses a mode takes it from nobody, so those losses count first whose taker is not itself a loser. One such
        there is: takers of E14 follow the rank, takers of E16 the schedule, and whoever loses by E16 has an empty period, in which it
        takes nothing by E14. So takers never form a ring at any one moment.
        """
        losses = [
            (old, mode, new)
            for old in self.taking_part()
            for mode in old.held()
            for new in self.taking_part()
            if self.takes(new, old, mode)
        ]
        losers = {(old.event.mrid, mode) for old, mode, _ in losses}
        undisputed = [loss for loss in losses if (loss[2].event.mrid, loss[1]) not in losers]
        for old, mode, new in undisputed:
            old.gone.add(mode)
            self.takers.setdefault(old.event.mrid, []).append(new)
        for old in self.taking_part():
            if old.event.mrid in self.takers and not old.held():
                self.finish(old, self.supersede_code(old))
        return bool(losses)

    def takes(self, new: _Seen, old: _Seen, mode: str) -> bool:
        """Say whether `old` loses `mode` to `new` now (E14, E16)."""
        if new is old or new.effective_start > self.now or not new.holds(mode) or not old.holds(mode):
            return False
        if self.successor(old, mode) is new:  # E16: the period of `old` would be empty
            return new.effective_start <= old.effective_start
        if self.succeeds(new, old, mode) or self.succeeds(old, new, mode):
            return False  # E14: not successive
        new_end, old_end = self.period_end(new, mode), self.period_end(old, mode)
        intersect = max(new.effective_start, old.effective_start) < min(new_end, old_end)
        return intersect and self.now < new_end and self.ranks_before(new, old)  # E14

    def supersede_code(self, old: _Seen) -> int:
        """E18: the first-ranked of those who took modes at this moment decides."""
        taker = max(self.takers[old.event.mrid], key=self.rank)
        if taker.program == old.program or old.started or self.history.supersede_code == "7":
            return RESPONSE_SUPERSEDED
        return ABORTED_BY_PROGRAM

    # --- ends (E9, E15, E16) -------------------------------------------------------------------------------------------------

    def succeeds(self, later: _Seen, earlier: _Seen, mode: str) -> bool:
        """E16: `later` is a successor of `earlier` for `mode`. One cancelled with randomization has and is none (E19)."""
        return (
            later.event.start == earlier.event.start + earlier.event.duration
            and later.holds(mode)
            and earlier.holds(mode)
            and later.cancel_at is None
            and earlier.cancel_at is None
        )

    def successor(self, earlier: _Seen, mode: str) -> _Seen | None:
        """E16: of several successors the one with the earliest effective start, then the one that ranks first."""
        successors = [
            later for later in self.not_terminal() if self.assigned(later) and self.succeeds(later, earlier, mode)
        ]
        first_ranked_first = sorted(successors, key=self.rank, reverse=True)
        return min(first_ranked_first, key=lambda later: later.effective_start, default=None)

    def period_end(self, seen: _Seen, mode: str) -> float:
        """E15, E16: where the period for `mode` of `seen`, which holds it, ends: at the successor's effective start, else at its own end.

        One that still holds the mode after its own end and has no successor lost the successor at this moment: it stops now, and
        its period was over with its own end (E16).
        """
        successor = self.successor(seen, mode)
        return seen.effective_end if successor is None else successor.effective_start

    def end_periods(self) -> bool:
        """E15: end what is over, completed if it has started, else silently; say whether anything was."""
        silent = self.end_silently()
        over = [
            (seen, mode)
            for seen in self.taking_part()
            for mode in seen.held()
            if self.period_end(seen, mode) <= self.now
        ]
        for seen, mode in over:
            seen.gone.add(mode)
        for seen in self.taking_part():
            if not seen.held():
                seen.terminal = True
                if seen.started:
                    self.say(seen, COMPLETED)
        return silent or bool(over)

    def end_silently(self) -> bool:
        """E9: the effective end, or the end set by E19, passes while the program is not assigned: no Response."""
        ended = [seen for seen in self.not_terminal() if not self.assigned(seen) and seen.last_end() <= self.now]
        for seen in ended:
            seen.terminal = True
        return bool(ended)

    # --- starts and values (E17, E20) ----------------------------------------------------------------------------------------

    def in_effect(self, seen: _Seen, mode: str) -> bool:
        """Say whether `seen`, which takes part, is now in its period for a mode it holds (E2, E15, E16)."""
        return seen.holds(mode) and seen.effective_start <= self.now < self.period_end(seen, mode)

    def start_events(self, overruled: Collection[tuple[str, str]] = ()) -> bool:
        """E17: start what is due, once; say whether anything was.

        An event and mode that are `overruled` (section 5) are not carried out, so they are no start.
        """
        due = [
            seen
            for seen in self.taking_part()
            if not seen.started
            and any(self.in_effect(seen, mode) and (seen.event.mrid, mode) not in overruled for mode in seen.held())
        ]
        for seen in due:
            seen.started = True
            self.say(seen, STARTED)
        return bool(due)

    def applied(self) -> dict[str, Applied]:
        """E12 and E20: per mode the first-ranked event in effect, else the first-ranked program's default."""
        values = {
            mode: Applied(value=seen.event.modes[mode], source=seen.event.mrid)
            for mode, seen in self.events_in_effect().items()
        }
        for mode, program in self.defaults().items():
            if not self.keeps(mode, program.default[mode]):
                continue  # E5: left out, and the default of no other program takes its place
            values.setdefault(mode, Applied(value=program.default[mode], source=f"default:{program.mrid}"))
        return values

    def events_in_effect(self) -> dict[str, _Seen]:
        """E12: per mode the first-ranked event in effect."""
        found: dict[str, _Seen] = {}
        for seen in self.taking_part():  # in order of rank
            for mode in seen.event.modes:
                if self.in_effect(seen, mode):
                    found.setdefault(mode, seen)
        return found

    def defaults(self) -> dict[str, OracleProgram]:
        """E20: per mode the first-ranked program whose default holds it; it counts when no event is in effect."""
        found: dict[str, OracleProgram] = {}
        for program in self.ranked_programs():
            for mode in program.default:
                found.setdefault(mode, program)
        return found

    # --- who ranks before whom (E8, E12, E20), who takes part (E9) --------------------------------------------------------------

    def ranked_programs(self) -> list[OracleProgram]:
        """E8, E20: lowest primacy, then highest mRID."""
        return sorted(self.programs.values(), key=lambda program: (-program.primacy, program.mrid), reverse=True)

    def rank(self, seen: _Seen) -> tuple[float, float, str]:
        """E12: the greater this is, the earlier it ranks: lower primacy, newer creationTime, higher mRID."""
        return (-self.programs[seen.program].primacy, seen.event.creation_time, seen.event.mrid)

    def ranks_before(self, one: _Seen, other: _Seen) -> bool:
        """E12."""
        return self.rank(one) > self.rank(other)

    def assigned(self, seen: _Seen) -> bool:
        """E9: its program is among those of the last walk."""
        return seen.program in self.programs

    def not_terminal(self) -> list[_Seen]:
        """List what can still change."""
        return [seen for seen in self.seen.values() if not seen.terminal]

    def taking_part(self) -> list[_Seen]:
        """E9: only events of assigned programs take part in anything. First-ranked first."""
        return sorted((seen for seen in self.not_terminal() if self.assigned(seen)), key=self.rank, reverse=True)

    # --- what is said (E21) ---------------------------------------------------------------------------------------------------

    def say(self, seen: _Seen, status: int) -> None:
        """E21: Response 1 needs bit 0 of responseRequired, all others bit 1."""
        if seen.event.response_required & (1 if status == RECEIVED else 2):
            self.sent.append(Expected(at=self.now, mrid=seen.event.mrid, status=status))

    def finish(self, seen: _Seen, status: int) -> None:
        """Make the event terminal, with its last Response."""
        seen.terminal = True
        self.say(seen, status)

    def violations(self) -> list[str]:
        """E1 and E19: offsets are whole seconds between 0 and the event's field; r3 lies in [0, the greater of both sizes]."""
        found = []
        for mrid, seen in sorted(self.seen.items()):
            if not seen.needs_draws:
                continue
            event = seen.event
            if mrid not in self.history.draws:
                found.append(f"E1: {mrid}: no offsets were drawn")
                continue
            r1, r2, r3 = self.history.draws[mrid]
            for name, offset, bound in (("r1", r1, event.randomize_start), ("r2", r2, event.randomize_duration)):
                if not min(0, bound) <= offset <= max(0, bound) or offset != int(offset):
                    found.append(f"E1: {mrid}: {name} = {offset} is not a whole number between 0 and {bound}")
            longest = max(abs(event.randomize_start), abs(event.randomize_duration))
            if seen.cancel_at is not None and r3 is None:
                found.append(f"E19: {mrid}: r3 was not drawn")
            if r3 is not None and not 0 <= r3 <= longest:
                found.append(f"E19: {mrid}: r3 = {r3} is not between 0 and {longest}")
        return found
