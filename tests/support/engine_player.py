"""Plays schedules to `Obey`: a store, a device and a power cut, all in memory; and short ways to write events.

Times are whole seconds since `T0`.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tierline.engine.arbitration import Ratings
from tierline.engine.following import document
from tierline.engine.following.obey import (
    Apply,
    Obey,
    ObeyRules,
    Persist,
    Persisted,
    Seen,
    Tick,
    WriteDone,
    WriteFailed,
)
from tierline.model.control import Control, EventStatus, Interval, ResponseRequired, Setpoints
from tierline.model.functions import FUNCTIONS
from tierline.model.identity import ChannelId, DerId, Lfdi, Mrid, PartyId
from tierline.model.parties import Authority, Channel, ChannelMode
from tierline.model.programs import DefaultControl, Program, ProgramsSeen
from tierline.model.records import KEYS, FollowedEventRecord, FollowedProgramsRecord, OutboxRecord

T0 = datetime(2026, 7, 1, tzinfo=UTC)
DER, LFDI, PARTY = DerId("aaaaaaaaaaaaa"), Lfdi("0F" * 20), PartyId("here")
UTILITY = Channel(id=ChannelId("utility"), party=PartyId("utility"), authority=Authority.UTILITY, rank=1)
AGGREGATOR = Channel(id=ChannelId("aggregator"), party=PartyId("aggregator"), authority=Authority.AGGREGATOR, rank=2)
ALL = frozenset(FUNCTIONS)


def at(seconds):
    return T0 + timedelta(seconds=seconds)


def seconds(time):
    return (time - T0).total_seconds()


def mrid(digits):
    return Mrid(str(digits).zfill(32))


def event(name, start, duration, setpoints, *, created=0, rs=0, rd=0, status=0, required=3, **more):
    return Control(
        mrid=mrid(name),
        creation_time=at(created),
        interval=Interval(start=at(start), duration_s=duration),
        setpoints=Setpoints.of(setpoints),
        randomize_start_s=rs,
        randomize_duration_s=rd,
        status=EventStatus(status),
        response_required=ResponseRequired(required),
        **more,
    )


def limit(name, start, duration, pct=50, **more):
    return event(name, start, duration, {"max_lim_w_pct": Decimal(pct)}, **more)


def program(name, primacy, *events, default=None):
    made = None if default is None else DefaultControl(mrid=mrid(f"DEF{name}"), setpoints=Setpoints.of(default))
    return Program(mrid=mrid(name), primacy=primacy, controls=tuple(events), default=made)


def rules(**more):
    given = {
        "der_id": DER,
        "lfdi": LFDI,
        "party": PARTY,
        "channels": (UTILITY,),
        "supported": ALL,
        "ratings": Ratings(set_max_w=Decimal(10_000)),
    }
    return ObeyRules(**(given | more))


def dual(**more):
    return rules(channels=(UTILITY, AGGREGATOR), mode=ChannelMode.DUAL, **more)


def middle(low, high):
    """Draw without luck."""
    return (low + high) // 2


class PowerCutError(Exception):
    """The machine loses everything that is not in the store."""


class Player:
    """One DER: its follower, its store and its device."""

    def __init__(self, rules, draw=middle, *, cuts=()):
        self.rules, self.draw = rules, draw
        self.store = {}
        self.posted = []
        """(seconds, mRID, status) of every Response that became durable."""
        self.device = Setpoints()
        self.writes = []
        """(seconds, setpoints) of every write that changed the device."""
        self.fails = False
        self.refuses = {}
        """What the device does not take, by function: the refusal, or a function that gives it, or None, for a value."""
        self.steps = 0
        self.cuts = set(cuts)
        """Numbers of the steps before which the power is cut."""
        self.obey = Obey(rules, draw)

    def see(self, t, *programs, channel=UTILITY, offset=0.0):
        self.feed(t, Seen(walk=ProgramsSeen(channel=channel.id, programs=programs, clock_offset_s=offset)))

    def tick(self, t):
        self.feed(t, Tick())

    def run(self, until):
        """Wake whenever it is asked for."""
        while (wake := self.obey.wake_at()) is not None and wake <= at(until):
            self.feed(seconds(wake), Tick())

    def feed(self, t, happened):
        """Hand in one thing that happened and carry out all that follows from it at this moment."""
        while True:
            try:
                self._carry_out(self.obey.handle(happened, at(t)), t)
            except PowerCutError:
                self.restart()
            else:
                return

    def _carry_out(self, effects, t):
        for effect in effects:
            self._step()
            match effect:
                case Persist():
                    self._commit(effect, t)
                    self._step()
                    done = Persisted(sequence=effect.sequence)
                case Apply():
                    done = self._write(effect, t)
                    self._step()
            self._carry_out(self.obey.handle(done, at(t)), t)

    def _commit(self, effect, t):
        for record in effect.put:
            key = _key(record)
            if isinstance(record, OutboxRecord):
                assert key not in self.store, f"a second Response {record.status} of {record.mrid}"
                self.posted.append((t, record.mrid, int(record.status)))
            if isinstance(record, FollowedEventRecord) and key in self.store:
                self._check_offsets(document.load(self.store[key].document), document.load(record.document))
            self.store[key] = record
        for record in effect.delete:
            self.store.pop(_key(record))
        assert len(effect.responses) == sum(isinstance(record, OutboxRecord) for record in effect.put)

    def _check_offsets(self, old, new):
        assert (old.r1_s, old.r2_s) == (new.r1_s, new.r2_s), f"{old.mrid} was drawn again"
        assert old.r3_s in {None, new.r3_s}, f"{old.mrid} was drawn again"

    def _write(self, effect, t):
        if self.fails:
            return WriteFailed(sequence=effect.sequence, reason="no answer")
        refused = {
            name: refusal
            for name, given in self.refuses.items()
            if name in effect.setpoints
            and (refusal := given(effect.setpoints[name]) if callable(given) else given) is not None
        }
        taken = {name: value for name, value in effect.setpoints.items() if name not in refused}
        untouched = {name: value for name, value in self.device.items() if name in refused}
        held = Setpoints.of(taken | untouched)
        if held != self.device:
            self.device = held
            self.writes.append((t, held))
        return WriteDone(sequence=effect.sequence, read_back=Setpoints.of(taken), refused=refused)

    def _step(self):
        self.steps += 1
        if self.steps in self.cuts:
            raise PowerCutError

    def restart(self, **more):
        """Lose the memory, keep the store and the device."""
        kept = list(self.store.values())
        if more:
            self.rules = rules(**more)
        self.obey = Obey.restore(
            self.rules,
            self.draw,
            programs=[record for record in kept if isinstance(record, FollowedProgramsRecord)],
            events=[record for record in kept if isinstance(record, FollowedEventRecord)],
        )

    def answers(self, name=None):
        """The Responses as (seconds, status), of one event or (seconds, mRID, status) of all."""
        if name is None:
            return self.posted
        return [(t, status) for t, who, status in self.posted if who == mrid(name)]

    def events(self, channel=UTILITY):
        return {state.mrid: state for state in self.obey.events()[channel.id]}


def _key(record):
    kind = type(record)
    return (kind, *(getattr(record, name) for name in KEYS[kind]))
