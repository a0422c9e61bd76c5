"""A utility node limits a feeder; gateways obey over real TLS, inverters over real Modbus, in one process."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tierline.env import RealClock, RealNetwork
from tierline.model.control import Setpoints
from tierline.model.identity import PartyId
from tierline.model.parties import Principal, Role
from tierline.model.programs import ResponseStatus
from tierline.node.compose import Databases, compose, prepare
from tierline.node.config import parse_config
from tierline.operations.serving import dispatch, registry, topology
from tierline.protocols.sunspec.device import InverterType, standard_image
from tierline.protocols.sunspec.inverter import SunSpecInverter
from tierline.protocols.sunspec.north import NorthFace
from tierline.security.hardware_name import HardwareName
from tierline.security.keys import write_credential
from tierline.security.pki import make_device, make_mica, make_serca, make_server

pytestmark = pytest.mark.e2e

BORN = datetime(2026, 1, 1, tzinfo=UTC)
START = datetime(2026, 6, 18, 12, tzinfo=UTC)
OPERATOR = Principal(party=PartyId("utility"), role=Role.OPERATOR, name="olive")
SPEED = 60.0


class Spine:
    """Everything of one small utility, in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.clock = RealClock.of_this_machine(SPEED, t0=START)
        root = make_serca("demo", BORN, demo=True)
        self.mica = make_mica(root, "demo MICA", BORN)
        (folder / "root.pem").write_bytes(root.certificate_pem)
        server = make_server(
            self.mica,
            HardwareName(type_oid="1.3.6.1.4.1.40732.1.1", serial=b"utility"),
            BORN,
            ip_addresses=["127.0.0.1"],
        )
        write_credential(folder, "utility", server)
        self.databases = Databases()
        self.inverters = {}
        self.faces = []

    def common(self, name, level, party):
        return f"""
            [node]
            name = "{name}"
            level = {level}
            party = "{party}"
            seed = 1
            [clock]
            start = {START.isoformat()}
            monotonic_s = {self.clock.m0}
            speed = {SPEED}
            [tls]
            certificate = "{name}.pem"
            key = "{name}.key"
            anchors = ["root.pem"]
            demo = true
            """

    def utility(self):
        text = (
            self.common("utility", 4, "utility")
            + """
            [identity]
            pen = 40732
            [serve.sep2]
            listen = ["127.0.0.1:0"]
            poll_rate_s = 60
            [grid]
            file = "oberrhein"
            """
        )
        return compose(parse_config(text, self.folder / "utility.toml"), self.databases)

    def device(self, name):
        credential = make_device(self.mica, HardwareName(type_oid="1.3.6.1.4.1.40732.1.1", serial=name.encode()), BORN)
        write_credential(self.folder, name, credential)
        return credential.lfdi

    def gateway(self, name, server_port, inverter_port, pin):
        text = (
            self.common(name, 2, "owner")
            + f"""
            [[north]]
            protocol = "sep2"
            channel = "utility"
            party = "utility"
            server = "https://127.0.0.1:{server_port}/dcap"
            pin = {pin}
            [[south]]
            protocol = "sunspec"
            address = "127.0.0.1:{inverter_port}"
            read_s = 60
            """
        )
        return compose(parse_config(text, self.folder / f"{name}.toml"), self.databases)

    async def inverter(self, name):
        kind = InverterType(
            manufacturer="tierline",
            model="simulated",
            serial=name,
            rated_w=Decimal(100_000),
            rated_va=Decimal(110_000),
            rated_var=Decimal(48_400),
            phases=3,
        )
        inverter = SunSpecInverter(standard_image(kind))
        self.inverters[name] = inverter
        face = NorthFace({1: inverter})
        self.faces.append(face)
        return await face.listen(RealNetwork(), "127.0.0.1", 0)

    async def close(self):
        for face in self.faces:
            await face.close()
        self.databases.close()


async def until(clock, holds, civil_s):
    deadline = clock.now() + timedelta(seconds=civil_s)
    while not holds():
        assert clock.now() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)


async def test_a_feeder_is_limited_and_released_and_every_member_answers_once(tmp_path):
    spine = Spine(tmp_path)
    utility = spine.utility()
    await prepare(utility)
    state = utility.serving.state
    inside, outside = (
        "pv_000",
        next(
            point.id
            for point in state.grid.service_points
            if topology.elements_of(state, point.id) != topology.elements_of(state, "pv_000")
        ),
    )
    lfdis = {point: spine.device(f"gw-{point}") for point in (inside, outside)}
    devices = await registry.register(
        OPERATOR, state, [registry.NewDevice(lfdi=lfdi, service_point=point) for point, lfdi in lfdis.items()]
    )
    async with utility.serving.http as http, asyncio.TaskGroup() as group:
        listener = await http.listen("127.0.0.1", 0)
        followers = []
        for device in devices:
            port = await spine.inverter(device.service_point)
            node = spine.gateway(f"gw-{device.service_point}", listener.port, port, device.pin)
            followers.append(group.create_task(node.follower.run()))
        clock = spine.clock
        feeder = next(iter(topology.elements_of(state, inside) & {f.id for f in state.grid.feeders}))
        await until(clock, lambda: len(state.last_seen) == 2, 120)
        record = await dispatch.create_control(
            OPERATOR,
            state,
            dispatch.Order(
                group_id=topology.find_group(state, feeder).group.id,
                setpoints=Setpoints.of({"max_lim_w_pct": Decimal(50)}),
                start=clock.now() + timedelta(seconds=120),
                duration_s=180,
                reason="test",
            ),
        )
        enabled = lambda point: spine.inverters[point].image.block(704).code("WMaxLimPctEna")  # noqa: E731
        answers = lambda: sorted(status for _, status in state.responses[record.mrid])  # noqa: E731
        await until(clock, lambda: ResponseStatus.STARTED in answers(), 240)
        assert enabled(inside) == 1
        assert spine.inverters[inside].image.block(704).value("WMaxLimPct") == 50
        assert enabled(outside) == 0
        await until(clock, lambda: ResponseStatus.COMPLETED in answers(), 300)
        await until(clock, lambda: enabled(inside) == 0, 30)
        assert answers() == [1, 2, 3]
        assert {der for der, _ in state.responses[record.mrid]} == {devices[0].der_id}
        await until(clock, lambda: len({key[0] for key in state.latest}) == 2, 700)
        for task in followers:
            task.cancel()
    await spine.close()
