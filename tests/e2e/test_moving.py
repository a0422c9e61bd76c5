"""A DER that switching moves from one substation to another: bound throughout, answered once, over real TLS and Modbus."""

import asyncio
import runpy
from contextlib import AsyncExitStack
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tierline.model.control import Setpoints
from tierline.model.errors import LinkError, TierlineError
from tierline.model.identity import PartyId
from tierline.model.records import ReadingRecord, ResponseRecord
from tierline.node.compose import compose, prepare
from tierline.node.config import parse_config
from tierline.node.shared_channel import SharedChannel
from tierline.operations.serving import dispatch, registry, topology
from tierline.security.hardware_name import HardwareName
from tierline.security.keys import write_credential
from tierline.security.pki import make_server

pytestmark = pytest.mark.e2e

_SPINE = runpy.run_path(str(Path(__file__).parent.parent / "spine.py"))
Spine, OPERATOR, HARDWARE, BORN = (_SPINE[name] for name in ("Spine", "OPERATOR", "HARDWARE", "BORN"))

POINT = "pv_068"
"""Fed by feeder 3; by feeder 4 once switch 107 is closed and 236 open."""
STATIONS = {"station-3": "feeder-3", "station-4": "feeder-4"}
SWITCHED = {107: True, 236: False}
POLL_S, SLACK_S = 60, 30
"""How often the gateway asks, and half a second of wall time for an answer."""


class Region(Spine):
    """A utility, the substations of two feeders, and one gateway."""

    def __init__(self, folder):
        super().__init__(folder)
        self.stack = AsyncExitStack()
        self.received = []

    def certificate(self, name):
        hardware = HardwareName(type_oid=HARDWARE, serial=name.encode())
        made = make_server(self.mica, hardware, BORN, ip_addresses=["127.0.0.1"])
        write_credential(self.folder, name, made)
        return made.lfdi

    def node(self, name, level, party, more):
        text = self.common(name, level, party) + more
        return compose(parse_config(text, self.folder / f"{name}.toml"), self.databases)

    def serving(self, more):
        return f"""
            [identity]
            pen = 40732
            [serve.sep2]
            listen = ["127.0.0.1:0"]
            poll_rate_s = 60
            post_rate_s = 60
            {more}
            """

    def utility(self):
        points = "".join(
            f'\n[[serve.sep2.control_point]]\nparty = "{party}"\nelement = "{element}"'
            for party, element in STATIONS.items()
        )
        return self.node("utility", 4, "utility", self.serving(f'{points}\n[grid]\nfile = "oberrhein"'))

    def link(self, port, more=""):
        return f"""
            [[north]]
            protocol = "sep2"
            channel = "utility"
            party = "utility"
            server = "https://127.0.0.1:{port}/dcap"
            {more}
            """

    async def start(self, group, node):
        """Run a node as `tierline run` does; gives the port it serves on and its tasks."""
        await prepare(node)
        port = 0
        if node.serving is not None:
            await self.stack.enter_async_context(node.serving.http)
            port = (await node.serving.http.listen("127.0.0.1", 0)).port
        works = [part.run for part in (node.follower, node.relaying) if part is not None]
        return port, [group.create_task(work()) for work in works]

    def count(self, state):
        """Note every Response that becomes durable at a server."""
        commit = state.store.commit

        async def counting(put=(), delete=()):
            self.received.extend(record for record in put if isinstance(record, ResponseRecord))
            await commit(put, delete)

        state.store.commit = counting

    def answers(self, mrid):
        return [int(response.status) for response in self.received if response.mrid == mrid]

    async def order(self, state, element, start_s, duration_s, **setpoints):
        record = await dispatch.create_control(
            OPERATOR,
            state,
            dispatch.Order(
                group_id=topology.find_group(state, element).group.id,
                setpoints=Setpoints.of({name: Decimal(value) for name, value in setpoints.items()}),
                start=self.clock.now().replace(microsecond=0) + timedelta(seconds=start_s),
                duration_s=duration_s,
            ),
        )
        return record.mrid

    def block(self):
        return self.inverters[POINT].image.block(704)

    def limit(self):
        block = self.block()
        return block.value("WMaxLimPct") if block.code("WMaxLimPctEna") else None

    async def watch(self, trace):
        while True:
            if not trace or trace[-1] != self.limit():
                trace.append(self.limit())
            await asyncio.sleep(0.005)

    async def everybody(self, group):
        """Start the utility, its substations and the gateway of one DER; gives the utility's state and all tasks."""
        utility = self.utility()
        state = utility.serving.state
        port, tasks = await self.start(group, utility)
        self.count(state)
        self.lfdi = self.device("gateway")
        await registry.register(
            OPERATOR,
            state,
            [
                *(registry.NewDevice(lfdi=self.certificate(name), aggregates=PartyId(name)) for name in STATIONS),
                registry.NewDevice(lfdi=self.lfdi, service_point=POINT),
            ],
        )
        self.ports, self.stations = {"utility": port}, {}
        for name in STATIONS:
            up = self.link(port, 'use = "relay"\nenrol = "take"')
            self.stations[name] = self.node(name, 4, "utility", self.serving(up))
            self.ports[name], more = await self.start(group, self.stations[name])
            tasks += more
        device = f'[[south]]\nprotocol = "sunspec"\naddress = "127.0.0.1:{await self.inverter(POINT)}"'
        links = "".join(map(self.link, self.ports.values()))
        self.gateway_node = self.node("gateway", 2, "owner", f"{links}{device}")
        self.shared = self.gateway_node.follower._servers["utility"]
        assert isinstance(self.shared, SharedChannel)
        return state, tasks

    def serves(self, name):
        """Tell whether this one, and no other, showed the gateway its assignments last."""
        return self.shared._showing == (f"127.0.0.1:{self.ports[name]}",)

    def record_walks(self, name):
        """Note what the gateway is told by one server from now on: how many programs, or why none."""
        link, told = self.shared._servers[f"127.0.0.1:{self.ports[name]}"].link, []
        walk = link.walk

        async def recorded():
            try:
                seen = await walk()
            except TierlineError as error:
                told.append((self.clock.now(), type(error).__name__))
                raise
            told.append((self.clock.now(), len(seen.programs)))
            return seen

        link.walk = recorded
        return told

    def has(self, name):
        """Tell whether a substation has been assigned the DER."""
        state = self.stations[name].serving.state
        return bool(state.groups_of.get(registry.device_of(state, self.lfdi).der_id))


async def test_a_der_that_is_switched_from_one_substation_to_another_is_bound_throughout_and_answers_once(tmp_path):
    region, trace = Region(tmp_path), []
    async with region.stack, asyncio.TaskGroup() as group:
        state, tasks = await region.everybody(group)
        _, more = await region.start(group, region.gateway_node)
        tasks += [*more, group.create_task(region.watch(trace))]
        await region.until(lambda: region.serves("station-3"), 600)
        wide = await region.order(state, "trafo_142", 180, 900, max_lim_w_pct=50)
        near = await region.order(state, "feeder-3", 180, 3000, fixed_w_pct=40)
        await region.until(lambda: region.answers(near) == [1, 2] == region.answers(wide), 900)
        await topology.confirm_switching(OPERATOR, state, SWITCHED)
        await region.until(lambda: region.serves("station-4"), 600)
        await region.until(lambda: not region.block().code("WSetEna"), 120)
        await region.until(lambda: region.answers(wide) == [1, 2, 3], 2400)
        await region.until(lambda: trace[-1] is None, 120)
        assert region.answers(near) == [1, 2], "it left the group: nothing more is said of its event"
        assert trace == [None, 50, None], "the limit held without a gap"
        for task in tasks:
            task.cancel()
    await region.close()


async def test_a_der_is_known_at_a_substation_that_could_feed_it_and_bound_there_within_one_poll(tmp_path):
    region = Region(tmp_path)
    async with region.stack, asyncio.TaskGroup() as group:
        state, tasks = await region.everybody(group)
        await region.until(lambda: all(not node.relaying.unwalked() for node in region.stations.values()), 300)
        told = region.record_walks("station-4")
        _, more = await region.start(group, region.gateway_node)
        tasks += more
        await region.until(lambda: region.serves("station-3"), 600)
        assert {programs for _, programs in told} == {0}, "station-4 knows it and shows it nothing"

        await topology.confirm_switching(OPERATOR, state, SWITCHED)
        await region.until(lambda: region.has("station-4"), 120)
        arrived_at = region.clock.now()
        await region.until(lambda: told[-1][1] == 3, POLL_S + SLACK_S)
        assert {programs for _, programs in told} == {0, 3}
        assert sum(at > arrived_at and not programs for at, programs in told) <= 1, "bound at the next poll"
        await region.until(lambda: region.serves("station-4"), 600)

        relaying = region.stations["station-4"].relaying
        link, channel = relaying._links[0].server.link, relaying._links[0].id
        report, is_open = link.report, asyncio.Event()

        async def held(*args):
            if not is_open.is_set():
                raise LinkError("the way up is cut")
            await report(*args)

        link.report = held
        await region.until(lambda: relaying._buffer.count(channel) >= 4, 600)
        waiting = {(one.reading.point, one.reading.time) for one in relaying._buffer.first(channel, 1000)}
        await topology.confirm_switching(OPERATOR, state, {key: not closed for key, closed in SWITCHED.items()})
        await region.until(lambda: not region.has("station-4") and region.has("station-3"), 120)
        is_open.set()
        await region.until(lambda: not relaying._buffer.count(channel), 600)
        kept = {(one.reading.point, one.reading.time) for one in state.store.load(ReadingRecord)}
        assert waiting <= kept, "what station-4 still held was taken"
        await region.until(lambda: region.serves("station-3"), 600)
        assert told[-1][1] == 0
        for task in tasks:
            task.cancel()
    await region.close()
