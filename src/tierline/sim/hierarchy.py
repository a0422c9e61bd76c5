"""A utility and its DERs on one virtual clock: the real rules, use cases and follower over simulated ports.

Two levels. At message level a walk is one message, so that a day of twenty DERs takes seconds; at byte level the real
2030.5 client and server speak real XML to each other. Everything else is the same: the serving state and its use cases on
a store that survives crashes, the follower with its machine, a device outside every node. What happens is written down as
`Evidence`; judging it is for others.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from tierline.engine.following.obey import Obey, Persist, Seen
from tierline.model.control import EventStatus, Setpoints
from tierline.model.errors import ConfigError, Conflict, LinkError
from tierline.model.identity import ChannelId, GroupId, Lfdi, Mrid, PartyId, der_id
from tierline.model.parties import Authority, Channel, ChannelMode, Principal, Role
from tierline.model.records import (
    ControlRecord,
    DefaultRecord,
    FollowedProgramsRecord,
    GroupRecord,
    MembershipRecord,
    OutboxRecord,
    ResponseRecord,
    SwitchRecord,
)
from tierline.model.topology import Group, Membership, Tier
from tierline.node.follower import Follower, Self
from tierline.operations.serving import dispatch, programs, registry, topology
from tierline.operations.serving.state import Serving
from tierline.protocols.sep2.follow.walk import Entry
from tierline.protocols.sep2.north import Sep2North
from tierline.protocols.sep2.server import Sep2Server
from tierline.protocols.sep2.views import Rates, Views
from tierline.sim.evidence import (
    Cancelled,
    Created,
    Defaulted,
    DerEvidence,
    Evidence,
    Inverter,
    Switched,
    Take,
    second,
)
from tierline.sim.faults import Fault, Intensity
from tierline.sim.inverter import InverterLink
from tierline.sim.links import UTILITY, ByteCourier, ByteNorth, MessageNorth, SouthFace
from tierline.sim.workload import (
    MODES,
    SETS,
    SETTINGS,
    Cancel,
    Create,
    Mix,
    SetDefault,
    SwitchOver,
    draw_acts,
    grid,
    in_set,
)
from tierline.sim.world import World
from tierline.storage.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from tierline.engine.arbitration import Applied
    from tierline.engine.following.obey import ObeyEffect, ObeyEvent
    from tierline.engine.lifecycle import EventState
    from tierline.model.records import Record
    from tierline.ports import DeviceFacts, Store
    from tierline.sim.evidence import Deed
    from tierline.sim.nodes import Node
    from tierline.sim.workload import Act

R = TypeVar("R", bound="Record")

PARTY = PartyId("utility")
OWNER = PartyId("owner")
CHANNEL = ChannelId("utility")
PEN = 40732
OPERATOR = Principal(party=PARTY, role=Role.OPERATOR, name="operator")
MEASURE_S = 1800.0
AGAIN_S = 30.0
"""How soon an operator tries again what the utility could not write down."""

WITHOUT_STREAMS = frozenset(Fault) - {Fault.SPLIT, Fault.RESET}
"""The kinds of fault a network of messages has."""

FAULTY = Intensity(kinds=WITHOUT_STREAMS, per_node_day=1.0, largest_jump_s=600.0)
"""Every kind, about once a day at each node or link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is simulated."""

    seed: int
    ders: int = 20
    hours: float = 24.0
    real_bytes: bool = False
    mix: Mix = field(default_factory=Mix)
    faults: Intensity | None = FAULTY
    """None: nothing goes wrong, devices included."""


class Hierarchy:
    """One utility, its DERs and the world round them."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.world = World(setting.seed)
        self.evidence = Evidence()
        self._acts = draw_acts(self.world.random("acts"), hours=setting.hours, mix=setting.mix)
        self._next_act = 0
        self._controls: dict[int, Mrid] = {}
        self._grid = grid(setting.ders)
        names = [f"der{number:02d}" for number in range(setting.ders)]
        self._lfdis = {name: Lfdi(hashlib.sha256(name.encode()).hexdigest()[:40].upper()) for name in names}
        quiet = 0.0 if setting.faults is None else 1 - setting.faults.quiet
        for number, name in enumerate(names):
            self.evidence.ders[name] = self._der_evidence(number, name, quiet * setting.hours * 3600)
        if not setting.real_bytes:
            self.evidence.doubles = frozenset(names[::3])
        utility = self.world.node(UTILITY, self._run_utility)
        self._server_clock = utility.clock
        for name in names:
            self.world.node(name, self._run_der)
        if setting.faults is not None:
            self.world.draw_faults(
                links=[(name, UTILITY) for name in names], hours=setting.hours, intensity=setting.faults
            )
        for step in self.world.plan.clock_steps:
            self.evidence.clock_steps.setdefault(step.node, []).append((max(0.0, step.at_s), step.by_s))
        self.world.watch(self._notice)

    def run(self) -> Evidence:
        """Let the time pass, then gather what was kept."""
        with self.world as world:
            world.run(self.setting.hours)
            self.evidence.end_s = world.loop.time()
            for name, der in self.evidence.ders.items():
                kept = der.store.load(OutboxRecord) if der.store is not None else []
                self.evidence.waiting[name] = [record for record in kept if record.posted_at is None]
        return self.evidence

    def _der_evidence(self, number: int, name: str, calm_from_s: float) -> DerEvidence:
        left_out = {3: "volt_watt", 4: "freq_droop"}.get(number % 5)
        inverter = Inverter(
            name=name,
            functions=frozenset({*MODES, *SETTINGS} - {left_out}),
            held=Setpoints(),
            carries_ramp_time=number % 7 != 5,
            random=self.world.random(f"inverter {name}"),
            calm_from_s=calm_from_s,
        )
        code = "7" if (number + self.setting.seed) % 4 == 0 else "14"
        return DerEvidence(name=name, lfdi=self._lfdis[name], inverter=inverter, supersede_code=code)

    def _notice(self, at_s: float, who: str, what: str) -> None:
        der = self.evidence.ders.get(who)
        if der is not None and what.startswith("crash of life"):
            der.crashes.append(at_s)
        elif der is not None and what.startswith("start of life"):
            der.births.append(at_s)

    # --- the utility ------------------------------------------------------------------------------------------------

    async def _run_utility(self, node: Node) -> None:
        store = node.store(lambda: _UtilityStore(self.evidence))
        serving = Serving(party=PARTY, store=store, clock=node.clock, random=node.random, pen=PEN, grid=self._grid)
        serving.load()
        self._catch_up(serving, node.clock.deadline())
        while True:
            try:
                await self._prepare(serving)
                break
            except LinkError:
                await node.clock.sleep(AGAIN_S)
        sep2 = Sep2Server(serving, Views(serving, Rates(poll_s=300, post_s=3600)))
        face = SouthFace(serving, self.evidence, self._lfdis, sep2)
        node.serve(face.handle)
        await self._operate(node, serving)
        await asyncio.Event().wait()

    async def _prepare(self, serving: Serving) -> None:
        await topology.adopt_grid(OPERATOR, serving)
        known = set(serving.identities)
        new = [
            registry.NewDevice(lfdi=lfdi, service_point=f"point{number:02d}")
            for number, lfdi in enumerate(self._lfdis.values())
            if lfdi not in known
        ]
        if new:
            await registry.register(OPERATOR, serving, new)
        for name, lfdi in self._lfdis.items():
            self.evidence.ders[name].der_id = serving.identities[lfdi].der_id
        names = {record.group.name for record in serving.groups.values()}
        for name in SETS:
            if name not in names:
                await serving.commit(self._set_records(serving, name))

    def _set_records(self, serving: Serving, name: str) -> list[Record]:
        """Make a group that does not follow the wires; there is no use case for it yet."""
        now = serving.clock.now()
        group = Group(id=topology.new_group_id(serving), tier=Tier.NON_TOPOLOGY, name=name)
        put: list[Record] = [
            GroupRecord(party=PARTY, group=group, created_at=now),
            programs.new_program(serving, group),
        ]
        for number, lfdi in enumerate(self._lfdis.values()):
            if in_set(number, name):
                put.append(
                    MembershipRecord(
                        party=PARTY,
                        cause="operator",
                        membership=Membership(
                            der_id=serving.identities[lfdi].der_id,
                            group_id=group.id,
                            valid_from=now,
                            valid_to=None,
                            recorded_at=now,
                        ),
                    )
                )
        return put

    def _catch_up(self, serving: Serving, at_s: float) -> None:
        """Note what a dying life made durable without a chance to tell."""
        known = {deed.record.mrid: deed for deed in self.evidence.deeds if isinstance(deed, Created)}
        over = {deed.mrid for deed in self.evidence.deeds if isinstance(deed, Cancelled)}
        for record in serving.store.load(ControlRecord):
            if record.mrid not in known:
                self._note(Created(at_s=at_s, record=record))
                self._controls[self._next_act] = record.mrid
                self._next_act += 1
            elif record.mrid not in over and record.control.status is not EventStatus.SCHEDULED:
                self._note(_cancelled(at_s, record))
                self._next_act += 1
        defaults = {
            deed.record.program: deed.record.default.mrid for deed in self.evidence.deeds if isinstance(deed, Defaulted)
        }
        for default in serving.store.load(DefaultRecord):
            if defaults.get(default.program) != default.default.mrid:
                self._note(Defaulted(at_s=at_s, record=default))
                self._next_act += 1
        switched: dict[int, bool] = {}
        for deed in self.evidence.deeds:
            if isinstance(deed, Switched):
                switched |= deed.positions
        positions: dict[int, bool] = {}
        for switch in sorted(serving.store.load(SwitchRecord), key=lambda one: one.recorded_at):
            positions[switch.switch_id] = switch.closed
        changed = {key: closed for key, closed in positions.items() if switched.get(key) is not closed}
        if changed:
            self._note(Switched(at_s=at_s, positions=changed))
            self._next_act += 1

    def _note(self, deed: Deed) -> None:
        self.evidence.deeds.append(deed)

    async def _operate(self, node: Node, serving: Serving) -> None:
        while self._next_act < len(self._acts):
            act = self._acts[self._next_act]
            await node.clock.sleep(act.at_s - node.clock.deadline())
            try:
                await self._do(node, serving, act, self._next_act)
            except LinkError:
                await node.clock.sleep(AGAIN_S)
                continue
            except (ConfigError, Conflict):
                self.evidence.refused += 1
            self._next_act += 1

    async def _do(self, node: Node, serving: Serving, act: Act, number: int) -> None:
        def at_s() -> float:
            return node.clock.deadline()

        match act:
            case Create():
                record = await dispatch.create_control(OPERATOR, serving, self._order(serving, act))
                self._controls[number] = record.mrid
                self._note(Created(at_s=at_s(), record=record))
            case Cancel():
                mrid = _picked(serving, act.pick)
                if mrid is None:
                    self.evidence.refused += 1
                    return
                cancelled = await dispatch.cancel_control(OPERATOR, serving, mrid, randomized=act.randomized)
                self._note(_cancelled(at_s(), cancelled))
            case SetDefault():
                default = await programs.set_default(OPERATOR, serving, self._group(serving, act.group), act.setpoints)
                self._note(Defaulted(at_s=at_s(), record=default))
            case SwitchOver():
                await topology.confirm_switching(OPERATOR, serving, act.positions)
                self._note(Switched(at_s=at_s(), positions=act.positions))

    def _order(self, serving: Serving, act: Create) -> dispatch.Order:
        start = serving.clock.now() + timedelta(seconds=act.start_in_s)
        for other, by_end in ((act.follows, True), (act.overlaps, False)):
            if other is not None:
                mrid = self._control_number(other)
                before = None if mrid is None else serving.control(mrid)
                if before is not None:
                    interval = before.control.interval
                    asked = interval.end if by_end else interval.start + timedelta(seconds=act.start_in_s)
                    start = asked if asked + timedelta(seconds=act.duration_s) > serving.clock.now() else start
        return dispatch.Order(
            group_id=self._group(serving, act.group),
            setpoints=act.setpoints,
            start=start,
            duration_s=act.duration_s,
            randomize_start_s=act.randomize_start_s,
            randomize_duration_s=act.randomize_duration_s,
            ramp_time_s=act.ramp_time_s,
            reason="simulation",
        )

    def _control_number(self, number: int) -> Mrid | None:
        creations = [index for index, act in enumerate(self._acts) if isinstance(act, Create)]
        return self._controls.get(creations[number])

    def _group(self, serving: Serving, name: str) -> GroupId:
        for record in serving.groups.values():
            if name in (record.group.element, record.group.name):
                return GroupId(record.group.id)
        raise AssertionError(f"there is no group {name}")

    # --- the DERs ---------------------------------------------------------------------------------------------------

    async def _run_der(self, node: Node) -> None:
        der = self.evidence.ders[node.name]
        store = _WatchedStore(node.store(lambda: _DerStore(der)), node, der)
        der.store = store
        digest = hashlib.sha256(node.name.encode()).digest()
        own = der_id(int.from_bytes(digest[8:16], "big"))
        me = Self(
            der_id=own,
            lfdi=der.lfdi,
            party=OWNER,
            channels=(Channel(id=CHANNEL, party=PARTY, authority=Authority.UTILITY, rank=1),),
            mode=ChannelMode.SINGLE,
            supersede_code="7" if der.supersede_code == "7" else "14",
            measure_s=MEASURE_S,
            phase_s=float(node.random.between(0, 86_399)),
        )
        server = self._byte_north(node, der, store) if self.setting.real_bytes else MessageNorth(node, der, CHANNEL)
        follower = _WatchedFollower(node=node, der=der, server=server, me=me, store=store)
        await follower.run()

    def _byte_north(self, node: Node, der: DerEvidence, store: Store) -> ByteNorth:
        entry = Entry(
            dcap="/dcap",
            lfdi=der.lfdi,
            channel=CHANNEL,
            party=PARTY,
            server=f"{UTILITY}:443",
            server_lfdi=None,
            pin=None,
        )
        north = Sep2North(courier=ByteCourier(node), entry=entry, clock=node.clock, store=store, lfdi=der.lfdi, pen=PEN)
        return ByteNorth(north, self.evidence, der, lambda: second(self._server_clock.now()))


def _picked(serving: Serving, pick: int) -> Mrid | None:
    """Choose a control to cancel: one in its interval if there is one, else one that is not over."""
    now = serving.clock.now()
    controls = [record.control for program in serving.programs.values() for record in program.controls.values()]
    open_ones = [one for one in controls if one.status is EventStatus.SCHEDULED and now < one.interval.end]
    running = [one for one in open_ones if one.interval.start <= now]
    among = running or open_ones
    return among[pick % len(among)].mrid if among else None


def _cancelled(at_s: float, record: ControlRecord) -> Cancelled:
    assert record.control.status_time is not None
    return Cancelled(
        at_s=at_s,
        mrid=record.mrid,
        randomized=record.control.status is EventStatus.CANCELLED_RANDOMIZED,
        server_s=second(record.control.status_time),
    )


class _UtilityStore(MemoryStore):
    """The utility's store, which tells in what order Responses were kept."""

    def __init__(self, evidence: Evidence) -> None:
        super().__init__()
        self._evidence = evidence
        evidence.utility = self

    def apply(self, put: Sequence[Record], delete: Sequence[Record]) -> None:
        super().apply(put, delete)
        for record in put:
            if isinstance(record, ResponseRecord):
                self._evidence.recorded.append((record.der_id, record.mrid, record.status))


class _DerStore(MemoryStore):
    """A DER's store, which tells what is durable."""

    def __init__(self, der: DerEvidence) -> None:
        super().__init__()
        self._der = der

    def apply(self, put: Sequence[Record], delete: Sequence[Record]) -> None:
        super().apply(put, delete)
        self._der.keep(put)


class _WatchedStore:
    """A store as the follower sees it, which tells when it refuses."""

    def __init__(self, inner: Store, node: Node, der: DerEvidence) -> None:
        self._inner = inner
        self._node = node
        self._der = der

    async def commit(self, put: Sequence[Record] = (), delete: Sequence[Record] = ()) -> None:
        try:
            await self._inner.commit(put, delete)
        except LinkError:
            self._der.refuse(self._node.clock.deadline(), put)
            raise
        self._der.accept(self._node.clock.deadline(), put)

    async def forget_before(self, kind: type[Record], time: datetime, *, limit: int = 10_000) -> int:
        return await self._inner.forget_before(kind, time, limit=limit)

    def load(self, kind: type[R]) -> list[R]:
        return self._inner.load(kind)

    def load_since(self, kind: type[R], time: datetime, *, limit: int = 10_000) -> list[R]:
        return self._inner.load_since(kind, time, limit=limit)

    def close(self) -> None:
        self._inner.close()


class _WatchedFollower(Follower):
    """The follower, with somebody who notes what its machine takes in and asks for."""

    def __init__(
        self, *, node: Node, der: DerEvidence, server: MessageNorth | ByteNorth, me: Self, store: Store
    ) -> None:
        super().__init__(
            me=me,
            south=InverterLink(der.inverter, node),
            servers={CHANNEL: server},
            store=store,
            clock=node.clock,
            random=node.random,
        )
        self._node = node
        self._der = der
        self._server = server

    def _take_facts(self, facts: DeviceFacts) -> None:
        is_first = self._obey is None
        super()._take_facts(facts)
        if is_first and self._obey is not None:
            kept = self._store.load(FollowedProgramsRecord)
            self._der.begin(self._node.clock.deadline(), kept[0].clock_offset_s if kept else None)
            self._obey = _WatchedMachine(self._obey, self._node, self._der, self._server)


class _WatchedMachine(Obey):
    """The machine of a follower, watched."""

    def __init__(self, inner: Obey, node: Node, der: DerEvidence, server: MessageNorth | ByteNorth) -> None:
        self._inner = inner
        self._node = node
        self._der = der
        self._server = server

    @property
    def applied(self) -> Applied | None:
        return self._inner.applied

    @property
    def decision(self) -> Applied:
        return self._inner.decision

    def events(self) -> Mapping[ChannelId, tuple[EventState, ...]]:
        return self._inner.events()

    def wake_at(self) -> datetime | None:
        return self._inner.wake_at()

    def handle(self, event: ObeyEvent, now: datetime) -> tuple[ObeyEffect, ...]:
        effects = self._inner.handle(event, now)
        if isinstance(event, Seen):
            walk = event.walk
            self._der.take(
                Take(
                    at_s=self._node.clock.deadline(),
                    server_s=second(now + timedelta(seconds=walk.clock_offset_s)),
                    offset_s=walk.clock_offset_s,
                    programs=walk.programs,
                    shown=self._server.walks.pop(0),
                )
            )
        for effect in effects:
            if isinstance(effect, Persist):
                self._der.ask(effect)
        return effects
