"""A utility, a substation that relays and the DERs below it, under seeded faults: nothing is lost, doubled or invented."""

import asyncio
import hashlib
from collections.abc import Awaitable
from datetime import timedelta
from decimal import Decimal

import pytest
from runs import listening

from tierline.engine.serving_status import listed_until
from tierline.model.control import EventStatus, Setpoints
from tierline.model.errors import ConfigError, Conflict, LinkError
from tierline.model.identity import ChannelId, Lfdi, PartyId, der_id
from tierline.model.parties import Authority, Channel, ChannelMode, Principal, Role
from tierline.model.records import (
    AuditRecord,
    BufferedReadingRecord,
    GroupRecord,
    MembershipRecord,
    OutboxRecord,
    ReadingRecord,
    ResponseRecord,
)
from tierline.model.topology import Group, Membership, Tier
from tierline.node.follower import Follower, Self
from tierline.node.relay_links import FleetLink
from tierline.node.relaying import RelayChannel, Relaying
from tierline.operations.relay.relayed import Relayed
from tierline.operations.serving import dispatch, programs, registry
from tierline.operations.serving.audit import faults
from tierline.operations.serving.state import Serving
from tierline.ports import DeviceFacts, ReadBack
from tierline.protocols.sep2.fleet_north import Sep2FleetNorth
from tierline.protocols.sep2.follow.walk import Entry
from tierline.protocols.sep2.north import Sep2North
from tierline.protocols.sep2.server import Sep2Server
from tierline.protocols.sep2.transport import HttpResponse, Peer, Request
from tierline.protocols.sep2.views import Rates, Views
from tierline.sim.faults import Fault, Intensity
from tierline.sim.world import World
from tierline.storage.memory import MemoryStore

OPERATOR = Principal(party=PartyId("utility"), role=Role.OPERATOR, name="ada")
HOURS = 4.0
LEAVES = [f"der{number}" for number in range(4)]
SETS = {"all": LEAVES, "even": LEAVES[::2], "first": LEAVES[:1]}
# A relay keeps its clock with that of its server (docs/decisions/0014), so no clock is set here.
KINDS = frozenset(Fault) - {Fault.SPLIT, Fault.RESET, Fault.CLOCK_JUMP, Fault.CLOCK_SKEW}
FAULTY = Intensity(kinds=KINDS, per_node_day=8.0)


def lfdi_of(name):
    return Lfdi(hashlib.sha256(name.encode()).hexdigest()[:40].upper())


class Courier:
    """Carries requests of one node to another as messages."""

    def __init__(self, node, target):
        self.node, self.target = node, target

    async def request(self, method, path, body=b""):
        answer = await self.node.call(self.target, (method, path, body))
        if isinstance(answer, LinkError):
            raise answer
        return answer

    async def close(self):
        pass


class Device:
    """A device that outlives every program that drives it."""

    def __init__(self):
        self.held = Setpoints()


class South:
    def __init__(self, device):
        self.device = device

    async def discover(self):
        return DeviceFacts(
            manufacturer="m",
            model="x",
            serial="1",
            version="1",
            nameplate={"rtg_max_w": Decimal(10_000)},
            settings={"set_max_w": Decimal(10_000)},
            functions=frozenset({"max_lim_w_pct", "connect"}),
        )

    async def apply(self, target, *, ramp_time_s=None, behind=None):
        self.device.held = target
        return ReadBack(setpoints=target, writes=1)

    async def measure(self):
        return [("w", 0, 70, 2), ("inverter_status", 0, 4, 0)], []

    async def close(self):
        pass


class Pace:
    poll_s, post_s = 120.0, 300.0

    def __init__(self, link):
        self.link = link


class Levels:
    """The three levels in one world; what is judged is what their disks hold in the end."""

    def __init__(self, seed):
        self.world = World(seed)
        self.stores = {name: MemoryStore() for name in ("utility", "substation", *LEAVES)}
        self.devices = {name: Device() for name in LEAVES}
        self.world.node("utility", self._utility)
        self.world.node("substation", self._substation)
        for name in LEAVES:
            self.world.node(name, self._leaf)
        links = [("substation", "utility"), *((name, "substation") for name in LEAVES)]
        self.world.draw_faults(links=links, hours=HOURS, intensity=FAULTY)

    def run(self):
        with self.world as world:
            world.run(HOURS + 1.5)
        return self

    def serving(self, name):
        """Give the serving half of a level as its disk has it."""
        state = Serving(
            party=PartyId(name), store=self.stores[name], clock=self.clock, random=self.world.random("judge"), pen=1
        )
        state.load()
        return state

    @property
    def clock(self):
        return self.world._machines["utility"].clock

    # --- the programs of the nodes --------------------------------------------------------------------------------

    def _serve(self, node):
        store = node.store(lambda: self.stores[node.name])
        state = Serving(party=PartyId(node.name), store=store, clock=node.clock, random=node.random, pen=1)
        state.load()
        server = Sep2Server(state, Views(state, Rates(poll_s=120, post_s=300)))

        async def handle(source, request):
            method, path, body = request
            at, _, query = path.partition("?")
            asked = Request(
                method=method,
                path=at,
                query=query,
                headers={"content-type": "application/sep+xml"} if body else {},
                body=body,
                peer=Peer(lfdi=lfdi_of(source), fingerprint="", address=""),
            )
            try:
                answer = server.handle(asked, node.clock.now())
                if isinstance(answer, Awaitable):
                    answer = await answer
            except LinkError as error:
                return error
            return HttpResponse(
                status=answer.status, headers={"location": answer.location}, body=answer.body, path=path
            )

        node.serve(handle)
        return state

    async def _utility(self, node):
        state = self._serve(node)
        await self._patiently(node, lambda: self._register(state))
        for name, members in SETS.items():
            await self._patiently(node, lambda name=name, members=members: self._group(state, name, members))
        draw = node.random
        while node.clock.deadline() < HOURS * 3600:
            await node.clock.sleep(draw.between(120, 900))
            await self._patiently(node, lambda: self._act(state, draw))
        await asyncio.Event().wait()

    async def _patiently(self, node, act):
        while True:
            try:
                await act()
            except LinkError:
                await node.clock.sleep(30)
            except (ConfigError, Conflict):
                return
            else:
                return

    async def _register(self, state):
        new = [registry.NewDevice(lfdi=lfdi_of("substation"), aggregates=PartyId("substation"))]
        new += [registry.NewDevice(lfdi=lfdi_of(name), managed_by=PartyId("substation")) for name in LEAVES]
        if not state.devices:
            await registry.register(OPERATOR, state, new)

    async def _group(self, state, name, members):
        if name in state.groups:
            return
        now, party = state.clock.now(), state.party
        group = Group(id=name, tier=Tier.NON_TOPOLOGY, name=name)
        put = [GroupRecord(party=party, group=group, created_at=now), programs.new_program(state, group)]
        for member in members:
            membership = Membership(
                der_id=state.identities[lfdi_of(member)].der_id,
                group_id=name,
                valid_from=now,
                valid_to=None,
                recorded_at=now,
            )
            put.append(MembershipRecord(party=party, membership=membership, cause="operator"))
        await state.commit(put)

    async def _act(self, state, draw):
        group = list(SETS)[draw.between(0, len(SETS) - 1)]
        setpoints = Setpoints.of({"max_lim_w_pct": Decimal(draw.between(0, 100))})
        what = draw.between(0, 9)
        if what == 0:
            await programs.set_default(OPERATOR, state, group, setpoints)
        elif what <= 2:
            now = state.clock.now()
            running = [
                record.mrid
                for served in state.programs.values()
                for record in served.controls.values()
                if record.control.interval.end > now and record.control.status is EventStatus.SCHEDULED
            ]
            if running:
                mrid = sorted(running)[draw.between(0, len(running) - 1)]
                await dispatch.cancel_control(OPERATOR, state, mrid, randomized=bool(draw.between(0, 1)))
        else:
            order = dispatch.Order(
                group_id=group,
                setpoints=setpoints,
                start=state.clock.now() + timedelta(seconds=draw.between(0, 1200)),
                duration_s=draw.between(60, 2400),
                randomize_start_s=draw.between(-60, 60),
            )
            await dispatch.create_control(OPERATOR, state, order)

    async def _substation(self, node):
        state = self._serve(node)
        entry = self._entry("substation", "utility")
        link = Sep2FleetNorth(courier=Courier(node, "utility"), entry=entry, clock=node.clock, store=state.store, pen=1)
        channel = RelayChannel(
            principal=Principal(party=PartyId("utility"), role=Role.UPSTREAM, name="utility"),
            relayed=Relayed.load(state.store, entry.channel, "take"),
            server=FleetLink(link=link, poll_override_s=None, woken=asyncio.Event()),
        )
        relaying = Relaying(serving=state, channels=[channel], clock=node.clock, random=node.random)
        await relaying.run()

    async def _leaf(self, node):
        store = node.store(lambda: self.stores[node.name])
        own = lfdi_of(node.name)
        link = Sep2North(
            courier=Courier(node, "substation"),
            entry=self._entry(node.name, "substation"),
            clock=node.clock,
            store=store,
            lfdi=own,
            pen=1,
        )
        me = Self(
            der_id=der_id(int(own[:16], 16)),
            lfdi=own,
            party=PartyId("owner"),
            channels=(
                Channel(id=ChannelId("substation"), party=PartyId("substation"), authority=Authority.UTILITY, rank=0),
            ),
            mode=ChannelMode.SINGLE,
            supersede_code="14",
            measure_s=600.0,
        )
        follower = Follower(
            me=me,
            south=South(self.devices[node.name]),
            servers={ChannelId("substation"): Pace(link)},
            store=store,
            clock=node.clock,
            random=node.random,
        )
        await follower.run()

    def _entry(self, name, above):
        return Entry(
            dcap="/dcap",
            lfdi=lfdi_of(name),
            channel=ChannelId(above),
            party=PartyId(above),
            server=f"{above}:443",
            server_lfdi=lfdi_of(above),
            pin=None,
        )


def answers(store):
    """Give what was answered, by whom, when; each once by the key of the record."""
    return sorted(
        (record.lfdi, record.mrid, record.status.value, record.created_at) for record in store.load(ResponseRecord)
    )


def told(store):
    """Give what a DER has answered by its own account."""
    return [
        (record.lfdi, record.mrid, record.status.value, record.created_at.replace(microsecond=0))
        for record in store.load(OutboxRecord)
    ]


def readings(serving):
    return {
        (serving.lfdi_of[record.reading.der_id], record.reading.point, record.reading.time, record.reading.value)
        for record in serving.store.load(ReadingRecord)
    }


def shown(serving, name, now):
    """Give what a DER is shown, free of what each server says in its own way."""
    found = {}
    for served in serving.programs_for(serving.identities[lfdi_of(name)].der_id):
        for record in served.controls.values():
            control = record.control
            if listed_until(control) > now:
                is_open = control.status in {EventStatus.SCHEDULED, EventStatus.ACTIVE, EventStatus.SUPERSEDED}
                found[control.mrid] = (
                    served.record.mrid,
                    served.record.primacy,
                    control.interval,
                    control.creation_time,
                    control.randomize_start_s,
                    control.setpoints,
                    None if is_open else (control.status, control.status_time),
                )
        found[served.record.mrid] = None if served.default is None else served.default.default.setpoints
    return found


@pytest.mark.simulation
@pytest.mark.parametrize("seed", range(1, 7))
def test_what_the_ders_answer_reaches_the_utility_once_whatever_fails(seed):
    with listening() as bugs:
        levels = Levels(seed).run()
    assert bugs == []
    utility, substation = levels.serving("utility"), levels.serving("substation")
    said = sorted(one for name in LEAVES for one in told(levels.stores[name]))
    assert len(said) > 10
    assert answers(levels.stores["substation"]) == said
    assert answers(levels.stores["utility"]) == said
    outbox = levels.stores["substation"].load(OutboxRecord)
    assert all(record.posted_at is not None for record in outbox)
    assert len(outbox) == len(said)
    for name in LEAVES:
        assert shown(substation, name, levels.clock.now()) == shown(utility, name, levels.clock.now())
    waiting = {
        (substation.lfdi_of[record.reading.der_id], record.reading.point, record.reading.time, record.reading.value)
        for record in levels.stores["substation"].load(BufferedReadingRecord)
    }
    assert readings(utility) | waiting == readings(substation)
    assert len(readings(utility)) > 100
    for name in ("utility", "substation"):
        assert faults(levels.stores[name].load(AuditRecord)) == []
    assert levels.world.faults[Fault.CRASH] > 0
