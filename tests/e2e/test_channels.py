"""A gateway with two servers of two parties, over real TLS and real Modbus: who binds, who wins, who is told what."""

import asyncio
import runpy
import sys
from asyncio.subprocess import PIPE
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tierline.model.control import Setpoints
from tierline.model.identity import PartyId
from tierline.model.parties import Principal, Role
from tierline.model.records import ResponseRecord
from tierline.node.compose import compose, prepare
from tierline.node.config import parse_config
from tierline.node.owner import serve_owner
from tierline.operations.serving import dispatch, registry, topology
from tierline.security.hardware_name import HardwareName
from tierline.security.keys import write_credential
from tierline.security.pki import make_server

pytestmark = pytest.mark.e2e

_SPINE = runpy.run_path(str(Path(__file__).parent.parent / "spine.py"))
Spine, HARDWARE, BORN = (_SPINE[name] for name in ("Spine", "HARDWARE", "BORN"))
POINT = "pv_000"


class Above:
    """One server above the gateway, with what it was answered."""

    def __init__(self, spine, party):
        text = f"""{spine.common(party, 4, party)}
            [identity]
            pen = 40732
            [serve.sep2]
            listen = ["127.0.0.1:0"]
            poll_rate_s = 60
            [grid]
            file = "oberrhein"
            """
        self.spine, self.party = spine, party
        self.node = compose(parse_config(text, spine.folder / f"{party}.toml"), spine.databases)
        self.state = self.node.serving.state
        self.principal = Principal(party=PartyId(party), role=Role.OPERATOR, name="olive")
        self.received = []

    async def start(self, lfdi):
        await prepare(self.node)
        commit = self.state.store.commit

        async def counting(put=(), delete=()):
            self.received.extend(record for record in put if isinstance(record, ResponseRecord))
            await commit(put, delete)

        self.state.store.commit = counting
        new = registry.NewDevice(lfdi=lfdi, service_point=POINT)
        (self.device,) = await registry.register(self.principal, self.state, [new])

    async def order(self, start, duration_s, **setpoints):
        feeder = next(iter(topology.elements_of(self.state, POINT) & {f.id for f in self.state.grid.feeders}))
        record = await dispatch.create_control(
            self.principal,
            self.state,
            dispatch.Order(
                group_id=topology.find_group(self.state, feeder).group.id,
                setpoints=Setpoints.of({name: Decimal(value) for name, value in setpoints.items()}),
                start=start,
                duration_s=duration_s,
            ),
        )
        return record.mrid

    def answers(self, mrid):
        """What was answered, in order; a repetition would show."""
        return [int(response.status) for response in self.received if response.mrid == mrid]


class Site:
    """Both servers, the gateway and its inverter."""

    def __init__(self, folder):
        self.spine = Spine(folder)
        hardware = HardwareName(type_oid=HARDWARE, serial=b"aggregator")
        made = make_server(self.spine.mica, hardware, BORN, ip_addresses=["127.0.0.1"])
        write_credential(folder, "aggregator", made)
        self.utility, self.aggregator = Above(self.spine, "utility"), Above(self.spine, "aggregator")
        self.trace = []
        """What the limit register held, each value once in a row."""

    def gateway(self, ports, inverter_port, follow):
        links = "".join(
            f"""
            [[north]]
            protocol = "sep2"
            channel = "{above.party}"
            party = "{above.party}"
            authority = "{above.party}"
            rank = {rank}
            server = "https://127.0.0.1:{ports[above.party]}/dcap"
            pin = {above.device.pin}
            """
            for rank, above in enumerate((self.utility, self.aggregator))
        )
        text = f"""{self.spine.common("gateway", 2, "owner")}
            {links}
            [[south]]
            protocol = "sunspec"
            address = "127.0.0.1:{inverter_port}"
            read_s = 60
            {follow}
            """
        return compose(parse_config(text, self.spine.folder / "gateway.toml"), self.spine.databases)

    @asynccontextmanager
    async def running(self, follow):
        lfdi = self.spine.device("gateway")
        for above in (self.utility, self.aggregator):
            await above.start(lfdi)
        async with self.utility.node.serving.http as one, self.aggregator.node.serving.http as two:
            ports = {
                "utility": (await one.listen("127.0.0.1", 0)).port,
                "aggregator": (await two.listen("127.0.0.1", 0)).port,
            }
            node = self.gateway(ports, await self.spine.inverter(POINT), follow)
            async with asyncio.TaskGroup() as group:
                works = (node.follower.run(), serve_owner(node, node.follower), self.watch())
                tasks = [group.create_task(work) for work in works]
                await self.spine.until(lambda: node.follower.walked, 120)
                yield node
                for task in tasks:
                    task.cancel()
        await self.spine.close()

    async def owner(self, *words):
        """Type a command of the owner at the gateway; gives exit code, output and errors."""
        typed = [sys.executable, "-m", "tierline", "owner", *words, "--state", str(self.spine.folder / "state")]
        process = await asyncio.create_subprocess_exec(*typed, stdout=PIPE, stderr=PIPE)
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    async def watch(self):
        while True:
            if not self.trace or self.trace[-1] != self.limit():
                self.trace.append(self.limit())
            await asyncio.sleep(0.01)

    def limit(self):
        block = self.spine.inverters[POINT].image.block(704)
        return block.value("WMaxLimPct") if block.code("WMaxLimPctEna") else None

    def setpoint(self):
        block = self.spine.inverters[POINT].image.block(704)
        return block.value("WSetPct") if block.code("WSetEna") else None

    def after(self, seconds):
        return self.spine.clock.now().replace(microsecond=0) + timedelta(seconds=seconds)


def binding(node):
    """Who binds, by channel, as the gateway explains it."""
    return {str(entry.channel): entry.binding for entry in node.follower.obey.applied.explanation}


async def test_of_two_limits_the_tighter_binds_and_both_are_answered_and_of_two_setpoints_one_wins(tmp_path):
    site = Site(tmp_path)
    utility, aggregator, until = site.utility, site.aggregator, site.spine.until
    async with site.running('[follow]\nmode = "dual"') as node:
        start = site.after(180)
        half = await utility.order(start, 900, max_lim_w_pct=50)
        loose = await aggregator.order(start, 300, max_lim_w_pct=80)
        tight = await aggregator.order(start + timedelta(seconds=300), 240, max_lim_w_pct=30)
        await until(lambda: aggregator.answers(loose) == [1, 2], 400)
        assert utility.answers(half) == [1, 2]
        assert binding(node) == {"utility": True, "aggregator": False}
        await until(lambda: aggregator.answers(tight) == [1, 2], 400)
        assert binding(node) == {"utility": False, "aggregator": True}
        await until(lambda: utility.answers(half) == [1, 2, 3], 800)
        await until(lambda: site.trace[-1] is None, 60)
        assert aggregator.answers(loose) == aggregator.answers(tight) == [1, 2, 3]
        assert site.trace == [None, 50, 30, 50, None]

        start = site.after(180)
        wins = await utility.order(start, 300, fixed_w_pct=40)
        loses = await aggregator.order(start, 300, fixed_w_pct=60)
        await until(lambda: aggregator.answers(loses) == [1, 13], 400)
        await until(lambda: site.setpoint() == 40, 60)
        await until(lambda: utility.answers(wins) == [1, 2, 3], 600)
        await until(lambda: site.setpoint() is None, 60)
        assert aggregator.answers(loses) == [1, 13]


async def test_one_channel_is_of_record_until_a_stated_time_and_the_other_is_told_13(tmp_path):
    site = Site(tmp_path)
    utility, aggregator, until = site.utility, site.aggregator, site.spine.until
    change = site.after(600)
    follow = f'[follow]\nowner_limits = {{ max_lim_w_pct = 90 }}\n[[follow.record]]\nchannel = "aggregator"\nfrom = {change.isoformat()}'
    async with site.running(follow):
        start = site.after(120)
        half = await utility.order(start, 3600, max_lim_w_pct=50)
        refused = await aggregator.order(start, 3600, max_lim_w_pct=20)
        await until(lambda: aggregator.answers(refused) == [1, 13], 300)
        await until(lambda: utility.answers(half) == [1, 2], 300)
        assert site.spine.clock.now() < change
        await until(lambda: utility.answers(half) == [1, 2, 13], 800)
        assert site.spine.clock.now() >= change
        await until(lambda: site.limit() == 90, 60)
        taken = await aggregator.order(site.after(120), 300, max_lim_w_pct=30)
        late = await utility.order(site.after(120), 300, max_lim_w_pct=10)
        await until(lambda: aggregator.answers(taken) == [1, 2, 3], 700)
        await until(lambda: site.trace[-1] == 90, 60)
        assert utility.answers(late) == [1, 13]
        assert aggregator.answers(refused) == [1, 13]
        assert [value for value in site.trace if value is not None] == [90, 50, 90, 30, 90]


async def test_the_owner_refuses_an_aggregator_and_not_the_utility(tmp_path):
    site = Site(tmp_path)
    utility, aggregator, until = site.utility, site.aggregator, site.spine.until
    async with site.running('[follow]\nmode = "dual"'):
        start = site.after(120)
        half = await utility.order(start, 3600, max_lim_w_pct=50)
        tight = await aggregator.order(start, 3600, max_lim_w_pct=30)
        await until(lambda: aggregator.answers(tight) == [1, 2] == utility.answers(half), 300)
        code, out, _ = await site.owner("explain")
        assert code == 0
        assert f"aggregator: max_lim_w_pct 30 (event {tight[:8]}): binding" in out
        assert f"utility: max_lim_w_pct 50 (event {half[:8]}): not binding" in out
        code, _, err = await site.owner("opt-out", half)
        assert code == 1
        assert "the utility may not be refused" in err
        code, out, _ = await site.owner("opt-out", tight)
        assert (code, out) == (0, f"event {tight} is refused and over for this device\n")
        await until(lambda: aggregator.answers(tight) == [1, 2, 4], 300)
        await until(lambda: site.limit() == 50, 60)
        assert utility.answers(half) == [1, 2]
