"""Those who stand for many, over real TLS: an aggregator lists, registers, answers and takes out; a substation takes over."""

import asyncio
import runpy
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tierline.env import RealNetwork
from tierline.model.control import Setpoints
from tierline.model.identity import GroupId, Lfdi, der_id, sfdi_of
from tierline.model.records import AuditRecord, ReadingRecord, ResponseRecord
from tierline.node.compose import compose, prepare
from tierline.node.config import parse_config
from tierline.operations.serving import dispatch, registry, topology
from tierline.operations.serving.audit import faults
from tierline.protocols.sep2.codec import parse, render
from tierline.protocols.sep2.resources import (
    DERControlResponse,
    DERStatus,
    EndDevice,
    MirrorMeterReading,
    MirrorReadingSet,
    MirrorUsagePoint,
    Reading,
    ReadingType,
    Subscription,
)
from tierline.protocols.sep2.resources.objects import DateTimeInterval
from tierline.protocols.sep2.transport import HttpClient
from tierline.security.hardware_name import HardwareName
from tierline.security.keys import load_certificates, write_credential
from tierline.security.pki import make_aggregator
from tierline.security.tls import client_context
from tierline.security.trust import ChainTrust, MemoryVerdicts

pytestmark = pytest.mark.e2e

_SPINE = runpy.run_path(str(Path(__file__).parent.parent / "spine.py"))
Spine, OPERATOR = _SPINE["Spine"], _SPINE["OPERATOR"]
FIRST, SECOND = Lfdi("A1" * 20), Lfdi("A2" * 20)
"""Assigned to DERs that have no certificate."""
MORE = """
[serve.sep2.notify]
allow = ["127.0.0.1:9"]
[[serve.sep2.control_point]]
party = "west"
element = "{feeder}"
"""


class Peer:
    """One certificate and its connection."""

    def __init__(self, spine, name, port):
        anchors = tuple(load_certificates(spine.folder / "root.pem"))
        self.http = HttpClient(
            host="127.0.0.1",
            port=port,
            context=client_context(spine.folder / f"{name}.pem", spine.folder / f"{name}.key", anchors),
            trust=ChainTrust(anchors, generation=1, verdicts=MemoryVerdicts(), demo=True),
            clock=spine.clock,
            network=RealNetwork(),
        )

    async def ask(self, method, path, value=None):
        return await self.http.request(method, path, b"" if value is None else render(value))

    async def status(self, path):
        return (await self.ask("GET", path)).status

    async def get(self, path):
        answer = await self.ask("GET", path)
        assert answer.status == 200, path
        return parse(answer.body)

    async def made(self, path, value):
        answer = await self.ask("POST", path, value)
        assert answer.status == 201
        return answer.location


class World:
    """A utility that serves, and who calls it."""

    def __init__(self, spine, state, port):
        self.spine, self.state, self.port = spine, state, port
        self.peers = []

    def peer(self, name):
        self.peers.append(Peer(self.spine, name, self.port))
        return self.peers[-1]

    async def register(self, name, **more):
        """Give a new certificate an EndDevice; one that stands for others has the policy of a service provider."""
        lfdi = self.aggregator(name) if "aggregates" in more else self.spine.device(name)
        new = registry.NewDevice(lfdi=lfdi, pin=111115, **more)
        (device,) = await registry.register(OPERATOR, self.state, [new])
        return device

    def aggregator(self, name):
        hardware = HardwareName(type_oid=_SPINE["HARDWARE"], serial=name.encode())
        credential = make_aggregator(self.spine.mica, hardware, _SPINE["BORN"])
        write_credential(self.spine.folder, name, credential)
        return credential.lfdi

    async def control(self, group):
        order = dispatch.Order(
            group_id=group,
            setpoints=Setpoints.of({"max_lim_w_pct": Decimal(50)}),
            start=self.state.clock.now() + timedelta(seconds=60),
            duration_s=60,
        )
        return await dispatch.create_control(OPERATOR, self.state, order)

    async def join(self, der, group):
        joins = topology.Move(der_id=der, leaves=(), joins=(group,))
        await self.state.commit(topology.membership_records(self.state, [joins], "operator"))


@asynccontextmanager
async def a_world(folder, more=""):
    spine = Spine(folder, speed=1.0)
    text = f"""{spine.common("utility", 4, "utility")}
        [identity]
        pen = 40732
        [serve.sep2]
        listen = ["127.0.0.1:0"]
        [grid]
        file = "oberrhein"
        {more}
        """
    utility = compose(parse_config(text, folder / "utility.toml"), spine.databases)
    await prepare(utility)
    async with utility.serving.http as http, asyncio.timeout(60):
        listener = await http.listen("127.0.0.1", 0)
        world = World(spine, utility.serving.state, listener.port)
        yield world
        for peer in world.peers:
            await peer.http.close()
    await spine.close()


def end_device(lfdi):
    return EndDevice(lfdi=lfdi, sfdi=sfdi_of(lfdi), changed_time=0, device_category=1 << 21)


def usage_point(lfdi, number, value):
    period = DateTimeInterval(start=1_750_000_000, duration=60)
    reading = Reading(value=value, time_period=period)
    sets = MirrorReadingSet(mrid="C" * 32, time_period=period, readings=(reading,))
    kind = ReadingType(uom=38, power_of_ten_multiplier=0, kind=37, flow_direction=19)
    meter = MirrorMeterReading(mrid=f"{number:032X}", reading_type=kind, mirror_reading_sets=(sets,))
    return MirrorUsagePoint(
        mrid=f"F{number:031X}",
        role_flags=73,
        service_category_kind=0,
        status=1,
        device_lfdi=lfdi,
        mirror_meter_readings=(meter,),
    )


async def test_an_aggregator_registers_serves_and_takes_out_its_ders(tmp_path):
    async with a_world(tmp_path, MORE.format(feeder="feeder-4")) as world:
        state = world.state
        own = await world.register("aggregator", aggregates="pooler")
        direct = await world.register("direct", service_point="pv_000")
        rival = await world.register("rival", aggregates="rival")
        pooler, alone, other = world.peer("aggregator"), world.peer("direct"), world.peer("rival")

        # it begins alone, and finds its PIN and nothing to obey
        (entry,) = (await pooler.get("/edev?l=255")).items
        assert (await pooler.get(entry.registration_link.href)).pin == 111115
        assert (entry.function_set_assignments_list_link, entry.der_list_link) == (None, None)

        # in band
        first = await pooler.made("/edev", end_device(FIRST))
        second = await pooler.made("/edev", end_device(SECOND))
        again = await pooler.ask("POST", "/edev", end_device(FIRST))
        assert (again.status, again.location) == (204, first)
        assert (await pooler.ask("POST", "/edev", end_device(state.lfdi_of[direct.der_id]))).status == 403
        assert (await other.ask("POST", "/edev", end_device(FIRST))).status == 403
        assert (await alone.ask("POST", "/edev", end_device(Lfdi("A3" * 20)))).status == 403
        listed = await pooler.get("/edev?s=0&l=255")
        assert {item.lfdi for item in listed.items} == {FIRST, SECOND, state.lfdi_of[own.der_id]}

        # the operator puts them into a group; both are shown its event and answer it, each for itself
        element = next(iter(topology.elements_of(state, "pv_000") & {feeder.id for feeder in state.grid.feeders}))
        feeder = GroupId(topology.find_group(state, element).group.id)
        for path in (first, second):
            await world.join(path.rsplit("/", 1)[1], feeder)
        record = await world.control(feeder)
        places = set()
        for path, lfdi in ((first, FIRST), (second, SECOND)):
            (assigned,) = (await pooler.get(f"{path}/fsa?l=255")).items
            (program,) = (await pooler.get(f"{assigned.der_program_list_link.href}?l=255")).items
            (event,) = (await pooler.get(f"{program.der_control_list_link.href}?l=255")).items
            assert event.mrid == record.mrid
            answer = DERControlResponse(end_device_lfdi=lfdi, status=1, subject=event.mrid)
            places.add(await pooler.made(event.reply_to, answer))
        assert {found.lfdi for found in state.store.load(ResponseRecord)} == {FIRST, SECOND}
        for place in places:
            assert (await pooler.status(place), await other.status(place)) == (200, 404)
        foreign = DERControlResponse(end_device_lfdi=state.lfdi_of[direct.der_id], status=1, subject=record.mrid)
        assert (await pooler.ask("POST", "/rsps/r/rsp", foreign)).status == 403

        # what they measure and are
        for number, lfdi in enumerate((FIRST, SECOND), 1):
            await pooler.made("/mup", usage_point(lfdi, number, 1000 * number))
        assert sorted(kept.reading.value for kept in state.store.load(ReadingRecord)) == [1000, 2000]
        assert (await pooler.ask("PUT", f"{first}/der/1/ders", DERStatus(reading_time=1))).status == 204

        # it is told of changes
        wish = Subscription(
            subscribed_resource="/edev", encoding=0, level="+S1", limit=5, notification_uri="https://127.0.0.1:9/ntfy"
        )
        subscription = await pooler.made(f"/edev/{own.der_id}/sub", wish)
        assert (await pooler.get(subscription)).subscribed_resource == "/edev"
        assert (await pooler.ask("DELETE", subscription)).status == 204
        assert await pooler.status(subscription) == 404

        # nothing of others, in either direction
        program = program.href
        for peer, paths in (
            (pooler, [f"/edev/{direct.der_id}", f"/edev/{rival.der_id}", f"/edev/{der_id(1)}"]),
            (other, [first, f"{first}/fsa", f"/edev/{own.der_id}", program, f"{program}/derc"]),
            (alone, [first, f"/edev/{own.der_id}/sub"]),
        ):
            for path in paths:
                for method in ("GET", "DELETE"):
                    answer = await peer.ask(method, path)
                    assert (method, path, answer.status, answer.body) == (method, path, 404, b"")
        assert await alone.status(program) == 200

        # out again
        gone = await pooler.ask("DELETE", first)
        assert (gone.status, gone.body) == (200, b"")
        assert await pooler.status(first) == 404
        assert (await pooler.get("/edev")).all == 2
        assert await pooler.status(f"{program}/derc") == 200
        assert (await pooler.ask("DELETE", second)).status == 200
        assert await pooler.status(f"{program}/derc") == 404
        assert await pooler.made("/edev", end_device(FIRST)) == first
        assert len(state.store.load(ResponseRecord)) == len(state.store.load(ReadingRecord)) == 2
        assert faults(state.store.load(AuditRecord)) == []


async def test_a_substation_takes_a_der_over_and_gives_it_back(tmp_path):
    async with a_world(tmp_path) as plain:
        fed_by = topology.elements_of(plain.state, "pv_000") & {feeder.id for feeder in plain.state.grid.feeders}
    folder = tmp_path / "again"
    folder.mkdir()
    async with a_world(folder, MORE.format(feeder=next(iter(fed_by)))) as world:
        await world.register("west", aggregates="west")
        der = await world.register("der", service_point="pv_000")
        west, alone = world.peer("west"), world.peer("der")
        fsa = f"/edev/{der.der_id}/fsa"
        assert (await west.get("/edev")).all == 2
        assert (await alone.get(fsa)).all == 1
        (assigned,) = (await west.get(f"{fsa}?l=255")).items
        assert (await west.get(assigned.der_program_list_link.href)).all == 3
        assert (await alone.get(fsa)).all == 1
        assert (await west.ask("HEAD", "/edev")).status == 200
        assert ((await alone.get(fsa)).all, (await west.get(fsa)).all) == (0, 1)
        breaker = next(feeder.breaker for feeder in world.state.grid.feeders if feeder.id in fed_by)
        await topology.confirm_switching(OPERATOR, world.state, {breaker: False})
        assert (await alone.get(fsa)).all == 1
        assert (await west.get(fsa)).all == 0
        assert await west.status(assigned.der_program_list_link.href) == 404
        assert (await west.get("/edev")).all == 2, "it may come back"
