"""What becomes of one event at one DER: its states, its times, and what is answered on the way.

Two rules, as in h11's state machine. Every change of state stands in `TRANSITIONS` and nowhere else, with the Responses it
brings. And nothing here knows other events: who outranks whom is a relation of two, when it matters is the business of
`engine.following.schedule`. The sentences E1 to E24 are those of docs/rules.md.

All times are times of the server that owns the event.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from tierline.engine.validity import lack_of, problem_of
from tierline.model.capability import ANYTHING, Capability
from tierline.model.control import CANCELLED, Control, EventStatus, FunctionName, ResponseRequired
from tierline.model.identity import Mrid
from tierline.model.programs import Program, ResponseStatus

Draw = Callable[[int, int], int]
"""Draws a whole number from the first to the second argument, both included, uniformly."""


class State(StrEnum):
    """Where an event stands at one DER."""

    NEW = "new"
    """Before first sight; no event is ever kept in it."""
    RECEIVED = "received"
    """Known; its values were not yet read back from the DER."""
    STARTED = "started"
    """In effect, and its values were read back."""
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    DISPLACED = "displaced"
    """Another channel won all it commands."""
    REJECTED = "rejected"
    MISSED = "missed"
    """It ended before its values were read back: nothing was carried out, so nothing is claimed."""
    LAPSED = "lapsed"
    """It ended while its program was not assigned."""
    OPTED_OUT = "opted_out"
    """The owner of the DER refused it."""


class Cause(StrEnum):
    """Why an event changes its state."""

    ACCEPT = "accept"
    INVALID = "invalid"
    NOT_SUPPORTED = "not_supported"
    TOO_LATE = "too_late"
    WRITTEN = "written"
    """Its values were written and read back."""
    END = "end"
    CANCEL = "cancel"
    SUPERSEDE = "supersede"
    """By an event of the same program, or by the server."""
    OVERRIDE = "override"
    """By an event of another program."""
    DISPLACE = "displace"
    LAPSE = "lapse"
    OPT_OUT = "opt_out"
    """By the owner of the DER."""


_R = ResponseStatus

TRANSITIONS: Mapping[State, Mapping[Cause, tuple[State, tuple[ResponseStatus, ...]]]] = MappingProxyType(
    {
        State.NEW: {
            Cause.INVALID: (State.REJECTED, (_R.REJECTED_INVALID,)),
            Cause.NOT_SUPPORTED: (State.REJECTED, (_R.REJECTED_PARAMETER,)),
            Cause.TOO_LATE: (State.REJECTED, (_R.REJECTED_EXPIRED,)),
            Cause.ACCEPT: (State.RECEIVED, (_R.RECEIVED,)),
            Cause.CANCEL: (State.CANCELLED, (_R.RECEIVED, _R.CANCELLED)),
            Cause.SUPERSEDE: (State.SUPERSEDED, (_R.RECEIVED, _R.SUPERSEDED)),
            Cause.DISPLACE: (State.DISPLACED, (_R.RECEIVED, _R.ABORTED_SERVER)),
        },
        State.RECEIVED: {
            Cause.WRITTEN: (State.STARTED, (_R.STARTED,)),
            Cause.END: (State.MISSED, ()),
            Cause.CANCEL: (State.CANCELLED, (_R.CANCELLED,)),
            Cause.SUPERSEDE: (State.SUPERSEDED, (_R.SUPERSEDED,)),
            Cause.OVERRIDE: (State.SUPERSEDED, (_R.ABORTED_PROGRAM,)),
            Cause.DISPLACE: (State.DISPLACED, (_R.ABORTED_SERVER,)),
            Cause.LAPSE: (State.LAPSED, ()),
            Cause.OPT_OUT: (State.OPTED_OUT, (_R.USER_OPT_OUT,)),
            Cause.NOT_SUPPORTED: (State.REJECTED, (_R.REJECTED_PARAMETER,)),
        },
        State.STARTED: {
            Cause.END: (State.COMPLETED, (_R.COMPLETED,)),
            Cause.CANCEL: (State.CANCELLED, (_R.CANCELLED,)),
            Cause.SUPERSEDE: (State.SUPERSEDED, (_R.SUPERSEDED,)),
            Cause.OVERRIDE: (State.SUPERSEDED, (_R.SUPERSEDED,)),
            Cause.DISPLACE: (State.DISPLACED, (_R.ABORTED_SERVER,)),
            Cause.LAPSE: (State.LAPSED, ()),
            Cause.OPT_OUT: (State.OPTED_OUT, (_R.USER_OPT_OUT,)),
        },
        State.MISSED: {Cause.WRITTEN: (State.COMPLETED, (_R.STARTED, _R.COMPLETED))},
    }
)
"""From a state by a cause to a state, with the Responses this brings (before E21 filters them)."""

LIVE = frozenset({State.RECEIVED, State.STARTED})
"""States that are not terminal. MISSED is terminal too: a late read-back only tells that it had been carried out."""


class Fate(StrEnum):
    """What became of one mode of an event."""

    HELD = "held"
    LOST = "lost"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventState:
    """What one DER knows of one event and has done about it; what `engine.following.document` writes down."""

    control: Control
    """As first seen (E7)."""
    program: Mrid
    """The program it belongs to (E8)."""
    primacy: int
    """Primacy of that program at the last walk that showed it."""
    known_at: datetime
    """First sight."""
    starts_at: datetime
    """Effective start."""
    ends_at: datetime
    """Effective end."""
    state: State = State.NEW
    r1_s: int = 0
    r2_s: int = 0
    r3_s: int | None = None
    cancel_at: datetime | None = None
    """When it ends because it was cancelled with randomization (E19)."""
    fates: tuple[tuple[FunctionName, Fate], ...] = ()
    """What became of each of its modes."""
    answered: tuple[ResponseStatus, ...] = ()
    """The Responses put into the outbox (E21)."""
    taken_by: Mrid | None = None
    """The event that superseded it."""
    refusal: str = ""
    """Why it was rejected, in words for an operator."""

    @property
    def mrid(self) -> Mrid:
        """Its mRID."""
        return self.control.mrid

    @property
    def is_live(self) -> bool:
        """Whether it is not terminal."""
        return self.state in LIVE

    @property
    def has_started(self) -> bool:
        """Whether its values were read back while it was in effect."""
        return self.state is State.STARTED

    @property
    def held(self) -> tuple[FunctionName, ...]:
        """The modes it holds (E13)."""
        return tuple(name for name, fate in self.fates if fate is Fate.HELD) if self.is_live else ()

    def with_fate(self, names: Iterable[FunctionName], fate: Fate) -> "EventState":
        """Give some modes a new fate."""
        gone = frozenset(names)
        return replace(self, fates=tuple((name, fate if name in gone else old) for name, old in self.fates))


def move(event: EventState, cause: Cause) -> tuple[EventState, tuple[ResponseStatus, ...]]:
    """Take an event to its next state; gives the Responses to send, each wanted by the server and not sent before (E21)."""
    state, responses = TRANSITIONS[event.state][cause]
    due = tuple(r for r in responses if r not in event.answered and _is_wanted(r, event.control.response_required))
    return replace(event, state=state, answered=(*event.answered, *due)), due


def first_sight(
    control: Control,
    program: Program,
    now: datetime,
    *,
    supported: frozenset[FunctionName],
    carries_ramp_time: bool,
    capability: Capability = ANYTHING,
    of_record: bool,
    draw: Draw,
) -> tuple[EventState, tuple[ResponseStatus, ...]]:
    """Take up an event that was not known before: draw its offsets and accept or refuse it (E1, E3, E5, E6, A1)."""
    event = EventState(
        control=control,
        program=program.mrid,
        primacy=program.primacy,
        known_at=now,
        starts_at=now,
        ends_at=now,
        fates=tuple((name, Fate.HELD) for name in control.setpoints),
    )
    if control.status in CANCELLED:
        return move(event, Cause.CANCEL)
    if control.status is EventStatus.SUPERSEDED:
        return move(event, Cause.SUPERSEDE)
    if problem := problem_of(control):
        return move(replace(event, refusal=problem), Cause.INVALID)
    if lack := lack_of(control, supported=supported, carries_ramp_time=carries_ramp_time, capability=capability):
        return move(replace(event, refusal=lack), Cause.NOT_SUPPORTED)
    r1, r2 = _drawn(control.randomize_start_s, draw), _drawn(control.randomize_duration_s, draw)
    starts_at = control.interval.start + timedelta(seconds=r1)
    ends_at = starts_at + timedelta(seconds=max(0, control.interval.duration_s + r2))
    event = replace(event, r1_s=r1, r2_s=r2, starts_at=starts_at, ends_at=ends_at)
    if ends_at <= now:
        return move(replace(event, refusal=f"it ended at {ends_at:%Y-%m-%d %H:%M:%S} UTC"), Cause.TOO_LATE)
    return move(event, Cause.ACCEPT if of_record else Cause.DISPLACE)


def cancel_with_randomization(event: EventState, now: datetime, draw: Draw) -> EventState:
    """Let an event that has started run on for a time drawn once (E19)."""
    if event.r3_s is not None:
        return event
    widest = max(abs(event.control.randomize_start_s), abs(event.control.randomize_duration_s))
    r3 = _drawn(widest, draw)
    return replace(event, r3_s=r3, cancel_at=min(now + timedelta(seconds=r3), event.ends_at))


def is_similar(one: EventState, other: EventState) -> bool:
    """Say whether two events share a mode."""
    return not frozenset(one.control.setpoints).isdisjoint(other.control.setpoints)


def ranks_before(one: EventState, other: EventState) -> bool:
    """Say whether an event outranks another of its channel (E12)."""
    mine = (-one.primacy, one.control.creation_time, one.mrid)
    return mine > (-other.primacy, other.control.creation_time, other.mrid)


def in_rank_order(events: Iterable[EventState]) -> list[EventState]:
    """Sort events, the first-ranked first (E12)."""
    return sorted(events, key=lambda e: (-e.primacy, e.control.creation_time, e.mrid), reverse=True)


def follows_directly(later: EventState, earlier: EventState) -> bool:
    """Say whether two events are scheduled back to back (E16), before it is asked which modes they hold."""
    return (
        later.control.interval.start == earlier.control.interval.end
        and later.cancel_at is None
        and earlier.cancel_at is None
    )


def _is_wanted(response: ResponseStatus, required: ResponseRequired) -> bool:
    bit = ResponseRequired.RECEIVED if response is ResponseStatus.RECEIVED else ResponseRequired.SPECIFIC
    return bit in required


def _drawn(randomize_s: int, draw: Draw) -> int:
    return draw(min(0, randomize_s), max(0, randomize_s)) if randomize_s else 0
