"""A node that stands for many at a utility, over real TLS: a few connections, and everything on them."""

import asyncio
import runpy
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tierline.env import RealNetwork
from tierline.model.control import Setpoints
from tierline.model.identity import Lfdi
from tierline.model.programs import FleetMember, Response, ResponseStatus
from tierline.model.records import ReadingRecord, ResponseRecord
from tierline.model.telemetry import Reading
from tierline.node.compose import prepare
from tierline.operations.serving import dispatch, registry, topology
from tierline.protocols.sep2.fleet_north import AT_ONCE, Sep2FleetNorth
from tierline.protocols.sep2.follow.walk import Entry
from tierline.protocols.sep2.transport import HttpClient
from tierline.security.keys import load_certificates
from tierline.security.tls import client_context
from tierline.security.trust import ChainTrust, MemoryVerdicts
from tierline.storage.memory import MemoryStore

pytestmark = pytest.mark.e2e

_SPINE = runpy.run_path(str(Path(__file__).parent.parent / "spine.py"))
Spine, OPERATOR = _SPINE["Spine"], _SPINE["OPERATOR"]


class CountingNetwork(RealNetwork):
    """Counts the connections that are opened."""

    opened = 0

    async def open_tcp(self, host, port, tls=None):
        self.opened += 1
        return await super().open_tcp(host, port, tls)


def lfdi_of(number):
    return Lfdi(f"{number + 1:09X}" + "0" * 31)


class Standing:
    """A utility, and a link of one that stands for many there."""

    def __init__(self, folder):
        self.spine = Spine(folder, speed=1.0)
        self.folder = folder
        self.utility = self.spine.utility()
        self.state = self.utility.serving.state
        self.network = CountingNetwork()
        self.lfdi = self.spine.device("aggregator")

    @asynccontextmanager
    async def standing(self, members):
        await prepare(self.utility)
        points = [point.id for point in self.state.grid.service_points]
        own = registry.NewDevice(lfdi=self.lfdi, aggregates="agg")
        managed = [
            registry.NewDevice(lfdi=lfdi_of(n), service_point=points[n % len(points)], managed_by="agg")
            for n in range(members)
        ]
        await registry.register(OPERATOR, self.state, [own, *managed])
        anchors = load_certificates(self.folder / "root.pem")
        async with self.utility.serving.http as http:
            port = (await http.listen("127.0.0.1", 0)).port
            server = f"127.0.0.1:{port}"
            courier = HttpClient(
                host="127.0.0.1",
                port=port,
                context=client_context(self.folder / "aggregator.pem", self.folder / "aggregator.key", anchors),
                trust=ChainTrust(anchors, generation=1, verdicts=MemoryVerdicts(), demo=True),
                clock=self.spine.clock,
                network=self.network,
                connections=AT_ONCE,
            )
            entry = Entry(
                dcap="/dcap",
                lfdi=self.lfdi,
                channel="utility",
                party="utility",
                server=server,
                server_lfdi=None,
                pin=None,
            )
            north = Sep2FleetNorth(courier=courier, entry=entry, clock=self.spine.clock, store=MemoryStore(), pen=40732)
            yield north
            await north.close()
        await self.spine.close()

    async def control(self):
        feeder = next(iter(topology.elements_of(self.state, "pv_000") & {f.id for f in self.state.grid.feeders}))
        order = dispatch.Order(
            group_id=topology.find_group(self.state, feeder).group.id,
            setpoints=Setpoints.of({"max_lim_w_pct": Decimal(50)}),
            start=self.state.clock.now() + timedelta(seconds=60),
            duration_s=60,
        )
        return await dispatch.create_control(OPERATOR, self.state, order)


async def test_many_are_read_reported_and_answered_for_over_a_few_connections(tmp_path):
    it = Standing(tmp_path)
    async with asyncio.timeout(60), it.standing(40) as north:
        record = await it.control()
        seen = await north.walk()
        assert set(seen.members) == {lfdi_of(n) for n in range(40)}
        (owner,) = [program for program in seen.programs.values() if program.controls]
        assert owner.controls[0].mrid == record.mrid
        members = [lfdi for lfdi, member in seen.members.items() if owner.mrid in member.programs]
        now = it.state.clock.now()
        answer = Response(
            mrid=record.mrid,
            der_id="aaaaaaaaaaaaa",
            lfdi=members[0],
            status=ResponseStatus.RECEIVED,
            created_at=now,
            channel="utility",
        )
        await north.respond(answer)
        await north.report(members[0], [Reading(der_id="aaaaaaaaaaaaa", point="w", value=5, power_of_ten=0, time=now)])
        assert [one.lfdi for one in it.state.store.load(ResponseRecord)] == [members[0]]
        assert len(it.state.store.load(ReadingRecord)) == 1
        await north.enrol([FleetMember(lfdi=lfdi_of(n), pin=None, device_category=4) for n in range(10, 50)])
        assert set((await north.walk()).members) == {lfdi_of(n) for n in range(10, 50)}
        assert 1 < it.network.opened <= AT_ONCE
