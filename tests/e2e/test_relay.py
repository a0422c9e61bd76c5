"""Three nodes from their configuration files: a utility, a substation that relays, a gateway with its inverter."""

import asyncio
import runpy
import socket
from contextlib import AsyncExitStack
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tierline.model.control import Setpoints
from tierline.model.identity import PartyId
from tierline.model.records import ReadingRecord
from tierline.node.compose import compose, prepare
from tierline.node.config import parse_config
from tierline.operations.serving import dispatch, registry, topology
from tierline.security.hardware_name import HardwareName
from tierline.security.keys import write_credential
from tierline.security.pki import make_server

pytestmark = pytest.mark.e2e

_SPINE = runpy.run_path(str(Path(__file__).parent.parent / "spine.py"))
Spine, OPERATOR, HARDWARE, BORN = (_SPINE[name] for name in ("Spine", "OPERATOR", "HARDWARE", "BORN"))


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Levels(Spine):
    """A utility, a substation and gateways, each with its own certificate and database."""

    def __init__(self, folder, **more):
        super().__init__(folder, **more)
        self.notices_port = free_port()
        self.tasks = {}
        self.stack = AsyncExitStack()

    def certificate(self, name):
        """Give a node a certificate with which it serves below and calls above."""
        made = make_server(
            self.mica, HardwareName(type_oid=HARDWARE, serial=name.encode()), BORN, ip_addresses=["127.0.0.1"]
        )
        write_credential(self.folder, name, made)
        return made.lfdi

    def top(self):
        text = f"""{self.common("utility", 4, "utility")}
            [identity]
            pen = 40732
            [serve.sep2]
            listen = ["127.0.0.1:0"]
            poll_rate_s = 300
            post_rate_s = 300
            [serve.sep2.notify]
            allow = ["127.0.0.1:{self.notices_port}"]
            [grid]
            file = "oberrhein"
            """
        return compose(parse_config(text, self.folder / "utility.toml"), self.databases)

    def substation(self, server_port, *, state="state"):
        text = f"""{self.common("substation", 4, "substation").replace("seed = 1", f'seed = 1{chr(10)}state = "{state}"')}
            [identity]
            pen = 40732
            [serve.sep2]
            listen = ["127.0.0.1:0"]
            poll_rate_s = 60
            post_rate_s = 60
            [listener]
            listen = "127.0.0.1:{self.notices_port}"
            uri = "https://127.0.0.1:{self.notices_port}"
            [[north]]
            protocol = "sep2"
            channel = "up"
            party = "utility"
            server = "https://127.0.0.1:{server_port}/dcap"
            use = "relay"
            enrol = "take"
            """
        return compose(parse_config(text, self.folder / "substation.toml"), self.databases)

    async def start(self, group, node):
        """Run a node as `tierline run` does; gives the port it serves on."""
        await prepare(node)
        port = 0
        if node.serving is not None:
            await self.stack.enter_async_context(node.serving.http)
            port = (await node.serving.http.listen("127.0.0.1", 0)).port
        if node.listening is not None:
            await self.stack.enter_async_context(node.listening.http)
            await node.listening.http.listen(*node.listening.listen)
        works = [part.run for part in (node.follower, node.relaying) if part is not None]
        if node.serving is not None:
            works.append(node.serving.telling.task.run)
        self.tasks[node.name] = [group.create_task(work()) for work in works]
        return port

    async def stop(self, name):
        for task in self.tasks.pop(name):
            task.cancel()
            await asyncio.wait([task])


async def test_a_utility_commands_an_inverter_through_a_substation(tmp_path):
    levels = Levels(tmp_path)
    utility = levels.top()
    point = "pv_000"
    async with levels.stack, asyncio.TaskGroup() as group:
        utility_port = await levels.start(group, utility)
        above = utility.serving.state
        await registry.register(
            OPERATOR,
            above,
            [
                registry.NewDevice(lfdi=levels.certificate("substation"), aggregates=PartyId("substation")),
                registry.NewDevice(
                    lfdi=levels.device("gateway"), service_point=point, managed_by=PartyId("substation")
                ),
            ],
        )
        gateway_lfdi = next(lfdi for lfdi, row in above.identities.items() if above.devices[row.der_id].managed_by)
        der = above.identities[gateway_lfdi].der_id
        substation = levels.substation(utility_port)
        substation_port = await levels.start(group, substation)
        here = substation.serving.state
        assert substation.relaying.unwalked() == ["up"]
        await levels.until(lambda: gateway_lfdi in here.identities, 300)
        assert here.devices[here.identities[gateway_lfdi].der_id].pin == above.devices[der].pin
        gateway = levels.gateway("gateway", substation_port, await levels.inverter("gateway"), above.devices[der].pin)
        await levels.start(group, gateway)
        feeder = next(iter(topology.elements_of(above, point) & {row.id for row in above.grid.feeders}))

        async def order(pct, start_s, duration_s):
            return await dispatch.create_control(
                OPERATOR,
                above,
                dispatch.Order(
                    group_id=topology.find_group(above, feeder).group.id,
                    setpoints=Setpoints.of({"max_lim_w_pct": Decimal(pct)}),
                    start=levels.clock.now() + timedelta(seconds=start_s),
                    duration_s=duration_s,
                ),
            )

        def enabled():
            return levels.inverters["gateway"].image.block(704).code("WMaxLimPctEna")

        def answers(mrid):
            return sorted(status for _, status in above.responses[mrid])

        # The utility asks to be polled every 300 s; only its notices make the substation this quick.
        await levels.until(lambda: len(above.subscriptions) >= 3, 300)
        first = await order(50, 200, 240)
        asked_at = levels.clock.now()
        await levels.until(lambda: here.control(first.mrid) is not None, 120)
        assert (levels.clock.now() - asked_at).total_seconds() < 60
        kept, control = here.control(first.mrid).control, first.control
        assert (kept.interval, kept.creation_time) == (control.interval, control.creation_time)
        await levels.until(lambda: answers(first.mrid) == [1, 2], 400)
        assert enabled() == 1
        assert levels.inverters["gateway"].image.block(704).value("WMaxLimPct") == 50
        await levels.until(lambda: answers(first.mrid) == [1, 2, 3], 400)
        await levels.until(lambda: enabled() == 0, 60)
        assert {response.lfdi for response in above.responses[first.mrid].values()} == {gateway_lfdi}
        await levels.until(lambda: any(key[0] == der for key in above.latest), 700)
        await levels.until(lambda: any(key[0] == der for key in above.infos), 300)

        # Cut off from the utility, the substation serves what it knew.
        second = await order(30, 300, 600)
        await levels.until(lambda: answers(second.mrid) == [1], 200)
        await levels.stop("substation")
        await levels.until(lambda: enabled() == 1, 600)
        await levels.until(lambda: len(here.responses[second.mrid]) == 2, 200)
        assert answers(second.mrid) == [1]
        levels.tasks["substation"] = [group.create_task(substation.relaying.run())]
        await levels.until(lambda: answers(second.mrid) == [1, 2], 200)
        readings = [record.reading for record in above.store.load(ReadingRecord) if record.reading.der_id == der]
        assert len({(reading.point, reading.phase, reading.time) for reading in readings}) == len(readings)
        for name in list(levels.tasks):
            await levels.stop(name)
    await levels.close()
