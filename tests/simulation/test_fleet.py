"""A market, an aggregator that obeys it with a fleet, and the members of that fleet: all of it real but for the sockets."""

import asyncio
import inspect
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tierline.env import SeededRandom
from tierline.model.control import Setpoints
from tierline.model.errors import TierlineError
from tierline.model.identity import ChannelId, DerId, Lfdi, PartyId
from tierline.model.parties import Authority, Channel, ChannelMode, Principal, Role
from tierline.model.records import AuditRecord, DerInfoKind
from tierline.model.telemetry import Quality
from tierline.node.compose import Pace
from tierline.node.config import parse_config
from tierline.node.fleet_device import fleet_of
from tierline.node.follower import Follower, Self
from tierline.operations.serving import dispatch, groups, registry
from tierline.operations.serving.audit import faults
from tierline.operations.serving.state import Serving
from tierline.ports import DeviceFacts, ReadBack
from tierline.protocols.sep2.follow.walk import Entry
from tierline.protocols.sep2.mapping.described import read_told
from tierline.protocols.sep2.north import Sep2North
from tierline.protocols.sep2.server import Sep2Server
from tierline.protocols.sep2.transport import Peer, Request, Response
from tierline.protocols.sep2.views import Rates, Views
from tierline.sim.loop import VirtualClock, VirtualLoop
from tierline.storage.memory import MemoryStore

pytestmark = pytest.mark.simulation

OPERATOR = Principal(party=PartyId("iso"), role=Role.OPERATOR, name="ada")
AGGREGATOR = Lfdi("AA" * 20)
POLL_S, POST_S = 60, 60
RATINGS_W = [10_000, 20_000, 30_000, 5000, 15_000, 20_000]

CONFIG = """
[node]
name = "aggregator"
level = 3
party = "sunny"
[identity]
pen = 37250
[tls]
certificate = "a.pem"
key = "a.key"
anchors = ["root.pem"]
[serve.sep2]
listen = ["127.0.0.1:8443"]
poll_rate_s = 60
post_rate_s = 60
[[north]]
protocol = "sep2"
channel = "market"
party = "iso"
server = "https://127.0.0.1:9443/dcap"
[fleet]
group = "all"
min_cell = 3
"""
GRANT = """
[[grant]]
party = "iso"
functions = ["target_w"]
power_w = 100_000
until = 2027-01-01T00:00:00Z
"""


class Courier:
    """Carries requests to a server in memory, as the peer that it belongs to."""

    def __init__(self, server_now, lfdi, clock):
        self.server_now, self.clock = server_now, clock
        self.peer = Peer(lfdi=lfdi, fingerprint="00" * 32, address="192.0.2.1")

    async def request(self, method, path, body=b""):
        await asyncio.sleep(0.01)
        at, _, query = path.partition("?")
        headers = {"content-type": "application/sep+xml"} if body else {}
        request = Request(method=method, path=at, query=query, headers=headers, body=body, peer=self.peer)
        try:
            answer = self.server_now().handle(request, self.clock.now())
            return await answer if inspect.isawaitable(answer) else answer
        except TierlineError as error:
            return Response(status=400, body=str(error).encode())

    async def close(self):
        pass


@dataclass
class Inverter:
    """A device that takes some time to do what it is told, or never does."""

    rating_w: int
    follows: float = 1.0
    watts: float = 0.0

    async def discover(self):
        return DeviceFacts(
            manufacturer="tests",
            model="inverter",
            serial="1",
            version="1",
            nameplate={"rtg_max_w": Decimal(self.rating_w)},
            settings={"set_max_w": Decimal(self.rating_w)},
            functions=frozenset({"target_w", "max_lim_w_pct"}),
        )

    async def apply(self, target, *, ramp_time_s=None, behind=None):
        self.held = target
        return ReadBack(setpoints=target, writes=1)

    async def measure(self):
        told = float(getattr(self, "held", {}).get("target_w", self.rating_w * 0.8))
        self.watts += self.follows * (told - self.watts)
        return [("w", 0, round(self.watts), 0)], []

    async def close(self):
        pass


class Hierarchy:
    """Level 5, 3 and 2 on one virtual clock."""

    def __init__(self, config):
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop)
        self.stores = {name: MemoryStore() for name in ("iso", "sunny", "fleet")}
        self.market, self.market_server = self.serve("iso", 37244)
        self.parsed = parse_config(config, Path("a.toml"))
        self.inverters = [Inverter(rating_w) for rating_w in RATINGS_W]
        self.lfdis = [Lfdi(f"{number:02X}" * 20) for number in range(1, len(RATINGS_W) + 1)]
        self.start()
        self.members = [
            self.follower(inverter, lfdi, lambda: self.fleet_server, "sunny", "sunny", number)
            for number, (inverter, lfdi) in enumerate(zip(self.inverters, self.lfdis, strict=True), 1)
        ]

    def start(self):
        """Let the aggregator begin, from what is durable."""
        self.fleet_half, self.fleet_server = self.serve("sunny", 37250)
        self.fleet_half.consequences.append(groups.joining(self.fleet_half))
        me = Principal(party=PartyId("sunny"), role=Role.SELF, name="aggregator")
        self.fleet = fleet_of(self.parsed, self.parsed.fleet, self.parsed.serve.sep2, self.fleet_half, me)
        self.aggregator = self.follower(
            self.fleet, AGGREGATOR, lambda: self.market_server, "market", "iso", 0, store=self.stores["fleet"]
        )

    def serve(self, party, pen):
        state = Serving(
            party=PartyId(party),
            store=self.stores[party],
            clock=self.clock,
            random=SeededRandom(f"{party}/{self.loop.time()}"),
            pen=pen,
        )
        state.load()
        return state, Sep2Server(state, Views(state, Rates(poll_s=POLL_S, post_s=POST_S)))

    def follower(self, south, lfdi, server, channel, party, number, *, store=None):
        store, random = MemoryStore() if store is None else store, SeededRandom(number)
        entry = Entry(
            dcap="/dcap",
            lfdi=lfdi,
            channel=ChannelId(channel),
            party=PartyId(party),
            server="192.0.2.1:8443",
            server_lfdi=None,
            pin=None,
        )
        north = Sep2North(
            courier=Courier(server, lfdi, self.clock), entry=entry, clock=self.clock, store=store, lfdi=lfdi, pen=1
        )
        own = Channel(id=ChannelId(channel), party=PartyId(party), authority=Authority.UTILITY, rank=0)
        me = Self(
            der_id=DerId(f"device{number}"),
            lfdi=lfdi,
            party=PartyId(party),
            channels=(own,),
            mode=ChannelMode.SINGLE,
            supersede_code="14",
            measure_s=20.0,
            phase_s=float(number * 7 % POLL_S),
        )
        server_of = Pace(link=north, poll_override_s=None, measure_s=20.0)
        return Follower(
            me=me,
            south=south,
            servers={ChannelId(channel): server_of},
            store=store,
            clock=self.clock,
            random=random,
        )

    async def register(self):
        new = registry.NewDevice(lfdi=AGGREGATOR)
        await registry.register(OPERATOR, self.market, [new])
        self.dispatched = await groups.create_group(OPERATOR, self.market, "resources", everybody=True)
        await registry.register(OPERATOR, self.fleet_half, [registry.NewDevice(lfdi=lfdi) for lfdi in self.lfdis])

    async def send(self, start_s, duration_s, **setpoints):
        order = dispatch.Order(
            group_id=self.dispatched.group.id,
            setpoints=Setpoints.of(setpoints),
            start=self.clock.now() + timedelta(seconds=start_s),
            duration_s=duration_s,
        )
        return (await dispatch.create_control(OPERATOR, self.market, order)).control

    def run(self, scene):
        async def main():
            await self.register()
            self.tasks = [self.loop.create_task(one.run()) for one in (self.aggregator, *self.members)]
            try:
                await scene(self)
            finally:
                for task in self.tasks:
                    task.cancel()
                await asyncio.wait(self.tasks)
            for task in self.tasks:
                if not task.cancelled():
                    task.result()

        with capture_logs() as logs:
            self.loop.run_until_complete(main())
        return logs

    async def restart(self, away_s):
        """Let the aggregator die and come back: only what is durable is left."""
        dead = self.tasks.pop(0)
        dead.cancel()
        await asyncio.wait([dead])
        await asyncio.sleep(away_s)
        self.start()
        self.tasks.insert(0, self.loop.create_task(self.aggregator.run()))

    def answers(self, mrid):
        return sorted(int(status) for _, status in self.market.responses.get(mrid, {}))

    @property
    def watts(self):
        return sum(inverter.watts for inverter in self.inverters)

    def derived(self, mrid):
        return [
            control
            for served in self.fleet_half.programs.values()
            for control in (record.control for record in served.controls.values())
            if control.provenance.derived_from == mrid
        ]


@pytest.fixture
def hierarchy():
    made = []

    def make(config=CONFIG + GRANT):
        made.append(Hierarchy(config))
        return made[-1]

    yield make
    for one in made:
        one.loop.close()


def test_a_target_of_the_market_is_reached_by_the_members_and_answered_by_the_fleet(hierarchy):
    chain = hierarchy()
    seen = {}

    async def scene(chain):
        await asyncio.sleep(600)  # the members were measured, the market was told of the fleet
        control = await chain.send(120, 3600, target_w=Decimal(40_000))
        await asyncio.sleep(1500)
        seen["during"] = chain.watts
        (told,) = [record for (_, point, _), record in chain.market.latest.items() if point == "w"]
        seen["told"] = told.reading
        seen["derived"] = chain.derived(control.mrid)
        await asyncio.sleep(3000)
        seen["after"] = chain.watts
        seen["answers"] = chain.answers(control.mrid)
        seen["control"] = control

    chain.run(scene)
    assert seen["during"] == pytest.approx(40_000, rel=0.02)
    assert float(seen["told"].scaled) == pytest.approx(40_000, rel=0.02)
    assert Quality.DERIVED in seen["told"].quality
    parent = seen["control"]
    assert len(seen["derived"]) == len(RATINGS_W)
    for control in seen["derived"]:
        assert control.mrid[:16] == parent.mrid[:16]
        assert control.interval.end <= parent.interval.end
        answers = chain.fleet_half.responses[control.mrid]
        assert sorted(int(status) for _, status in answers) in ([1, 2, 3], [1, 2, 6])
        assert len({der for der, _ in answers}) == 1, "nobody else was shown it"
    assert seen["answers"] == [1, 2, 3]
    assert seen["after"] == pytest.approx(0.8 * sum(RATINGS_W), rel=0.02)


@pytest.mark.parametrize("away_s", [1, 400])
def test_a_fleet_that_comes_back_goes_on_where_it_was(hierarchy, away_s):
    chain = hierarchy()
    seen = {}

    async def scene(chain):
        await asyncio.sleep(600)
        control = await chain.send(120, 3600, target_w=Decimal(40_000))
        await asyncio.sleep(1000)
        seen["before"] = {one.mrid for one in chain.derived(control.mrid)}
        await chain.restart(away_s)
        seen["held"] = chain.watts
        await asyncio.sleep(900)
        seen["during"] = chain.watts
        seen["derived"] = {one.mrid for one in chain.derived(control.mrid)}
        await asyncio.sleep(2500)
        seen["answers"] = chain.answers(control.mrid)
        seen["after"] = chain.watts

    chain.run(scene)
    assert seen["held"] == pytest.approx(40_000, rel=0.02), "the members know their schedule"
    assert seen["during"] == pytest.approx(40_000, rel=0.02)
    assert seen["derived"] == seen["before"], "what holds already is not told again"
    assert seen["answers"] == [1, 2, 3]
    assert seen["after"] == pytest.approx(0.8 * sum(RATINGS_W), rel=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_however_often_it_dies_a_fleet_answers_once_and_outlives_no_parent(hierarchy, seed):
    chain = hierarchy()
    random = SeededRandom(f"cuts/{seed}")
    seen = {}

    async def scene(chain):
        await asyncio.sleep(600)
        control = seen["control"] = await chain.send(120, 1800, target_w=Decimal(40_000))
        for _ in range(8):
            await asyncio.sleep(random.between(1, 400) + random.fraction())
            await chain.restart(random.between(0, 90) + random.fraction())
        await asyncio.sleep(1200)
        seen["answers"] = chain.answers(control.mrid)
        seen["derived"] = chain.derived(control.mrid)
        seen["after"] = chain.watts

    chain.run(scene)
    assert seen["answers"] in ([1, 2, 3], [1])  # away all the time it was in effect: nothing is claimed
    assert all(one.interval.end <= seen["control"].interval.end for one in seen["derived"])
    for control in seen["derived"]:
        assert len({der for der, _ in chain.fleet_half.responses.get(control.mrid, {})}) <= 1
    assert seen["after"] == pytest.approx(0.8 * sum(RATINGS_W), rel=0.02)
    assert faults(chain.fleet_half.store.load(AuditRecord)) == []


def test_who_joins_during_an_event_gets_a_share_and_the_market_is_told_of_it(hierarchy):
    chain = hierarchy()
    seen = {}

    async def scene(chain):
        await asyncio.sleep(600)
        control = await chain.send(60, 3600, target_w=Decimal(40_000))
        await asyncio.sleep(600)
        lfdi, late = Lfdi("E7" * 20), Inverter(40_000)
        await registry.register(OPERATOR, chain.fleet_half, [registry.NewDevice(lfdi=lfdi)])
        member = chain.follower(late, lfdi, lambda: chain.fleet_server, "sunny", "sunny", 99)
        chain.inverters.append(late)
        chain.tasks.append(chain.loop.create_task(member.run()))
        await asyncio.sleep(1500)
        seen["watts"], seen["late"] = chain.watts, late.watts
        seen["rated"] = {
            read_told(kind, record.document).values.get("set_max_w")
            for (_, kind), record in chain.market.infos.items()
            if kind is DerInfoKind.SETTINGS
        }
        seen["answers"] = chain.answers(control.mrid)

    logs = chain.run(scene)
    assert seen["watts"] == pytest.approx(40_000, rel=0.02)
    assert seen["late"] == pytest.approx(40_000 * 40 / 140, rel=0.05)
    assert seen["rated"] == {sum(RATINGS_W) + 40_000}
    assert seen["answers"] == [1, 2]
    assert not [line for line in logs if line["log_level"] == "error"]


def test_members_begin_in_time_and_leave_no_gap_between_events_of_the_market(hierarchy):
    chain = hierarchy()
    seen = {}

    async def scene(chain):
        await asyncio.sleep(600)
        start = chain.clock.now() + timedelta(seconds=300)
        await chain.send(300, 600, target_w=Decimal(40_000))
        await chain.send(900, 600, target_w=Decimal(30_000))
        await chain.clock.sleep_until(start + timedelta(seconds=45))
        seen["begun"] = chain.watts
        for after_s in (590, 605, 620, 645):
            await chain.clock.sleep_until(start + timedelta(seconds=after_s))
            seen[after_s] = chain.watts

    chain.run(scene)
    assert seen["begun"] == pytest.approx(40_000, rel=0.02), "sooner than all of them came again"
    assert seen[590] == pytest.approx(40_000, rel=0.02)
    assert max(seen[605], seen[620]) < 41_000, "nobody was let go in between"
    assert seen[645] == pytest.approx(30_000, rel=0.02)


def test_a_control_that_the_market_cancels_is_cancelled_for_the_members(hierarchy):
    chain = hierarchy()
    seen = {}

    async def scene(chain):
        await asyncio.sleep(600)
        control = await chain.send(60, 7200, target_w=Decimal(40_000))
        await asyncio.sleep(900)
        await dispatch.cancel_control(OPERATOR, chain.market, control.mrid)
        await asyncio.sleep(300)
        seen["watts"] = chain.watts
        seen["answers"] = chain.answers(control.mrid)
        seen["of members"] = {
            tuple(sorted(int(status) for _, status in chain.fleet_half.responses[one.mrid]))
            for one in chain.derived(control.mrid)
        }

    chain.run(scene)
    assert seen["watts"] == pytest.approx(0.8 * sum(RATINGS_W), rel=0.02)
    assert seen["answers"] == [1, 2, 6]
    assert seen["of members"] == {(1, 2, 6)}


def test_members_that_do_not_follow_are_made_up_for_by_the_others(hierarchy):
    chain = hierarchy()
    chain.inverters[0].follows = 0.0
    chain.inverters[1].follows = 0.2
    seen = {}

    async def scene(chain):
        await asyncio.sleep(600)
        control = await chain.send(60, 7200, target_w=Decimal(40_000))
        await asyncio.sleep(5400)
        seen["during"] = chain.watts
        seen["derived"] = chain.derived(control.mrid)

    chain.run(scene)
    assert chain.inverters[0].watts == 0
    assert seen["during"] == pytest.approx(40_000, rel=0.02)
    assert len(seen["derived"]) > len(RATINGS_W), "the shares were corrected"


@pytest.mark.parametrize("config", [CONFIG, CONFIG + GRANT.replace("target_w", "max_lim_w_pct")])
def test_without_a_grant_the_market_is_answered_252_and_nothing_is_issued(hierarchy, config):
    chain = hierarchy(config)
    seen = {}

    async def scene(chain):
        await asyncio.sleep(600)
        control = await chain.send(120, 600, target_w=Decimal(40_000))
        await asyncio.sleep(1200)
        seen["answers"] = chain.answers(control.mrid)

    chain.run(scene)
    assert seen["answers"] == [252]
    assert not any(served.controls for served in chain.fleet_half.programs.values())


def test_more_than_was_granted_is_refused_and_never_started(hierarchy):
    chain = hierarchy(CONFIG + GRANT.replace("100_000", "10_000"))
    seen = {}

    async def scene(chain):
        await asyncio.sleep(600)
        control = await chain.send(120, 600, target_w=Decimal(40_000))
        await asyncio.sleep(1200)
        seen["answers"] = chain.answers(control.mrid)

    chain.run(scene)
    assert seen["answers"] == [1, 252]
    assert not any(served.controls for served in chain.fleet_half.programs.values())
