"""A small utility with its certificates in a folder, for tests that need a whole node over real sockets."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tierline.env import RealClock, RealNetwork
from tierline.model.identity import PartyId
from tierline.model.parties import Principal, Role
from tierline.node.compose import Databases, compose
from tierline.node.config import parse_config
from tierline.protocols.sunspec.device import InverterType, standard_image
from tierline.protocols.sunspec.inverter import SunSpecInverter
from tierline.protocols.sunspec.north import NorthFace
from tierline.security.hardware_name import HardwareName
from tierline.security.keys import write_credential
from tierline.security.pki import make_device, make_mica, make_serca, make_server

BORN = datetime(2026, 1, 1, tzinfo=UTC)
HARDWARE = "1.3.6.1.4.1.40732.1.1"
OPERATOR = Principal(party=PartyId("utility"), role=Role.OPERATOR, name="olive")


class Spine:
    """Everything of one small utility, in a folder."""

    def __init__(self, folder, *, speed=60.0, start=datetime(2026, 6, 18, 12, tzinfo=UTC)):
        self.folder = folder
        self.speed = speed
        self.clock = RealClock.of_this_machine(speed, t0=start)
        self.root = make_serca("demo", BORN, demo=True)
        self.mica = make_mica(self.root, "demo MICA", BORN)
        (folder / "root.pem").write_bytes(self.root.certificate_pem)
        hardware = HardwareName(type_oid=HARDWARE, serial=b"utility")
        write_credential(folder, "utility", make_server(self.mica, hardware, BORN, ip_addresses=["127.0.0.1", "::1"]))
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
            start = {self.clock.t0.isoformat()}
            monotonic_s = {self.clock.m0}
            speed = {self.speed}
            [tls]
            certificate = "{name}.pem"
            key = "{name}.key"
            anchors = ["root.pem"]
            demo = true
            """

    def utility(self, poll_rate_s=60, post_rate_s=300):
        text = f"""{self.common("utility", 4, "utility")}
            [identity]
            pen = 40732
            [serve.sep2]
            listen = ["127.0.0.1:0"]
            poll_rate_s = {poll_rate_s}
            post_rate_s = {post_rate_s}
            [grid]
            file = "oberrhein"
            """
        return compose(parse_config(text, self.folder / "utility.toml"), self.databases)

    def device(self, name):
        credential = make_device(self.mica, HardwareName(type_oid=HARDWARE, serial=name.encode()), BORN)
        write_credential(self.folder, name, credential)
        return credential.lfdi

    def gateway(self, name, server_port, inverter_port, pin):
        text = f"""{self.common(name, 2, "owner")}
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
        return compose(parse_config(text, self.folder / f"{name}.toml"), self.databases)

    async def inverter(self, name, **more):
        kind = InverterType(
            manufacturer="tierline",
            model="simulated",
            serial=name,
            rated_w=Decimal(100_000),
            rated_va=Decimal(110_000),
            rated_var=Decimal(48_400),
            phases=3,
            **more,
        )
        inverter = SunSpecInverter(standard_image(kind))
        self.inverters[name] = inverter
        face = NorthFace({1: inverter})
        self.faces.append(face)
        return await face.listen(RealNetwork(), "127.0.0.1", 0)

    async def until(self, holds, civil_s):
        deadline = self.clock.now() + timedelta(seconds=civil_s)
        while not holds():
            assert self.clock.now() < deadline, "it did not come true in time"
            await asyncio.sleep(0.02)

    async def close(self):
        for face in self.faces:
            await face.close()
        self.databases.close()
