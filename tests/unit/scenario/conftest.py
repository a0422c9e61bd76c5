from datetime import timedelta
from pathlib import Path

import pytest

from tierline.env import RealClock, RealNetwork, SeededRandom
from tierline.scenario.addresses import reserve
from tierline.scenario.configuration import ConfigWriter
from tierline.scenario.plan import Site, make_folder, make_plan, ports_needed
from tierline.scenario.script import parse_script

SPINE = """
[scenario]
about = "one utility above its gateways"
field = "oberrhein"
ends_at_min = 80
[[part]]
scenario = "circuit"
[[part]]
scenario = "loss"
at_min = 0.5
[[part]]
scenario = "volt_var"
at_min = 43
"""


class FakeClock:
    speed = 30.0

    def __init__(self, now):
        self.time = now

    def now(self):
        return self.time

    def deadline(self):
        return 0.0

    async def sleep(self, civil_s):
        self.time += timedelta(seconds=civil_s)

    async def sleep_until(self, when):
        self.time = max(self.time, when)


@pytest.fixture
def script():
    return parse_script(SPINE, "spine")


@pytest.fixture(scope="module")
def site():
    return Site.of("oberrhein", Path())


@pytest.fixture
def writer(tmp_path, script, site):
    clock = RealClock(site.starts, 5.0, 30)
    return ConfigWriter(folder=make_folder(tmp_path / "state"), clock=clock, script=script, seed=7)


@pytest.fixture
async def block(site, script):
    reserved = await reserve(RealNetwork(), ports_needed(site, script, 8))
    yield reserved
    reserved.close()
    await reserved.mark.wait_closed()


@pytest.fixture
async def plan(writer, site, block):
    random = SeededRandom("7/scenario")
    return await make_plan(writer.folder, site, writer, block, gateways=8, network=RealNetwork(), random=random)


@pytest.fixture
def clock(site):
    return FakeClock(site.starts)
