"""Five levels as data: which nodes there are, how they hang together, and what their files say."""

from pathlib import Path

import pytest

from tierline.env import RealClock, RealNetwork, SeededRandom
from tierline.node.config import load_config
from tierline.scenario.addresses import reserve
from tierline.scenario.configuration import ConfigWriter
from tierline.scenario.enrolment import enrol_all
from tierline.scenario.hierarchy import Way
from tierline.scenario.plan import make_folder, make_plan, ports_needed
from tierline.scenario.script import parse_script

FIVE = """
[scenario]
about = "five levels"
field = "oberrhein"
ends_at_min = 10
[hierarchy]
market = "market"
[[hierarchy.substation]]
name = "substation-a"
element = "trafo_142"
[[hierarchy.aggregator]]
name = "pool-even"
market = true
[[hierarchy.aggregator]]
name = "pool-odd"
[hierarchy.enrolment]
direct_pct = 60
aggregator_pct = 25
dual_pct = 15
"""


async def planned(text, folder, site, gateways=40):
    script = parse_script(text, "test")
    writer = ConfigWriter(folder=make_folder(folder), clock=RealClock(site.starts, 5.0, 30), script=script, seed=7)
    block = await reserve(RealNetwork(), ports_needed(site, script, gateways))
    try:
        return await make_plan(
            writer.folder, site, writer, block, gateways=gateways, network=RealNetwork(), random=SeededRandom("7")
        )
    finally:
        block.close()
        await block.mark.wait_closed()


@pytest.fixture
async def five(tmp_path, site):
    return await planned(FIVE, tmp_path / "state", site)


def config(plan, process, number=0):
    return load_config(Path(plan.files[process][number]))


async def test_every_station_has_a_configuration_that_is_accepted(five):
    assert list(five.stations) == ["market", "utility", "substation-a", "pool-even", "pool-odd"]
    assert five.head.name == "utility"
    for name in five.stations:
        assert config(five, name).node.name == name


async def test_each_level_hangs_on_those_above_it(five):
    above = {name: [uplink.server.name for uplink in station.uplinks] for name, station in five.stations.items()}
    assert above == {
        "market": [],
        "utility": ["market"],
        "substation-a": ["utility"],
        "pool-even": ["utility", "market"],
        "pool-odd": ["utility"],
    }


async def test_what_the_market_says_is_obeyed_and_what_the_utility_says_is_passed_on(five):
    pool = config(five, "pool-even")
    assert [(north.channel, north.use) for north in pool.north] == [("utility", "relay"), ("market", "obey")]
    assert pool.fleet.group == "customers"
    assert pool.grant[0].party == "market"
    assert config(five, "utility").grant == []
    assert config(five, "pool-odd").fleet is None
    assert config(five, "substation-a").north[0].enrol == "take"


async def test_a_utility_knows_its_control_points_and_who_may_be_told(five):
    serve = config(five, "utility").serve.sep2
    assert [(one.party, one.element) for one in serve.control_point] == [("substation-a", "trafo_142")]
    listeners = {five.stations[name].listener_port for name in ("substation-a", "pool-even", "pool-odd")}
    assert {address.port for address in serve.notify.allow} == listeners
    assert config(five, "substation-a").listener.listen.port in listeners


async def test_a_gateway_hangs_where_it_is_enrolled(five):
    for gateway in five.gateways:
        servers = [uplink.server.name for uplink in gateway.uplinks]
        own = [gateway.aggregator] if gateway.aggregator else []
        assert servers == ([] if gateway.way is Way.AGGREGATOR else ["utility", "substation-a"]) + own
        number = [path.stem for path in five.files[gateway.process]].index(gateway.name)
        made = config(five, gateway.process, number)
        assert made.follow.mode.value == ("dual" if gateway.way is Way.DUAL else "single")
        assert all(north.tells_serial == (north.authority == "utility") for north in made.north)
        assert {north.channel for north in made.north} == {uplink.server.party for uplink in gateway.uplinks}
    assert {gateway.way for gateway in five.gateways} == set(Way) - {Way.ALONE}


async def test_an_aggregator_alone_is_the_head(tmp_path, site):
    text = FIVE.split("[hierarchy]", maxsplit=1)[0] + (
        '[hierarchy]\nutility = ""\n[[hierarchy.aggregator]]\nname = "pool"\n'
        "[hierarchy.enrolment]\ndirect_pct = 0\naggregator_pct = 100\n"
    )
    plan = await planned(text, tmp_path / "state", site, gateways=3)
    assert plan.head.name == "pool"
    assert config(plan, "pool").north == []
    assert [[uplink.server.name for uplink in gateway.uplinks] for gateway in plan.gateways] == [["pool"]] * 3


class Operator:
    """The operator API of one station."""

    def __init__(self, lfdis):
        self.lfdis = lfdis
        self.devices, self.groups = [], {}

    async def add_devices(self, new):
        self.devices += new

    async def create_group(self, name):
        self.groups[name] = []

    async def add_members(self, name, members):
        self.groups[name] += members

    async def members(self, name):
        return {"members": [{"lfdi": lfdi} for lfdi in self.groups.get(name, self.lfdis)]}


async def test_everyone_is_enrolled_where_he_is_commanded(five):
    lfdis = [gateway.lfdi for gateway in five.gateways]
    operators = {name: Operator(lfdis) for name in five.stations}
    groups = """
[[group]]
node = "market"
name = "asked"
of = "pool-even"
[[group]]
node = "pool-odd"
name = "customers-4"
element = "feeder-4"
[[control]]
node = "pool-odd"
at_min = 0
starts_in_min = 1
lasts_min = 1
group = "customers-4"
setpoints = { connect = true }
"""
    members = await enrol_all(five, parse_script(FIVE + groups, "x"), operators)
    utility = {one["lfdi"]: one for one in operators["utility"].devices}
    assert {one.get("aggregates") for one in utility.values()} == {None, "substation-a", "pool-even", "pool-odd"}
    for gateway in five.gateways:
        own = gateway.aggregator if gateway.way is Way.AGGREGATOR else None
        assert utility[gateway.lfdi].get("managed_by") == own
        assert utility[gateway.lfdi]["service_point"] == gateway.service_point
    assert operators["substation-a"].devices == []
    for pool in ("pool-even", "pool-odd"):
        own = {gateway.lfdi: gateway.pin for gateway in five.gateways if gateway.aggregator == pool}
        assert {one["lfdi"]: one["pin"] for one in operators[pool].devices} == own
        assert all("service_point" not in one for one in operators[pool].devices)
    assert operators["market"].groups == {"asked": [five.stations["pool-even"].lfdi]}
    assert {one["lfdi"] for one in operators["market"].devices} == {
        five.stations[name].lfdi for name in ("utility", "pool-even")
    }
    assert members["pool-odd/customers-4"] <= {
        gateway.lfdi for gateway in five.gateways if gateway.aggregator == "pool-odd"
    }
    assert members["pool-odd/customers-4"]
    assert "feeder-1" in members
