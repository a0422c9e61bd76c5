"""What one DER does and answers, from the walks of all its channels: a machine without input or output.

The caller hands in what happened (`handle`), carries out the effects in order, and calls again at `wake_at`. The durable
order is that of docs/rules.md section 6: an effect `Apply` comes only when all that led to it is persisted, a Response only
with the `Persist` that holds its reason, and "started" only after the values were read back. So a crash between any two
steps repeats a step and nothing else. At most one `Persist` and one `Apply` are outstanding; what happens meanwhile waits,
and the newest target follows.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal, assert_never

from tierline.engine.arbitration import Applied, Claim, Entry, Ratings, arbitrate
from tierline.engine.following import document
from tierline.engine.following.link import Link
from tierline.engine.following.refusals import Refusals
from tierline.engine.following.schedule import FORGET_AFTER, Schedule, ScheduleRules
from tierline.engine.following.writer import Writer
from tierline.engine.lifecycle import Draw, EventState
from tierline.model.capability import ANYTHING, Capability, Refusal
from tierline.model.control import FunctionName, Setpoints
from tierline.model.errors import ConfigError
from tierline.model.functions import FUNCTIONS, Merge
from tierline.model.identity import ChannelId, DerId, Lfdi, Mrid, PartyId
from tierline.model.parties import Authority, Channel, ChannelMode
from tierline.model.programs import ProgramsSeen, Response
from tierline.model.records import AppliedRecord, FollowedEventRecord, FollowedProgramsRecord, OutboxRecord, Record

OWNER = ChannelId("owner")
"""The channel of what the owner says at the node itself (A10); his standing limits appear under the same name."""

LIMITS = frozenset(row.name for row in FUNCTIONS.values() if row.merge is Merge.TIGHTEST)
"""What the owner may say at the node itself: limits, of which none relaxes another."""

REFUSABLE = frozenset({Authority.AGGREGATOR, Authority.OWNER})
"""Whose events an owner may refuse unless the configuration says otherwise (E23)."""

_OWNER_RANK = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A walk is complete."""

    walk: ProgramsSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class Persisted:
    """What a `Persist` asked for is durable."""

    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteDone:
    """What an `Apply` asked for was written and read back, but for what the DER refused."""

    sequence: int
    read_back: Setpoints
    refused: Mapping[FunctionName, Refusal] = field(default_factory=dict)
    """What is held back of it (E24)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteFailed:
    """What an `Apply` asked for was not written, or it is not known whether it was."""

    sequence: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DerChanged:
    """What the DER can do or what its percentages refer to has changed, or it may have forgotten what it was told."""

    supported: frozenset[FunctionName]
    ratings: Ratings
    carries_ramp_time: bool = False
    capability: Capability = ANYTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOut:
    """The owner refuses an event (E23); `Obey.why_not_opt_out` says beforehand whether that has an effect."""

    mrid: Mrid


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time has passed."""


ObeyEvent = Seen | Persisted | WriteDone | WriteFailed | DerChanged | OptOut | Tick


@dataclass(frozen=True, slots=True, kw_only=True)
class Persist:
    """Make this durable, in one transaction, then hand in `Persisted`."""

    sequence: int
    put: tuple[Record, ...]
    """Events, programs, Responses for the outbox, explanation."""
    delete: tuple[Record, ...]
    """Events that may be forgotten."""
    responses: tuple[Response, ...]
    """The Responses among `put`: they may be posted once this is durable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Make the DER hold exactly this, read it back, then hand in `WriteDone` or `WriteFailed`."""

    sequence: int
    setpoints: Setpoints
    ramp_time_s: Decimal | None
    explanation: Applied


ObeyEffect = Persist | Apply


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordChange:
    """From an instant on another channel is the one of record (A8)."""

    since: datetime
    """In the time of this node."""
    channel: ChannelId


@dataclass(frozen=True, slots=True, kw_only=True)
class ObeyRules:
    """Who one DER is and whom it obeys."""

    der_id: DerId
    lfdi: Lfdi | None
    party: PartyId
    """Whose records these are."""
    channels: tuple[Channel, ...]
    mode: ChannelMode = ChannelMode.SINGLE
    """With SINGLE the channel of the lowest rank is the channel of record (A1)."""
    supported: frozenset[FunctionName]
    carries_ramp_time: bool = False
    """Whether the DER keeps to a ramp time; an event that has one is rejected otherwise (E5)."""
    capability: Capability = ANYTHING
    """Which values of what it carries out the DER keeps (E5)."""
    ratings: Ratings
    supersede_code: Literal["7", "14"] = "14"
    """The answer of an event that an event of another program superseded before it started (E18)."""
    owner_limits: Setpoints = field(default_factory=Setpoints)
    """Limits that the owner always keeps in force (A2)."""
    refusable: frozenset[Authority] = REFUSABLE
    """Whose events the owner may refuse (E23)."""
    record: tuple[RecordChange, ...] = ()
    """When the channel of record changes, in any order (A8)."""
    device_category: int = 0
    """DeviceCategoryType bitmap; 0: unknown."""

    def __post_init__(self) -> None:
        for name in self.owner_limits:
            if name not in LIMITS:
                raise ConfigError(f"owner_limits: {name!r} is no limit; use max_lim_w_pct, gen_lim_w or another limit")
        if len({channel.rank for channel in self.channels}) < len(self.channels):
            raise ConfigError(
                f"channels: two of {[c.id for c in self.channels]} have the same rank; each needs its own"
            )
        self._check_record()

    def _check_record(self) -> None:
        known = {channel.id for channel in self.channels}
        for change in self.record:
            if self.mode is ChannelMode.DUAL:
                raise ConfigError("record: with two channels in force none is of record; use mode single, or remove it")
            if change.channel not in known - {OWNER}:
                raise ConfigError(f"record: {change.channel!r} is no channel; use one of {sorted(known - {OWNER})}")
        if len({change.since for change in self.record}) < len(self.record):
            raise ConfigError("record: two changes at the same time; give each its own")


class Obey:
    """The follower of one DER."""

    def __init__(self, rules: ObeyRules, draw: Draw) -> None:
        of_record = min((channel.rank for channel in rules.channels), default=0)
        dual = rules.mode is ChannelMode.DUAL
        self._rules = rules
        self._links = {
            channel.id: Link(
                channel,
                Schedule(
                    _schedule_rules(rules, channel.id, dual or channel.rank == of_record or channel.id == OWNER), draw
                ),
            )
            for channel in rules.channels
        }
        self._changes = deque(sorted(rules.record, key=lambda change: change.since))
        """Those of the channel of record that are still to come (A8)."""
        self._is_restored = False
        """Whether events may be left of a channel that the configuration no longer obeys."""
        self._writer = Writer()
        self._refusals = Refusals()
        self._sequence = 0
        self._persisting: int | None = None
        self._unsaved: dict[tuple[object, ...], Record] = {}
        self._forgotten: list[Record] = []
        self._responses: list[Response] = []
        self._decision = Applied()
        self._explained: Applied | None = None
        self._is_stale = True
        self._boundary: datetime | None = None

    @classmethod
    def restore(
        cls,
        rules: ObeyRules,
        draw: Draw,
        *,
        programs: Iterable[FollowedProgramsRecord],
        events: Iterable[FollowedEventRecord],
    ) -> "Obey":
        """Go on from what was persisted; channels that are no longer obeyed are left out.

        Raises: ValueError when a document is damaged.
        """
        obey = cls(rules, draw)
        kept: dict[ChannelId, list[EventState]] = {}
        for record in events:
            kept.setdefault(record.channel, []).append(document.load(record.document))
        walks = {record.channel: record for record in programs}
        for name, link in obey._links.items():
            link.restore(kept.get(name, []), walks.get(name))
        obey._is_restored = True
        obey._boundary = obey._next_boundary()
        return obey

    @property
    def applied(self) -> Applied | None:
        """What the DER holds, as read back, and why; None while it is not known."""
        return self._writer.held

    @property
    def refused(self) -> Mapping[FunctionName, str]:
        """What is held back at the DER because it refuses it, and why (E24)."""
        return self._refusals.standing

    @property
    def decision(self) -> Applied:
        """What it shall hold."""
        return self._decision

    def coming(self, now: datetime) -> tuple[tuple[ChannelId, EventState], ...]:
        """Give the events that will start at their time by all that is known now; none where several channels speak."""
        obeyed = [
            (name, link)
            for name, link in self._links.items()
            if link.schedule.rules.of_record and (name != OWNER or link.schedule.has_live)
        ]
        if len(obeyed) != 1:
            return ()
        return tuple((name, event) for name, link in obeyed for event in link.schedule.coming(link.time(now)))

    def events(self) -> Mapping[ChannelId, tuple[EventState, ...]]:
        """Give the events that are remembered, by channel."""
        return {name: tuple(link.schedule.events.values()) for name, link in self._links.items()}

    def seen(self, channel: ChannelId) -> ProgramsSeen | None:
        """Give the last walk of a channel, None before the first.

        Raises: KeyError for a channel that is not obeyed.
        """
        return self._links[channel].walk

    def why_not_opt_out(self, mrid: Mrid) -> str:
        """Say in words why an event cannot be refused; empty when it can (E23)."""
        known = [link for link in self._links.values() if mrid in link.schedule.events]
        live = [link for link in known if link.schedule.events[mrid].is_live]
        if not known:
            return f"event {mrid} is not known here"
        if not live:
            return f"event {mrid} is over: {known[0].schedule.events[mrid].state.value}"
        if not any(self._may_refuse(link) for link in live):
            channel = live[0].channel
            return (
                f"event {mrid} is of channel {channel.id}, and the {channel.authority.name.lower()} may not be refused"
            )
        return ""

    def handle(self, event: ObeyEvent, now: datetime) -> tuple[ObeyEffect, ...]:
        """Take in what happened and say what to do, in this order.

        Raises: KeyError for a walk of a channel that is not obeyed.
        """
        self._catch_up(now)
        self._change_record(now)
        match event:
            case Seen():
                self._is_stale |= self._links[event.walk.channel].see(event.walk, now)
            case Persisted():
                if event.sequence == self._persisting:
                    self._persisting = None
            case WriteDone():
                self._take_outcome(event, now)
            case WriteFailed():
                self._writer.failed(event.sequence, now)
            case DerChanged():
                self._change(event)
            case OptOut():
                self._opt_out(event.mrid, now)
            case Tick():
                pass
            case _:
                assert_never(event)
        wake_at = self.wake_at()
        changes_nothing = isinstance(event, Seen | Tick) and not self._is_stale and (wake_at is None or now < wake_at)
        return () if changes_nothing else self._go_on(now)

    def wake_at(self) -> datetime | None:
        """Say when to hand in a Tick at the latest; None when only something else can change anything."""
        retry_at = self._writer.retry_at if self._persisting is None else None
        change_at = self._changes[0].since if self._changes else None
        return min((time for time in (self._boundary, retry_at, change_at) if time is not None), default=None)

    def _take_outcome(self, event: WriteDone, now: datetime) -> None:
        refused = {name: refusal.reason for name, refusal in event.refused.items()}
        held = self._writer.done(event.sequence, event.read_back, now, refused)
        target = self._writer.target
        if held is None or target is None:
            return
        self._confirm(held, now)
        for entry in self._refusals.note(target, event.refused):
            self._give_up(entry, refused[entry.function], now)

    def _give_up(self, entry: Entry, why: str, now: datetime) -> None:
        """Do without what the DER refuses: an event that has not started is rejected, a default is left out (E24)."""
        self._is_stale = True
        if entry.is_event:
            link = self._links[entry.channel]
            link.schedule.reject(entry.mrid, f"the device refused it: {why}", link.time(now))
        else:
            self._refusals.given_up[entry.wish] = why

    def _change(self, event: DerChanged) -> None:
        self._rules = replace(
            self._rules,
            supported=event.supported,
            carries_ramp_time=event.carries_ramp_time,
            capability=event.capability,
            ratings=event.ratings,
        )
        for name, link in self._links.items():
            link.schedule.rules = _schedule_rules(self._rules, name, link.schedule.rules.of_record)
        self._writer.forget()
        self._refusals.forget()
        self._is_stale = True

    def _may_refuse(self, link: Link) -> bool:
        return link.channel.authority in self._rules.refusable

    def _opt_out(self, mrid: Mrid, now: datetime) -> None:
        for link in filter(self._may_refuse, self._links.values()):
            link.schedule.opt_out(mrid, link.time(now))
            self._is_stale = True  # whether it ended anything or not: the schedule may have come past a boundary

    def _change_record(self, now: datetime) -> None:
        """Carry out the changes of the channel of record that are due, each at its instant (A8)."""
        while self._changes and self._changes[0].since <= now:
            change = self._changes.popleft()
            for name, link in self._links.items():
                link.schedule.rules = replace(link.schedule.rules, of_record=name in {change.channel, OWNER})
                self._hand_over(link, change.since)
        if self._is_restored:
            self._is_restored = False
            for link in self._links.values():
                self._hand_over(link, now)

    def _hand_over(self, link: Link, at: datetime) -> None:
        self._is_stale = True
        if not link.schedule.rules.of_record:
            link.schedule.hand_over(link.time(at))

    def _go_on(self, now: datetime) -> tuple[ObeyEffect, ...]:
        for link in self._links.values():
            self._is_stale |= link.schedule.advance(link.time(now))
        if self._is_stale:
            self._decide(now)
            self._boundary = self._next_boundary()
            self._is_stale = False
        held = self._writer.held
        if held is not None and held.setpoints == self._decision.setpoints:
            self._confirm(self._decision, now)
        self._collect(now)
        if self._persisting is not None:
            return ()
        if self._unsaved or self._forgotten:
            return (self._persist(),)
        return self._apply(now)

    def _next_boundary(self) -> datetime | None:
        return min((t for link in self._links.values() for t in link.boundaries()), default=None)

    def _catch_up(self, now: datetime) -> None:
        """Go through the instants that were slept through, all channels together (E22).

        What another channel took from an event then is taken (A3), although nothing could be carried out and it is over by now.
        """
        if self._rules.mode is ChannelMode.SINGLE:
            return  # channels take nothing from each other, and each goes through its own instants
        while self._boundary is not None and self._boundary < now:
            due = self._boundary
            for link in self._links.values():
                if any(boundary <= due for boundary in link.boundaries()):
                    link.schedule.advance(link.time(due))
            self._decide(due)
            self._is_stale = True
            self._boundary = self._next_boundary()

    def _decide(self, now: datetime) -> None:
        """Arbitrate, and displace what lost everything to another channel, until nothing is displaced (A3)."""
        while True:
            claims = self._claims(now)
            self._refusals.keep_only(claims)
            self._decision = arbitrate(
                claims,
                ratings=self._rules.ratings,
                given_up=self._refusals.given_up,
                capability=self._rules.capability,
                supported=self._rules.supported,
                carries_ramp_time=self._rules.carries_ramp_time,
            )
            if not self._decision.displaced:
                return
            for channel, mrid in sorted(self._decision.displaced):
                self._links[channel].schedule.displace(mrid)

    def _claims(self, now: datetime) -> list[Claim]:
        obeyed = [link for link in self._links.values() if link.schedule.rules.of_record]
        claims = [claim for link in obeyed for claim in link.claims(link.time(now))]
        owner = [
            Claim(
                function=name,
                value=value,
                channel=OWNER,
                mrid=Mrid(""),
                authority=Authority.OWNER,
                rank=_OWNER_RANK,
                is_event=False,
            )
            for name, value in self._rules.owner_limits.items()
        ]
        return claims + owner

    def _confirm(self, applied: Applied, now: datetime) -> None:
        """Note what was read back: its events have started (E17)."""
        by_channel: dict[ChannelId, list[Mrid]] = {}
        for entry in applied.explanation:
            if entry.is_event and entry.has_part and (entry.channel, entry.mrid) not in applied.refused:
                by_channel.setdefault(entry.channel, []).append(entry.mrid)
        for channel, mrids in by_channel.items():
            self._links[channel].schedule.confirm(mrids)
        if applied != self._explained:
            self._explained = applied
            self._unsaved["applied",] = AppliedRecord(
                party=self._rules.party,
                der_id=self._rules.der_id,
                explanation=applied.to_json(),
                applied_at=now,
            )

    def _collect(self, now: datetime) -> None:
        """Turn what changed in the schedules into records."""
        rules = self._rules
        for name, link in self._links.items():
            changed, answers, forgotten = link.schedule.drain()
            for event in changed:
                self._unsaved["event", name, event.mrid] = self._event_record(name, event, document.dump(event))
            for mrid, status in answers:
                response = Response(
                    mrid=mrid,
                    der_id=rules.der_id,
                    lfdi=rules.lfdi,
                    status=status,
                    created_at=link.time(now),
                    channel=name,
                )
                self._responses.append(response)
                self._unsaved["response", name, mrid, status] = OutboxRecord(
                    party=rules.party,
                    channel=name,
                    der_id=rules.der_id,
                    mrid=mrid,
                    status=status,
                    lfdi=rules.lfdi,
                    created_at=response.created_at,
                )
            self._forgotten.extend(self._event_record(name, event, b"") for event in forgotten)
            walk = link.unsaved_walk()
            if walk is not None:
                self._unsaved["programs", name] = FollowedProgramsRecord(
                    party=rules.party,
                    channel=name,
                    der_id=rules.der_id,
                    programs=walk.programs,
                    clock_offset_s=walk.clock_offset_s,
                    seen_at=now,
                )

    def _event_record(self, channel: ChannelId, event: EventState, written: bytes) -> FollowedEventRecord:
        return FollowedEventRecord(
            party=self._rules.party,
            channel=channel,
            der_id=self._rules.der_id,
            mrid=event.mrid,
            document=written,
            ends_at=event.ends_at + FORGET_AFTER,
        )

    def _persist(self) -> Persist:
        self._sequence += 1
        effect = Persist(
            sequence=self._sequence,
            put=tuple(self._unsaved.values()),
            delete=tuple(self._forgotten),
            responses=tuple(self._responses),
        )
        self._persisting = effect.sequence
        self._unsaved, self._forgotten, self._responses = {}, [], []
        return effect

    def _apply(self, now: datetime) -> tuple[Apply, ...]:
        # Before any channel was heard nothing is known: the DER keeps what it has. Where there is nobody but the owner all is known.
        is_known = self._links.keys() <= {OWNER} or any(link.walk is not None for link in self._links.values())
        if not is_known or not self._writer.wants(self._decision, now):
            return ()
        self._sequence += 1
        self._writer.begin(self._sequence, self._decision)
        return (
            Apply(
                sequence=self._sequence,
                setpoints=self._decision.setpoints,
                ramp_time_s=self._decision.ramp_time_s,
                explanation=self._decision,
            ),
        )


def owner_channel(party: PartyId) -> Channel:
    """Give the channel of what the owner says at the node itself (A10)."""
    return Channel(id=OWNER, party=party, authority=Authority.OWNER, rank=_OWNER_RANK)


def _schedule_rules(rules: ObeyRules, channel: ChannelId, of_record: bool) -> ScheduleRules:  # noqa: FBT001  # private
    return ScheduleRules(
        supported=rules.supported & LIMITS if channel == OWNER else rules.supported,
        carries_ramp_time=rules.carries_ramp_time,
        capability=rules.capability,
        of_record=of_record,
        always_7=rules.supersede_code == "7",
        device_category=rules.device_category,
    )
