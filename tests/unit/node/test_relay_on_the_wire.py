"""Levels that speak IEEE 2030.5 to each other, byte for byte, in one process: a utility, relays, and a DER that obeys."""

import asyncio
import hashlib
import runpy
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tierline.env import SeededRandom
from tierline.model.control import Curve, CurvePoint, EventStatus, Reference, Setpoints
from tierline.model.errors import LinkError
from tierline.model.identity import ChannelId, Lfdi, Mrid, PartyId, der_id
from tierline.model.parties import Authority, Channel, ChannelMode, Principal, Role
from tierline.model.records import (
    AuditRecord,
    DerInfoKind,
    GroupRecord,
    MembershipRecord,
    ReadingRecord,
)
from tierline.model.topology import Group, Membership, Tier
from tierline.node.compose import Pace
from tierline.node.follower import Follower, Self
from tierline.node.notifying import Notifying
from tierline.node.relay_links import FleetLink
from tierline.node.relaying import RelayChannel, Relaying
from tierline.node.shared_channel import SharedChannel
from tierline.operations.relay.relayed import Relayed
from tierline.operations.serving import dispatch, registry, telemetry, topology
from tierline.operations.serving import programs as own_programs
from tierline.operations.serving.destinations import Destinations
from tierline.operations.serving.notices import Outbox
from tierline.operations.serving.state import Serving
from tierline.operations.serving.subscriptions import Subscriptions
from tierline.ports import DeviceFacts, ReadBack
from tierline.protocols.sep2.codec import parse, render
from tierline.protocols.sep2.fleet_north import Sep2FleetNorth
from tierline.protocols.sep2.follow.walk import Entry
from tierline.protocols.sep2.listener import NoticeListener
from tierline.protocols.sep2.mapping.carry import why_not
from tierline.protocols.sep2.north import Sep2North
from tierline.protocols.sep2.notifier import Locator, Notifier
from tierline.protocols.sep2.resources.der import DERStatus
from tierline.protocols.sep2.resources.exchange import DERControlResponse
from tierline.protocols.sep2.server import Sep2Server
from tierline.protocols.sep2.transport import HttpResponse, Peer, Request
from tierline.protocols.sep2.views import Rates, Views
from tierline.sim.loop import VirtualClock, VirtualLoop
from tierline.storage.memory import MemoryStore

OPERATOR = Principal(party=PartyId("utility"), role=Role.OPERATOR, name="ada")
LEAVES = [Lfdi(f"{number:02X}" * 20) for number in range(1, 4)]
PEN = 37244
VOLT_VAR = Curve(
    mrid=Mrid("0" * 32),
    points=tuple(CurvePoint(x=Decimal(x), y=Decimal(y)) for x, y in ((92, 44), (98, 0), (102, 0), (108, -44))),
    y_reference=Reference.SET_MAX_VAR,
)


class Wire:
    """Carries the requests of one peer to one server; it can be cut."""

    def __init__(self, level, lfdi):
        self.level, self.lfdi = level, lfdi
        self.is_cut = False
        self.log = Counter()

    async def request(self, method, path, body=b""):
        if self.is_cut:
            raise LinkError("no route to host")
        at, _, query = path.partition("?")
        request = Request(
            method=method,
            path=at,
            query=query,
            headers={"content-type": "application/sep+xml"} if body else {},
            body=body,
            peer=Peer(lfdi=self.lfdi, fingerprint=self.lfdi, address="192.0.2.9"),
        )
        self.log[method] += 1
        answer = self.level.server.handle(request, self.level.world.clock.now())
        if asyncio.iscoroutine(answer):
            answer = await answer
        return HttpResponse(status=answer.status, headers={"location": answer.location}, body=answer.body, path=path)

    async def close(self):
        pass


HOSTS = [f"192.0.2.{number}" for number in range(10, 20)]


class Line:
    """A line from a level to a listener."""

    def __init__(self, level, destination):
        self.level, self.destination = level, destination

    async def post(self, path, body):
        listener = self.level.world.listeners[self.destination.host]
        request = Request(
            method="POST",
            path=path,
            query="",
            headers={"content-type": "application/sep+xml"},
            body=body,
            peer=Peer(lfdi=self.level.lfdi, fingerprint="", address="192.0.2.1"),
        )
        return listener.handle(request, self.level.world.clock.now()).status

    async def aclose(self):
        pass


class World:
    def __init__(self):
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop)
        self.tasks = []
        self.listeners = {}

    def do(self, work):
        return self.loop.run_until_complete(work)

    def wait(self, seconds):
        self.do(asyncio.sleep(seconds))

    def run(self, work):
        self.tasks.append(self.loop.create_task(work))
        return self.tasks[-1]

    def close(self):
        async def end():
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

        self.do(end())
        self.loop.close()


class Level:
    """A node that serves IEEE 2030.5, and relays what the level above shows."""

    def __init__(self, world, name, above=None, enrol="offer", store=None, life=0, poll_s=60, tells=False, **more):
        self.world, self.name, self.enrol = world, name, enrol
        self.lfdi = Lfdi(hashlib.sha256(name.encode()).hexdigest()[:40].upper())
        self.serving = Serving(
            party=PartyId(name),
            store=store or MemoryStore(),
            clock=world.clock,
            random=SeededRandom(f"{name}/{life}"),
            pen=PEN,
            carriers=[why_not],
            **more,
        )
        self.serving.load()
        views = Views(self.serving, Rates(poll_s=poll_s, post_s=60))
        subscriptions = self._telling(views) if tells else None
        self.server = Sep2Server(self.serving, views, subscriptions)
        self.above, self.tells = above, tells
        if above is not None:
            if self.lfdi not in above.serving.identities:
                world.do(above.register(self.lfdi, aggregates=PartyId(name)))
            self._relay(above)

    def _telling(self, views):
        """Tell subscribers of changes, over lines that lead to the listeners of this world."""

        async def resolve(host):
            return [host]

        destinations = Destinations(frozenset((host, 8444) for host in HOSTS), resolve)
        subscriptions = Subscriptions(self.serving, destinations, Locator(self.serving))
        who = Principal(party=PartyId(self.name), role=Role.SELF, name=self.name)
        task = Notifying(
            subscriptions=subscriptions,
            outbox=Outbox(who, self.serving, subscriptions),
            destinations=destinations,
            notifier=Notifier(views.resource),
            dial=lambda destination, _address, _may_hear: Line(self, destination),
            clock=self.world.clock,
        )
        self.world.run(task.run())
        return subscriptions

    def _relay(self, above):
        self.wire = Wire(above, self.lfdi)
        entry = self.entry(self.lfdi, above)
        host, woken, links, uri = HOSTS[len(self.world.listeners)], asyncio.Event(), [], None
        if above.tells:
            listener = self.world.listeners[host] = NoticeListener(f"https://{host}:8444", host)
            uri = listener.register(entry.channel, above.lfdi, lambda notice: (links[0].hear(notice), woken.set()))
        link = Sep2FleetNorth(
            courier=self.wire,
            entry=entry,
            clock=self.world.clock,
            store=self.serving.store,
            pen=PEN,
            notification_uri=uri,
        )
        links.append(link)
        self.relayed = Relayed.load(self.serving.store, entry.channel, self.enrol)
        self.relaying = Relaying(
            serving=self.serving,
            channels=[
                RelayChannel(
                    principal=Principal(party=PartyId(above.name), role=Role.UPSTREAM, name=above.name),
                    relayed=self.relayed,
                    server=FleetLink(link=link, poll_override_s=None, woken=woken),
                )
            ],
            clock=self.world.clock,
            random=SeededRandom(1),
        )
        self.task = self.world.run(self.relaying.run())

    def entry(self, lfdi, above):
        return Entry(
            dcap="/dcap",
            lfdi=lfdi,
            channel=ChannelId(above.name),
            party=PartyId(above.name),
            server="192.0.2.1:8443",
            server_lfdi=above.lfdi,
            pin=None,
        )

    async def register(self, *lfdis, **parts):
        await registry.register(OPERATOR, self.serving, [registry.NewDevice(lfdi=lfdi, **parts) for lfdi in lfdis])

    def der(self, lfdi):
        return registry.device_of(self.serving, lfdi).der_id

    async def group(self, name, lfdis):
        """Make a group with a program of its own."""
        now, party = self.serving.clock.now(), self.serving.party
        group = Group(id=name, tier=Tier.NON_TOPOLOGY, name=name)
        put = [
            GroupRecord(party=party, group=group, created_at=now),
            own_programs.new_program(self.serving, group),
        ]
        for lfdi in lfdis:
            membership = Membership(
                der_id=self.der(lfdi), group_id=group.id, valid_from=now, valid_to=None, recorded_at=now
            )
            put.append(MembershipRecord(party=party, membership=membership, cause="operator"))
        await self.serving.commit(put)

    async def let_go(self, group, lfdi):
        move = topology.Move(der_id=self.der(lfdi), leaves=(group,), joins=())
        await self.serving.commit(topology.membership_records(self.serving, [move], "operator"))

    async def order(self, group, setpoints, *, start_s=600, duration_s=900, **more):
        order = dispatch.Order(
            group_id=group,
            setpoints=Setpoints.of(setpoints),
            start=self.world.clock.now() + timedelta(seconds=start_s),
            duration_s=duration_s,
            **more,
        )
        return (await dispatch.create_control(OPERATOR, self.serving, order)).control

    def shown(self, lfdi):
        """Walk as a DER does and give what is seen, free of who brought it."""
        north = Sep2North(
            courier=Wire(self, lfdi),
            entry=self.entry(lfdi, self),
            clock=self.world.clock,
            store=MemoryStore(),
            lfdi=lfdi,
            pen=PEN,
        )
        seen = self.world.do(north.walk())
        return [
            replace(
                program,
                controls=tuple(replace(control, provenance=None) for control in program.controls),
                default=program.default and replace(program.default, provenance=None),
            )
            for program in seen.programs
        ]

    def answers(self, mrid):
        return sorted(status for _, status in self.serving.responses.get(mrid, {}))


class Device:
    """A device that holds what it was told."""

    def __init__(self):
        self.held = Setpoints()

    async def discover(self):
        return DeviceFacts(
            manufacturer="m",
            model="x",
            serial="1",
            version="1",
            nameplate={"rtg_max_w": Decimal(10_000)},
            settings={"set_max_w": Decimal(10_000)},
            functions=frozenset({"max_lim_w_pct", "volt_var"}),
        )

    async def apply(self, target, *, ramp_time_s=None, behind=None):
        self.held = target
        return ReadBack(setpoints=target, writes=1)

    async def measure(self):
        return [("w", 0, 70, 2), ("inverter_status", 0, 4, 0)], []

    async def close(self):
        pass


class Leaf:
    """A DER below a level."""

    def __init__(self, level, lfdi, *others):
        world = level.world
        self.south = Device()
        store = MemoryStore()
        paces = {one.name: self._pace(one, lfdi, store, level) for one in (level, *others)}
        channel = Channel(id=ChannelId(level.name), party=PartyId(level.name), authority=Authority.UTILITY, rank=0)
        me = Self(
            der_id=der_id(1),
            lfdi=lfdi,
            party=PartyId("owner"),
            channels=(channel,),
            mode=ChannelMode.SINGLE,
            supersede_code="14",
            measure_s=60.0,
        )

        server = self.server = SharedChannel(channel.id, paces) if others else paces[level.name]
        follower = Follower(
            me=me,
            south=self.south,
            servers={channel.id: server},
            store=store,
            clock=world.clock,
            random=SeededRandom(2),
        )
        world.run(follower.run())

    def shown_by(self):
        """Give which of its servers showed it assignments last."""
        return self.server._showing

    def _pace(self, level, lfdi, store, first):
        entry = replace(
            level.entry(lfdi, level), channel=ChannelId(first.name), party=PartyId(first.name), server=f"{level.name}:1"
        )
        wire = Wire(level, lfdi)
        return Pace(
            link=Sep2North(courier=wire, entry=entry, clock=level.world.clock, store=store, lfdi=lfdi, pen=PEN),
            poll_override_s=60,
            measure_s=60.0,
        )


@pytest.fixture
def world():
    made = World()
    yield made
    made.close()


@pytest.fixture
def utility(world):
    return Level(world, "utility")


def test_a_gateway_below_a_substation_obeys_the_utility(world, utility):
    world.do(utility.register(*LEAVES, managed_by=PartyId("substation")))
    substation = Level(world, "substation", utility, "take")
    world.wait(70)
    assert [registry.device_of(substation.serving, lfdi).pin for lfdi in LEAVES] == [
        registry.device_of(utility.serving, lfdi).pin for lfdi in LEAVES
    ]
    world.do(utility.group("g", LEAVES[:2]))
    leaf, other = Leaf(substation, LEAVES[0]), Leaf(substation, LEAVES[2])
    control = world.do(utility.order("g", {"max_lim_w_pct": Decimal(50), "volt_var": VOLT_VAR}, randomize_start_s=30))
    world.wait(200)
    assert substation.shown(LEAVES[0]) == utility.shown(LEAVES[0]) != []
    assert utility.answers(control.mrid) == [1]
    world.wait(600)
    assert leaf.south.held["max_lim_w_pct"] == 50
    assert leaf.south.held["volt_var"].points == VOLT_VAR.points
    assert "max_lim_w_pct" not in other.south.held
    assert utility.answers(control.mrid) == [1, 2]
    assert substation.shown(LEAVES[0]) == utility.shown(LEAVES[0])
    world.wait(900)
    assert utility.answers(control.mrid) == [1, 2, 3]
    (answer, *_) = utility.serving.responses[control.mrid].values()
    assert answer.lfdi == LEAVES[0]
    readings = [
        record.reading
        for record in utility.serving.store.load(ReadingRecord)
        if record.reading.der_id == utility.der(LEAVES[0])
    ]
    assert len({reading.time for reading in readings}) == len(readings) > 10
    info = utility.serving.infos[utility.der(LEAVES[0]), DerInfoKind.CAPABILITY]
    assert info.document == substation.serving.infos[substation.der(LEAVES[0]), DerInfoKind.CAPABILITY].document


def test_three_relays_below_each_other_enrol_and_pass_everything_through(world, utility):
    levels = [utility]
    for name in ("region", "aggregator", "facility"):
        levels.append(Level(world, name, levels[-1]))
    lowest = levels[-1]
    world.do(lowest.register(*LEAVES))
    world.wait(400)
    assert all(registry.device_of(utility.serving, lfdi) for lfdi in LEAVES)
    leaf = Leaf(lowest, LEAVES[0])
    world.do(utility.group("g", LEAVES[:1]))
    world.do(own_programs.set_default(OPERATOR, utility.serving, "g", Setpoints.of({"max_lim_w_pct": Decimal(90)})))
    control = world.do(utility.order("g", {"max_lim_w_pct": Decimal(30)}, randomize_start_s=-10))
    world.wait(400)
    assert leaf.south.held["max_lim_w_pct"] == 90
    world.wait(250)
    assert leaf.south.held["max_lim_w_pct"] == 30
    for level in levels:
        assert level.shown(LEAVES[0]) == utility.shown(LEAVES[0]) != []
        assert level.shown(LEAVES[1]) == []
    world.do(dispatch.cancel_control(OPERATOR, utility.serving, control.mrid))
    world.wait(300)
    assert leaf.south.held["max_lim_w_pct"] == 90
    for level in levels:
        assert level.answers(control.mrid) == [1, 2, 6]
        assert level.shown(LEAVES[0]) == utility.shown(LEAVES[0])
        assert level.shown(LEAVES[0])[0].controls[0].status is EventStatus.CANCELLED
    world.wait(1200)
    for level in levels:
        assert {record.reading.point for record in level.serving.store.load(ReadingRecord)} == {"w"}


def test_a_relay_that_is_cut_off_and_restarted_reconciles_once(world, utility):
    world.do(utility.register(*LEAVES, managed_by=PartyId("substation")))
    substation = Level(world, "substation", utility, "take")
    world.do(utility.group("g", LEAVES))
    world.wait(70)
    leaf = Leaf(substation, LEAVES[0])
    control = world.do(utility.order("g", {"max_lim_w_pct": Decimal(50)}, start_s=400, duration_s=2000))
    world.wait(300)
    assert utility.answers(control.mrid) == [1]
    substation.wire.is_cut = True
    second = world.do(utility.order("g", {"max_lim_w_pct": Decimal(20)}, start_s=1200, duration_s=600))
    world.wait(300)
    assert leaf.south.held["max_lim_w_pct"] == 50, "it goes on with what it knew"
    assert utility.answers(control.mrid) == [1]
    substation.task.cancel()
    world.wait(1)
    again = Level(world, "substation", utility, "take", store=substation.serving.store, life=1)
    substation.server = again.server  # the leaf finds it at the same address
    world.wait(300)
    assert utility.answers(control.mrid) == [1, 2]
    assert utility.answers(second.mrid) == [1]
    world.wait(700)
    assert leaf.south.held["max_lim_w_pct"] == 20
    assert utility.answers(control.mrid) == [1, 2, 7]
    assert again.shown(LEAVES[0]) == utility.shown(LEAVES[0])


def two_substations(world):
    """Make a utility whose feeders are served by west and east: the first leaf is fed by east, the second by west."""
    grid = runpy.run_path(str(Path(__file__).parents[1] / "conftest.py"))["small_grid"]()
    points = {"feeder-1": PartyId("west"), "feeder-2": PartyId("east")}
    utility = Level(world, "utility", grid=grid, control_points=points)
    world.do(topology.adopt_grid(OPERATOR, utility.serving))
    world.do(utility.register(LEAVES[0], service_point="pv-4"))
    world.do(utility.register(LEAVES[1], service_point="pv-1"))
    west, east = Level(world, "west", utility, "take"), Level(world, "east", utility, "take")
    world.wait(130)
    return utility, west, east


def refused(level):
    """Count what a level has refused, Forbidden or not there."""
    return sum(count for (_, status), count in level.server.requests.items() if status in {403, 404})


def test_a_der_that_a_substation_could_feed_is_known_there_and_shown_nothing(world):
    utility, west, east = two_substations(world)
    leaf = Leaf(utility, LEAVES[0], west, east)
    world.wait(600)
    assert set(west.serving.identities) == set(east.serving.identities) == set(LEAVES[:2])
    assert (west.shown(LEAVES[0]), east.shown(LEAVES[1])) == ([], [])
    assert leaf.shown_by() == ("east",)
    assert refused(west) == refused(east) == 0
    assert utility.serving.standing.handed_over == {
        utility.der(LEAVES[0]): {"east"},
        utility.der(LEAVES[1]): {"west"},
    }


def test_what_a_substation_holds_of_a_der_that_moves_away_meanwhile_reaches_the_utility(world):
    utility, west, east = two_substations(world)
    leaf = Leaf(utility, LEAVES[0], west, east)
    group = topology.find_group(utility.serving, "system").group.id
    control = world.do(utility.order(group, {"max_lim_w_pct": Decimal(50)}, start_s=1200, duration_s=3000))
    world.wait(900)
    assert leaf.shown_by() == ("east",)
    assert utility.answers(control.mrid) == [1]
    cut_at = world.clock.now()
    east.wire.is_cut = True
    world.wait(600)
    assert utility.answers(control.mrid) == [1], "that it has begun is known to east only"
    world.do(topology.confirm_switching(OPERATOR, utility.serving, {2: False, 3: True}))
    world.wait(300)
    assert "west" in leaf.shown_by(), "it is bound there at once"
    moved_at = world.clock.now()
    assert east.relaying.waiting_responses() == 1
    mine = utility.der(LEAVES[0])

    def measured():
        records = utility.serving.store.load(ReadingRecord)
        found = [(one.reading.point, one.reading.time) for one in records if one.reading.der_id == mine]
        assert len(found) == len(set(found))
        return [time for _, time in found if cut_at < time < moved_at]

    before = measured()
    east.wire.is_cut = False
    world.wait(400)
    assert utility.answers(control.mrid) == [1, 2]
    assert east.relaying.waiting_responses() == 0
    assert len(measured()) >= len(before) + 8, "what was measured while east was cut off"
    assert not east.relaying._buffer.count(ChannelId("utility"))
    assert east.shown(LEAVES[0]) == []
    assert leaf.south.held["max_lim_w_pct"] == 50
    assert refused(utility) == 0
    said = [line for line in utility.serving.store.load(AuditRecord) if line.verb == "respond"]
    assert [(line.party, line.resource, line.outcome) for line in said] == [
        ("east", f"device {mine}", "taken in doubt")
    ], "who handed on what was under way is written down"


def test_a_response_is_taken_where_its_event_was_shown_and_through_whoever_fed_the_der(world):
    utility, west, east = two_substations(world)
    group = topology.find_group(utility.serving, "system").group.id
    control = world.do(utility.order(group, {"max_lim_w_pct": Decimal(50)}, start_s=1200, duration_s=3000))
    world.wait(130)
    assert west.serving.control(control.mrid).control == east.serving.control(control.mrid).control

    def answer(level, lfdi, status):
        said = DERControlResponse(
            created_date_time=int(world.clock.now().timestamp()),
            end_device_lfdi=LEAVES[0],
            status=status,
            subject=control.mrid,
        )
        return world.do(Wire(level, lfdi).request("POST", "/rsps/r/rsp", render(said))).status

    assert answer(utility, west.lfdi, 1) == 403
    assert answer(west, LEAVES[0], 1) == 400, "the DER goes on to its next server"
    assert answer(utility, east.lfdi, 1) == answer(east, LEAVES[0], 2) == answer(utility, LEAVES[0], 3) == 201
    world.wait(130)
    assert utility.answers(control.mrid) == [1, 2, 3]


@pytest.mark.parametrize("is_seen_first", [True, False])
def test_what_a_der_said_at_its_new_substation_stays_when_the_old_one_is_restarted(world, is_seen_first):
    utility, west, east = two_substations(world)
    first = LEAVES[0]

    def say(level, time):
        document = render(DERStatus(reading_time=time))
        who = Principal(party=PartyId(level.name), role=Role.DEVICE, name=first, lfdi=first)
        world.do(telemetry.put_info(who, level.serving, level.der(first), DerInfoKind.STATUS, document))
        world.wait(130)

    def known():
        return parse(utility.serving.infos[utility.der(first), DerInfoKind.STATUS].document, DERStatus).reading_time

    say(east, 1)
    assert known() == 1
    east.wire.is_cut = not is_seen_first
    world.do(topology.confirm_switching(OPERATOR, utility.serving, {2: False, 3: True}))
    say(east, 2)
    say(west, 3)
    assert known() == 3
    east.task.cancel()
    world.wait(1)
    again = Level(world, "east", utility, "take", store=east.serving.store, life=1)
    world.wait(400)
    assert again.relaying.unwalked() == []
    assert known() == 3, "the older one is not handed on"
    world.do(topology.confirm_switching(OPERATOR, utility.serving, {2: True, 3: False}))
    world.wait(130)
    say(again, 4)
    assert known() == 4, "who is back is described from there again"


def test_what_was_said_before_a_move_and_comes_after_what_was_said_since_is_not_taken(world):
    utility, west, east = two_substations(world)

    def say(level, time):
        who = Principal(party=PartyId(level.name), role=Role.DEVICE, name="", lfdi=LEAVES[0])
        document = render(DERStatus(reading_time=time))
        world.do(telemetry.put_info(who, level.serving, level.der(LEAVES[0]), DerInfoKind.STATUS, document))

    east.wire.is_cut = True
    say(east, 1)
    world.wait(60)
    world.do(topology.confirm_switching(OPERATOR, utility.serving, {2: False, 3: True}))
    world.wait(130)
    say(west, 2)
    world.wait(130)
    walk = east.relaying._links[0].walking
    world.do(walk.acquire())  # its walk comes last
    east.wire.is_cut = False
    world.wait(400)
    assert refused(utility) > 0
    walk.release()
    before = refused(utility)
    world.wait(400)
    document = utility.serving.infos[utility.der(LEAVES[0]), DerInfoKind.STATUS].document
    assert parse(document, DERStatus).reading_time == 2
    assert refused(utility) == before, "it does not try again once it knows"


def test_a_der_that_is_fed_another_way_goes_on_with_the_event_at_another_substation(world):
    utility, west, east = two_substations(world)
    leaf = Leaf(utility, LEAVES[0], west, east)

    def group(name):
        return topology.find_group(utility.serving, name).group.id

    everywhere = world.do(utility.order(group("system"), {"max_lim_w_pct": Decimal(50)}, duration_s=3000))
    here = world.do(utility.order(group("feeder-2"), {"volt_var": VOLT_VAR}, duration_s=3000))
    world.wait(800)
    assert set(leaf.south.held) == {"max_lim_w_pct", "volt_var"}
    assert utility.shown(LEAVES[0]) == west.shown(LEAVES[1])[:0], "the substation shows it, the utility does not"
    held = []
    apply = leaf.south.apply

    async def watched(target, **more):
        held.append(set(target))
        return await apply(target, **more)

    leaf.south.apply = watched
    world.do(topology.confirm_switching(OPERATOR, utility.serving, {2: False, 3: True}))
    world.wait(300)
    assert set(leaf.south.held) == {"max_lim_w_pct"}
    assert all("max_lim_w_pct" in target for target in held), "what holds everywhere is never let go"
    assert LEAVES[0] in west.serving.identities
    assert east.shown(LEAVES[0]) == []
    assert {program.mrid for program in west.shown(LEAVES[0])} == {
        served.record.mrid for served in utility.serving.programs_for(utility.der(LEAVES[0]))
    }
    world.wait(3000)
    assert [status for der, status in utility.serving.responses[everywhere.mrid] if der == utility.der(LEAVES[0])] == [
        1,
        2,
        3,
    ]
    assert utility.answers(here.mrid) == [1, 2], "who left does not answer any more"
    readings = [
        (record.reading.point, record.reading.time)
        for record in utility.serving.store.load(ReadingRecord)
        if record.reading.der_id == utility.der(LEAVES[0])
    ]
    assert len(readings) == len(set(readings)) > 40


def test_notices_run_down_through_relays_in_seconds(world):
    levels = [Level(world, "utility", tells=True, poll_s=900)]
    for name in ("region", "aggregator", "facility"):
        levels.append(Level(world, name, levels[-1], tells=True, poll_s=900))
    utility, lowest = levels[0], levels[-1]
    world.do(lowest.register(*LEAVES))
    world.wait(1000)
    world.do(utility.group("g", LEAVES[:2]))
    world.wait(30)
    program = utility.shown(LEAVES[0])[0].mrid
    assert [one.mrid for one in lowest.shown(LEAVES[0])] == [program]
    world.wait(1000)  # until the new program is subscribed to
    control = world.do(utility.order("g", {"max_lim_w_pct": Decimal(30)}))
    world.do(own_programs.set_default(OPERATOR, utility.serving, "g", Setpoints.of({"max_lim_w_pct": Decimal(90)})))
    world.wait(30)
    assert lowest.shown(LEAVES[0]) == utility.shown(LEAVES[0])
    assert lowest.shown(LEAVES[0])[0].default is not None
    assert lowest.shown(LEAVES[0])[0].controls[0].mrid == control.mrid
    world.do(dispatch.cancel_control(OPERATOR, utility.serving, control.mrid))
    world.do(utility.let_go("g", LEAVES[1]))
    world.wait(30)
    assert lowest.shown(LEAVES[0])[0].controls[0].status is EventStatus.CANCELLED
    assert lowest.shown(LEAVES[1]) == []
    world.do(utility.let_go("g", LEAVES[0]))
    world.wait(30)
    assert [level.shown(LEAVES[0]) for level in levels] == [[]] * 4
