"""What one DER does and answers, from the walks of all its channels: a machine without input or output.

The caller hands in what happened (`handle`), carries out the effects in order, and calls again at `wake_at`. The durable
order is that of docs/rules.md section 6: an effect `Apply` comes only when all that led to it is persisted, a Response only
with the `Persist` that holds its reason, and "started" only after the values were read back. So a crash between any two
steps repeats a step and nothing else. At most one `Persist` and one `Apply` are outstanding; what happens meanwhile waits,
and the newest target follows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal, assert_never

from tierline.engine.arbitration import Applied, Claim, Ratings, arbitrate
from tierline.engine.following import document
from tierline.engine.following.link import Link
from tierline.engine.following.schedule import FORGET_AFTER, Schedule, ScheduleRules
from tierline.engine.following.writer import Writer
from tierline.engine.lifecycle import Draw, EventState
from tierline.model.control import FunctionName, Setpoints
from tierline.model.errors import ConfigError
from tierline.model.functions import FUNCTIONS, Merge
from tierline.model.identity import ChannelId, DerId, Lfdi, Mrid, PartyId
from tierline.model.parties import Authority, Channel, ChannelMode
from tierline.model.programs import ProgramsSeen, Response
from tierline.model.records import AppliedRecord, FollowedEventRecord, FollowedProgramsRecord, OutboxRecord, Record

OWNER = ChannelId("owner")
"""The name under which the owner's standing limits appear in explanations."""

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
    """What an `Apply` asked for was written and read back."""

    sequence: int
    read_back: Setpoints


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time has passed."""


ObeyEvent = Seen | Persisted | WriteDone | WriteFailed | DerChanged | Tick


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
    ratings: Ratings
    supersede_code: Literal["7", "14"] = "14"
    """The answer of an event that an event of another program superseded before it started (E18)."""
    owner_limits: Setpoints = field(default_factory=Setpoints)
    """Limits that the owner always keeps in force (A2)."""
    device_category: int = 0
    """DeviceCategoryType bitmap; 0: unknown."""

    def __post_init__(self) -> None:
        for name in self.owner_limits:
            if name not in FUNCTIONS or FUNCTIONS[name].merge is not Merge.TIGHTEST:
                raise ConfigError(f"owner_limits: {name!r} is no limit; use max_lim_w_pct, gen_lim_w or another limit")
        if len({channel.rank for channel in self.channels}) < len(self.channels):
            raise ConfigError(
                f"channels: two of {[c.id for c in self.channels]} have the same rank; each needs its own"
            )


class Obey:
    """The follower of one DER."""

    def __init__(self, rules: ObeyRules, draw: Draw) -> None:
        of_record = min((channel.rank for channel in rules.channels), default=0)
        dual = rules.mode is ChannelMode.DUAL
        self._rules = rules
        self._links = {
            channel.id: Link(channel, Schedule(_schedule_rules(rules, dual or channel.rank == of_record), draw))
            for channel in rules.channels
        }
        self._writer = Writer()
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
        return obey

    @property
    def applied(self) -> Applied | None:
        """What the DER holds, as read back, and why; None while it is not known."""
        return self._writer.held

    @property
    def decision(self) -> Applied:
        """What it shall hold."""
        return self._decision

    def events(self) -> Mapping[ChannelId, tuple[EventState, ...]]:
        """Give the events that are remembered, by channel."""
        return {name: tuple(link.schedule.events.values()) for name, link in self._links.items()}

    def handle(self, event: ObeyEvent, now: datetime) -> tuple[ObeyEffect, ...]:
        """Take in what happened and say what to do, in this order.

        Raises: KeyError for a walk of a channel that is not obeyed.
        """
        match event:
            case Seen():
                self._is_stale |= self._links[event.walk.channel].see(event.walk, now)
            case Persisted():
                if event.sequence == self._persisting:
                    self._persisting = None
            case WriteDone():
                self._confirm(self._writer.done(event.sequence, event.read_back, now), now)
            case WriteFailed():
                self._writer.failed(event.sequence, now)
            case DerChanged():
                self._change(event)
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
        return min((time for time in (self._boundary, retry_at) if time is not None), default=None)

    def _change(self, event: DerChanged) -> None:
        supported, carries_ramp_time = event.supported, event.carries_ramp_time
        self._rules = replace(
            self._rules, supported=supported, carries_ramp_time=carries_ramp_time, ratings=event.ratings
        )
        for link in self._links.values():
            link.schedule.rules = replace(link.schedule.rules, supported=supported, carries_ramp_time=carries_ramp_time)
        self._writer.forget()
        self._is_stale = True

    def _go_on(self, now: datetime) -> tuple[ObeyEffect, ...]:
        for link in self._links.values():
            self._is_stale |= link.schedule.advance(link.time(now))
        if self._is_stale:
            self._decide(now)
            self._boundary = min((t for link in self._links.values() for t in link.boundaries()), default=None)
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

    def _decide(self, now: datetime) -> None:
        """Arbitrate, and displace what lost everything to another channel, until nothing is displaced (A3)."""
        while True:
            claims = self._claims(now)
            self._decision = arbitrate(
                claims,
                ratings=self._rules.ratings,
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

    def _confirm(self, applied: Applied | None, now: datetime) -> None:
        """Note what was read back: its events have started (E17)."""
        if applied is None:
            return
        by_channel: dict[ChannelId, list[Mrid]] = {}
        for entry in applied.explanation:
            if entry.is_event and entry.has_part:
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
        # Before any channel was heard nothing is known: the DER keeps what it has.
        is_known = not self._links or any(link.walk is not None for link in self._links.values())
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


def _schedule_rules(rules: ObeyRules, of_record: bool) -> ScheduleRules:  # noqa: FBT001  # private
    return ScheduleRules(
        supported=rules.supported,
        carries_ramp_time=rules.carries_ramp_time,
        of_record=of_record,
        always_7=rules.supersede_code == "7",
        device_category=rules.device_category,
    )
