"""One mirror per member, against a scripted server."""

import pytest

from tierline.model.errors import Forbidden
from tierline.model.records import KnownRecord
from tierline.model.telemetry import Reading
from tierline.protocols.sep2.courier import Carrier
from tierline.protocols.sep2.fleet_mirrors import FleetMirrors
from tierline.protocols.sep2.resources.objects import Link
from tierline.storage.memory import MemoryStore

MUP = Link(href="/mup")


class Reports:
    def __init__(self, fleet, server):
        self.fleet, self.server = fleet, server
        self.store = MemoryStore()
        self.start()

    def start(self):
        carrier = Carrier(self.server, self.server.clock, self.fleet.SERVER)
        self.mirrors = FleetMirrors(carrier=carrier, store=self.store, entry=self.server.entry, pen=37244)

    async def report(self, number=0, point="w", link=MUP):
        """Give what was asked of the server."""
        self.server.log.clear()
        reading = Reading(der_id="aaaaaaaaaaaaa", point=point, value=5, power_of_ten=0, time=self.server.clock.now())
        await self.mirrors.report(link, self.fleet.lfdi_of(number), [reading])
        return self.server.log


@pytest.fixture
def server(fleet):
    return fleet.FleetServer()


@pytest.fixture
def reports(fleet, server):
    return Reports(fleet, server)


async def test_a_mirror_is_made_when_there_is_something_to_mirror(reports):
    assert await reports.report(point="no such point") == []
    assert await reports.report() == [("POST", "/mup"), ("GET", "/mup/1"), ("POST", "/mup/1")]
    assert await reports.report() == [("POST", "/mup/1")]
    assert reports.mirrors.post_s == 300


async def test_each_member_has_its_own(fleet, server, reports):
    await reports.report(0)
    await reports.report(1)
    made = [resource for _, path, resource in server.written if path == "/mup"]
    assert [mirror.device_lfdi for mirror in made] == [fleet.lfdi_of(0), fleet.lfdi_of(1)]
    assert await reports.report(1) == [("POST", "/mup/2")]


async def test_mirrors_are_known_after_a_restart(reports):
    await reports.report()
    await reports.store.commit([KnownRecord(party="utility", name="mirror/other/192.0.2.1:8443/AA", value="/x")])
    reports.start()
    assert await reports.report() == [("POST", "/mup/1")]
    await reports.mirrors.keep_only([])
    assert [record.value for record in reports.store.load(KnownRecord)] == ["/x"]


async def test_a_mirror_is_found_again_when_all_was_forgotten_here(reports):
    await reports.report()
    reports.store = MemoryStore()
    reports.start()
    assert await reports.report() == [("POST", "/mup"), ("GET", "/mup/1"), ("POST", "/mup/1")]


async def test_a_mirror_is_looked_for_when_the_server_does_not_say_where_it_is(server, reports):
    await reports.report(0)
    await reports.report(1)
    reports.store = MemoryStore()
    reports.start()
    server.says_location = False
    assert await reports.report(1) == [("POST", "/mup"), ("GET", "/mup?s=0&l=255"), ("POST", "/mup/2")]


async def test_a_mirror_that_the_server_forgot_is_made_anew_at_once(server, reports):
    await reports.report()
    server.mirrors.clear()
    assert await reports.report() == [
        ("POST", "/mup/1"),
        ("POST", "/mup"),
        ("GET", "/mup/1"),
        ("POST", "/mup/1"),
    ]


async def test_a_server_that_takes_no_readings_is_asked_twice_at_most(server, reports):
    await reports.report()
    server.instead["POST", "/mup/1"] = 404
    with pytest.raises(Forbidden):
        await reports.report()
    assert [line for line in server.log if line == ("POST", "/mup/1")] == [("POST", "/mup/1")] * 2
    assert reports.store.load(KnownRecord) == []


async def test_a_server_without_mirror_metering_is_told_apart(reports):
    with pytest.raises(Forbidden, match="offers no MirrorUsagePointList"):
        await reports.report(link=None)


async def test_mirrors_of_those_who_left_are_forgotten(fleet, reports):
    await reports.report(0)
    await reports.report(1)
    await reports.mirrors.keep_only({fleet.lfdi_of(1)})
    assert [record.value for record in reports.store.load(KnownRecord)] == ["/mup/2"]
    await reports.mirrors.keep_only({fleet.lfdi_of(1)})
