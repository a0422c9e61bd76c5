"""The follower at work: one DER, its device below, its servers above, and the machine that decides.

The machine is pure; this is its shell. One task owns it and carries its effects out in the durable order; the walks, the
measuring, the posting of Responses and of readings are tasks of their own that only hand events in or empty what is kept.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Literal, Protocol

import structlog

from tierline.engine.arbitration import Ratings
from tierline.engine.following.obey import (
    OWNER,
    REFUSABLE,
    Apply,
    DerChanged,
    Obey,
    ObeyEvent,
    ObeyRules,
    OptOut,
    Persist,
    Persisted,
    Seen,
    Tick,
    WriteDone,
    WriteFailed,
)
from tierline.engine.lifecycle import State
from tierline.model.control import Setpoints
from tierline.model.errors import Conflict, Forbidden, LinkError, PeerError, Unsupported
from tierline.model.points import POINTS
from tierline.model.programs import ProgramsSeen, ResponseStatus
from tierline.model.records import AppliedRecord, FollowedEventRecord, FollowedProgramsRecord, OutboxRecord
from tierline.model.telemetry import Phase, Quality, Reading
from tierline.node.behind import behind_of, coming_of
from tierline.node.reporting import Description, Reporter, next_phase
from tierline.node.supervise import supervise
from tierline.node.waiting import within
from tierline.operations.following.buffer import ReadingBuffer
from tierline.operations.following.outbox import Outbox, as_response
from tierline.operations.following.owner_limits import program_of
from tierline.ports import Adjustable, Heeding, Yielding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from tierline.engine.arbitration import Applied
    from tierline.engine.following.obey import ObeyEffect, RecordChange
    from tierline.model.control import FunctionName
    from tierline.model.identity import ChannelId, DerId, Lfdi, Mrid, PartyId
    from tierline.model.parties import Authority, Channel, ChannelMode
    from tierline.model.programs import Program, Response
    from tierline.model.records import Record
    from tierline.model.telemetry import Alarm
    from tierline.node.refused import RefusedEvents
    from tierline.ports import Behind, Clock, DeviceFacts, Northbound, Random, Southbound, Store

log = structlog.get_logger(__name__)

REPORTED = ("w", "var", "hz", "v_an", "v_bn", "v_cn", "v_ln", "v_ll")
"""What is mirrored of what is measured. Source: CSIP 2.1 G23, table 2."""

_STATUS = ("inverter_status", "operational_mode", "connect_status", "local_control_mode")
_REJECTIONS = (
    ResponseStatus.REJECTED_PARAMETER,
    ResponseStatus.REJECTED_INVALID,
    ResponseStatus.REJECTED_EXPIRED,
)
_AVAILABILITY = ("stat_w_avail", "stat_var_avail")


class Server(Protocol):
    """A north link and what it learned about the pace its server wants."""

    @property
    def link(self) -> Northbound:
        """The link itself."""
        ...

    @property
    def poll_s(self) -> float:
        """Civil seconds between walks."""
        ...

    @property
    def post_s(self) -> float:
        """Civil seconds between posts of readings."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Self:
    """Who this follower is."""

    der_id: DerId
    lfdi: Lfdi
    party: PartyId
    channels: tuple[Channel, ...]
    mode: ChannelMode
    supersede_code: Literal["7", "14"]
    measure_s: float
    """Civil seconds between measurements."""
    owner_limits: Setpoints = field(default_factory=Setpoints)
    refusable: frozenset[Authority] = REFUSABLE
    """Whose events the owner may refuse."""
    record: tuple[RecordChange, ...] = ()
    """When the channel of record changes."""
    phase_s: float = 0.0
    """Where in its polling interval this follower walks, so that many do not come at once."""
    pen: int = 0
    """What goes into the names of what its owner says here."""


class Follower:
    """One DER that follows."""

    def __init__(
        self,
        *,
        me: Self,
        south: Southbound,
        servers: Mapping[ChannelId, Server],
        store: Store,
        clock: Clock,
        random: Random,
        audit: RefusedEvents | None = None,
    ) -> None:
        self._me = me
        self._audit = audit
        self._south = south
        self._servers = servers
        self._store = store
        self._clock = clock
        self._random = random
        self._outbox = Outbox(store, list(servers))
        self._buffer = ReadingBuffer(store, me.party, list(servers))
        self._events: deque[ObeyEvent] = deque()
        self._awake = asyncio.Event()
        self._reporters = {
            channel: Reporter(
                channel=channel,
                server=server,
                buffer=self._buffer,
                clock=clock,
                random=random,
                phase_s=me.phase_s,
            )
            for channel, server in servers.items()
        }
        self._to_post = {channel: asyncio.Event() for channel in servers}
        self._walked = {channel: asyncio.Event() for channel in servers}
        self._order: asyncio.Queue[tuple[int, Apply]] = asyncio.Queue(maxsize=1)
        self._under_way: Setpoints | None = None
        """What is being written to the device."""
        self._life = 0
        """Which machine an order is of: the outcome of one that was given up means nothing to the next."""
        self._obey: Obey | None = None
        self._facts: DeviceFacts | None = None
        self._asked: deque[tuple[OptOut | Seen, asyncio.Future[None]]] = deque()
        """What the owner asked for and waits for, in the order in which it was handed in."""
        self._said: Program | None = None
        """What the owner said last, whether it was handled yet or not; None: as it is durable."""

    @property
    def obey(self) -> Obey | None:
        """The machine, once the device is known."""
        return self._obey

    @property
    def walked(self) -> bool:
        """Whether every channel was heard at least once since the start."""
        return all(event.is_set() for event in self._walked.values())

    def refused(self) -> Mapping[FunctionName, str]:
        """Give what is held back because the device refuses it, by function, and why."""
        return {} if self._obey is None else self._obey.refused

    def waiting_responses(self) -> int:
        """Count the Responses that no server has acknowledged yet."""
        return len(self._outbox)

    async def opt_out(self, mrid: Mrid) -> None:
        """Refuse an event for the owner of the device; returns when that is durable and its Response is on the way.

        Raises: Conflict when it is not known, over or not the owner's to refuse; LinkError (come again).
        """
        if self._obey is None:
            raise LinkError("the device was not found yet, so nothing is obeyed that could be refused; come again")
        if why := self._obey.why_not_opt_out(mrid):
            raise Conflict(why)
        await self._ask(OptOut(mrid=mrid))

    async def say(self, change: Callable[[Program, DeviceFacts], Program]) -> None:
        """Change the owner's own program (A10); returns when that is durable, and answered by the device.

        Raises: what `change` raises; LinkError (come again).
        """
        if self._obey is None or self._facts is None:
            raise LinkError("the device was not found yet, so nothing can be asked of it; come again")
        said = self._said or program_of(self._obey.seen(OWNER), self._me.party, self._me.der_id, self._me.pen)
        self._said = change(said, self._facts)
        await self._ask(Seen(walk=ProgramsSeen(channel=OWNER, programs=(self._said,))))

    async def _ask(self, event: OptOut | Seen) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append((event, done))
        self._hand_in(event)
        await done

    async def run(self) -> None:
        """Follow until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(supervise("device", self._device, self._clock, self._random, last_pause_s=60.0))
                group.create_task(supervise("obey", self._obeying, self._clock, self._random, last_pause_s=30.0))
                group.create_task(supervise("write", self._writing, self._clock, self._random, last_pause_s=60.0))
                for channel in self._servers:
                    for name, work in (
                        ("walk", self._walking),
                        ("respond", self._responding),
                        ("report", self._reporting),
                    ):
                        group.create_task(
                            supervise(
                                name,
                                _bound(work, channel),
                                self._clock,
                                self._random,
                                last_pause_s=60.0,
                                channel=channel,
                                lfdi=self._me.lfdi,
                            )
                        )
        finally:
            await self._south.close()
            for server in self._servers.values():
                await server.link.close()

    # --- the device ------------------------------------------------------------------------------------------------

    async def _device(self) -> None:
        """Find out what the device is, then measure it for ever; after a failure find out again."""
        facts = await self._south.discover()
        self._take_facts(facts)
        while True:
            due = self._clock.now() + timedelta(seconds=self._me.measure_s)
            values, alarms = await self._south.measure()
            if (changed := await self._changed()) is not None:
                facts = changed
                self._take_facts(facts)
            await self._take_measurement(facts, values, alarms, self._clock.now())
            await self._clock.sleep_until(due)

    async def _changed(self) -> DeviceFacts | None:
        """Give what the device is now where it is no longer what it was said to be."""
        if isinstance(self._south, Heeding):
            return self._south.changed()
        return await self._south.refreshed() if isinstance(self._south, Adjustable) else None

    def _take_facts(self, facts: DeviceFacts) -> None:
        self._facts = facts
        if self._obey is None:
            self._obey = self._restored(facts)
            log.info("device_found", lfdi=self._me.lfdi, model=facts.model, functions=sorted(facts.functions))
            self._hand_in(Tick())
        else:
            # It was away or adjusted: what it holds is not known, so everything is compared and written where it differs.
            self._hand_in(
                DerChanged(
                    supported=facts.functions,
                    ratings=_ratings(facts),
                    carries_ramp_time=facts.carries_ramp_time,
                    capability=facts.capability,
                )
            )

    def _restored(self, facts: DeviceFacts) -> Obey:
        """Make the machine from what is durable.

        Raises: LinkError when the store cannot be read.
        """
        rules = ObeyRules(
            der_id=self._me.der_id,
            lfdi=self._me.lfdi,
            party=self._me.party,
            channels=self._me.channels,
            mode=self._me.mode,
            supported=facts.functions,
            carries_ramp_time=facts.carries_ramp_time,
            capability=facts.capability,
            ratings=_ratings(facts),
            supersede_code=self._me.supersede_code,
            owner_limits=self._me.owner_limits,
            refusable=self._me.refusable,
            record=self._me.record,
        )
        return Obey.restore(
            rules,
            self._random.between,
            programs=self._store.load(FollowedProgramsRecord),
            events=self._store.load(FollowedEventRecord),
        )

    async def _take_measurement(
        self, facts: DeviceFacts, values: Sequence[tuple[str, int, int, int]], alarms: Sequence[Alarm], now: datetime
    ) -> None:
        # Asked once: what Python does to tell whether something is of a Protocol takes longer than all else here.
        heeding = self._south if isinstance(self._south, Heeding) else None
        readings = [
            Reading(
                der_id=self._me.der_id,
                point=point,
                value=value,
                power_of_ten=power,
                time=now.replace(microsecond=0),
                phase=Phase(phase),
                quality=Quality.VALID if heeding is None else heeding.quality_of(point),
            )
            for point, phase, value, power in values
            if point in REPORTED
        ]
        given_up = await self._buffer.add(readings)
        if given_up:
            log.warning("readings_given_up", lfdi=self._me.lfdi, count=given_up)
        status: dict[str, Decimal | int] = {point: value for point, _, value, _ in values if point in _STATUS}
        status |= {point: Decimal(value).scaleb(power) for point, _, value, power in values if point in _AVAILABILITY}
        # Several alarms of a device may stand for one bit.
        status["alarm_status"] = reduce(or_, (_alarm_bit(alarm.point) for alarm in alarms), 0)
        for reporter in self._reporters.values():
            reporter.measured(Description(facts=facts, status=status))

    # --- obeying ----------------------------------------------------------------------------------------------------

    def _hand_in(self, event: ObeyEvent) -> None:
        self._events.append(event)
        self._awake.set()

    async def _obeying(self) -> None:
        """Feed the machine and carry out its effects, one event after the other.

        After a fault of ours in between, the machine waits for what will not come: it begins anew from what is durable.
        """
        if self._obey is not None and self._facts is not None:
            self._life += 1
            self._ask_again()
            while not self._order.empty():
                self._order.get_nowait()
            self._events = deque(event for event in self._events if _outlives(event))
            self._obey = self._restored(self._facts)
            self._hand_in(Tick())
        while True:
            obey = self._obey
            if obey is None or not self._events:
                wake_at = None if obey is None else obey.wake_at()
                self._awake.clear()
                if not self._events or obey is None:
                    await within(self._clock, wake_at, self._awake.wait())
                if obey is None:
                    continue
            event = self._events.popleft() if self._events else Tick()
            effects = obey.handle(event, self._clock.now())
            if isinstance(self._south, Heeding):
                self._south.heed(self._behind(obey.decision), coming_of(obey.coming(self._clock.now())))
            for effect in effects:
                await self._carry_out(effect)
            self._let_give_way(obey.decision.setpoints)
            if self._asked and self._asked[0][0] is event:
                self._answer(obey)

    def _answer(self, obey: Obey) -> None:
        """Tell the owner what came of what was handled just now: what it led to is durable."""
        event, done = self._asked.popleft()
        if done.done():
            return
        if isinstance(event, Seen):
            done.set_result(None)
            return
        mrid = event.mrid
        known = [event for events in obey.events().values() for event in events if event.mrid == mrid]
        if any(event.state is State.OPTED_OUT for event in known):
            log.info("opted_out", mrid=mrid, lfdi=self._me.lfdi)
            done.set_result(None)
        else:
            done.set_exception(Conflict(f"event {mrid} ended meanwhile"))

    def _ask_again(self) -> None:
        """Tell the owner that it is not known what came of what he asked for."""
        self._said = None
        while self._asked:
            _, done = self._asked.popleft()
            if not done.done():
                done.set_exception(LinkError("a fault of this program came in between; ask again what holds"))

    def _let_give_way(self, target: Setpoints) -> None:
        """Tell the device of a newer target while it is being written to: the machine orders it once the write has ended."""
        if isinstance(self._south, Yielding) and self._under_way is not None and self._under_way != target:
            self._south.give_way(target)

    def _behind(self, decision: Applied) -> Mapping[FunctionName, Behind]:
        return {} if self._obey is None else behind_of(decision, self._obey.events())

    async def _carry_out(self, effect: ObeyEffect) -> None:
        match effect:
            case Persist():
                await self._persist(effect)
                self._events.appendleft(Persisted(sequence=effect.sequence))
            case Apply():
                await self._order.put((self._life, effect))

    async def _persist(self, effect: Persist) -> None:
        """Write it down, however long the store takes to be able to: nothing goes on before."""
        pause_s = 1.0
        put = [self._kept_here(record) for record in effect.put]
        while True:
            try:
                await self._store.commit(put, effect.delete)
            except LinkError as error:
                log.warning("store_refused", why=str(error), again_in_s=pause_s)
                await self._clock.sleep(pause_s)
                pause_s = min(2 * pause_s, 60.0)
            else:
                break
        self._outbox.add(record for record in put if isinstance(record, OutboxRecord) and record.posted_at is None)
        for record in put:
            if isinstance(record, AppliedRecord):
                log.info(
                    "explained",
                    t=record.applied_at.timestamp(),
                    lfdi=self._me.lfdi,
                    entries=json.loads(record.explanation)["explanation"],
                )
        for response in effect.responses:
            log.info(
                "response_due",
                t=response.created_at.timestamp(),
                mrid=response.mrid,
                status=response.status,
                lfdi=self._me.lfdi,
                channel=response.channel,
            )
            if response.status in _REJECTIONS:
                why = self._why(response)
                log.warning("event_refused", mrid=response.mrid, lfdi=self._me.lfdi, why=why)
                if self._audit is not None:
                    await self._audit.write(response, why)
        for to_post in self._to_post.values():
            to_post.set()

    def _why(self, response: Response) -> str:
        """Say why an event was refused."""
        events = () if self._obey is None else self._obey.events()[response.channel]
        return next((event.refusal for event in events if event.mrid == response.mrid), "")

    def _kept_here(self, record: Record) -> Record:
        """Note of a Response to the owner that it has arrived: this node is the server of that channel (A10)."""
        if isinstance(record, OutboxRecord) and record.channel == OWNER:
            return replace(record, posted_at=self._clock.now())
        return record

    async def _writing(self) -> None:
        """Write to the device what the machine orders, and tell it what came of it."""
        while True:
            life, order = await self._order.get()
            outcome: WriteDone | WriteFailed = WriteFailed(sequence=order.sequence, reason="a fault of this program")
            self._under_way = order.setpoints
            try:
                held = await self._south.apply(
                    order.setpoints, ramp_time_s=order.ramp_time_s, behind=self._behind(order.explanation)
                )
            except (LinkError, PeerError, Unsupported) as error:
                log.warning("write_failed", lfdi=self._me.lfdi, why=str(error))
                outcome = WriteFailed(sequence=order.sequence, reason=str(error))
            else:
                log.info("applied", lfdi=self._me.lfdi, setpoints=list(held.setpoints), writes=held.writes)
                for name, refusal in held.refused.items():
                    log.warning("refused_by_device", lfdi=self._me.lfdi, function=name, why=refusal.reason)
                outcome = WriteDone(sequence=order.sequence, read_back=held.setpoints, refused=held.refused)
            finally:
                self._under_way = None
                if life == self._life:
                    self._hand_in(outcome)  # whatever happened: the machine waits for it

    # --- the servers ------------------------------------------------------------------------------------------------

    async def _walking(self, channel: ChannelId) -> None:
        """Walk the whole tree, at the pace the server wants, each follower at its own phase."""
        server = self._servers[channel]
        while True:
            try:
                seen = await server.link.walk()
            except (LinkError, PeerError, Forbidden):
                self._reporters[channel].forgotten()
                raise
            self._hand_in(Seen(walk=replace(seen, channel=channel)))
            if not self._walked[channel].is_set():
                self._walked[channel].set()
                log.info("walked", channel=channel, lfdi=self._me.lfdi, programs=len(seen.programs))
            self._to_post[channel].set()
            await self._clock.sleep_until(next_phase(self._clock.now(), server.poll_s, self._me.phase_s))

    async def _responding(self, channel: ChannelId) -> None:
        """Post Responses, the oldest first; one that is refused for good is struck out and logged."""
        link = self._servers[channel].link
        await self._walked[channel].wait()
        while True:
            record = self._outbox.first(channel)
            if record is None:
                self._to_post[channel].clear()
                await self._to_post[channel].wait()
                continue
            try:
                await link.respond(as_response(record))
            except LinkError:
                self._outbox.postpone(record)
                raise
            except (PeerError, Forbidden) as error:
                log.warning("response_refused", mrid=record.mrid, status=record.status, why=str(error))
            await self._outbox.done(record, self._clock.now())

    async def _reporting(self, channel: ChannelId) -> None:
        """Post what the device is and does, and the readings that wait."""
        await self._walked[channel].wait()
        await self._reporters[channel].run()


class _Bound(Protocol):
    async def __call__(self) -> None: ...


class _Work(Protocol):
    async def __call__(self, channel: ChannelId, /) -> None: ...


def _bound(work: _Work, channel: ChannelId) -> _Bound:
    async def run() -> None:
        await work(channel)

    return run


def _outlives(event: ObeyEvent) -> bool:
    """Tell whether an event means something to the next machine; what the owner said he was told to say again."""
    return isinstance(event, DerChanged) or (isinstance(event, Seen) and event.walk.channel != OWNER)


def _ratings(facts: DeviceFacts) -> Ratings:
    return Ratings(set_max_w=Decimal(facts.settings.get("set_max_w", facts.nameplate.get("rtg_max_w", 0))))


def _alarm_bit(point: str) -> int:
    alarm = POINTS[point].alarm
    return 0 if alarm is None else alarm.value
