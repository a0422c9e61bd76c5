"""A gateway of ours under test: composed from its TOML, its device held in memory, its head-end scripted."""

from __future__ import annotations

import asyncio
import runpy
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from bench.documents import Device
from bench.scripted_server import ScriptedServer, context_of
from tierline.model.errors import Unsupported
from tierline.node.compose import compose
from tierline.node.config import parse_config
from tierline.ports import DeviceFacts, ReadBack
from tierline.security.hardware_name import HardwareName
from tierline.security.keys import write_credential
from tierline.security.pki import make_server

_SPINE = runpy.run_path(str(Path(__file__).parents[2] / "spine.py"))
Spine, OPERATOR, BORN, HARDWARE = (_SPINE[name] for name in ("Spine", "OPERATOR", "BORN", "HARDWARE"))

NAME = HardwareName(type_oid=HARDWARE, serial=b"scripted")
FUNCTIONS = {
    "opModConnect": "connect",
    "opModEnergize": "energize",
    "opModFixedPFInjectW": "fixed_pf_inject_w",
    "opModFixedW": "fixed_w_pct",
    "opModFreqDroop": "freq_droop",
    "opModFreqWatt": "freq_watt",
    "opModHFRTMustTrip": "hfrt_must_trip",
    "opModHVRTMomentaryCessation": "hvrt_momentary_cessation",
    "opModHVRTMustTrip": "hvrt_must_trip",
    "opModLFRTMustTrip": "lfrt_must_trip",
    "opModLVRTMomentaryCessation": "lvrt_momentary_cessation",
    "opModLVRTMustTrip": "lvrt_must_trip",
    "opModMaxLimW": "max_lim_w_pct",
    "opModTargetW": "target_w",
    "opModVoltVar": "volt_var",
    "opModVoltWatt": "volt_watt",
    "setGradW": "grad_w_pct_per_s",
    "setSoftGradW": "soft_grad_w_pct_per_s",
}
"""What the device carries out, by the name on the wire."""
RATING_W = Decimal(10_000)


def spine_of(folder, clock):
    """Make the certificates and the ground of all configurations; they tell the clock of the row."""
    made = Spine(folder, speed=clock.speed, start=clock.t0)
    made.clock = clock
    return made


def free_port():
    """Find a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class HeldDevice:
    """The port `Southbound` to a device that holds what it is told and remembers when."""

    def __init__(self, now):
        self._now = now
        self.history = []
        """(civil seconds, {canonical name: value}) of every change."""
        self.status = {"inverter_status": 4, "operational_mode": 2, "connect_status": 7}
        self.watts = 4200
        self.settings = {"set_max_w": Decimal(9000), "set_max_va": Decimal(10_000)}

    async def discover(self):
        return DeviceFacts(
            manufacturer="tierline",
            model="held",
            serial="1",
            version="1",
            nameplate={"rtg_max_w": RATING_W, "rtg_max_va": Decimal(11_000), "rtg_max_var": Decimal(4400)},
            settings=dict(self.settings),
            functions=frozenset(FUNCTIONS.values()),
        )

    async def apply(self, target, *, ramp_time_s=None, **more):
        strange = set(target) - set(FUNCTIONS.values())
        if strange:
            raise Unsupported(f"{sorted(strange)}")
        self.history.append((self._now(), dict(target)))
        return ReadBack(setpoints=target, writes=len(target))

    async def measure(self):
        readings = [("w", 0, self.watts, 0), ("var", 0, -300, 0), ("hz", 0, 5001, -2), ("v_an", 0, 2305, -1)]
        return [*readings, *((name, 0, value, 0) for name, value in self.status.items())], ()

    async def close(self):
        pass

    @property
    def holds(self):
        return self.history[-1][1] if self.history else {}


class Der:
    """Everything of one row: certificates, clock, head-end, device and gateway."""

    def __init__(self, folder, clock):
        self.spine = spine_of(folder, clock)
        self.clock = clock
        self.lfdi = self.spine.device("gw")
        self.device = HeldDevice(self.now)
        self.server = None
        self.node = None

    @staticmethod
    def named():
        """Say how a certificate of the head-end is named and since when it is good."""
        return NAME, BORN

    def now(self):
        return self.clock.now().timestamp()

    def context(self, credential=None):
        """Make the head-end's context: a good certificate unless another is given."""
        credential = credential or make_server(self.spine.mica, NAME, BORN)
        folder = self.spine.folder / f"head-end-{len(list(self.spine.folder.glob('head-end-*')))}"
        files = write_credential(folder, "own", credential)
        return context_of(*files, self.spine.folder / "root.pem")

    def compose(self, port, *, pin=111115, follow="", name="gw", party="utility"):
        text = f"""{self.spine.common(name, 2, "owner")}
            [identity]
            pen = 40732
            [[north]]
            protocol = "sep2"
            channel = "{party}"
            party = "{party}"
            server = "https://127.0.0.1:{port}/dcap"
            pin = {pin}
            [[south]]
            protocol = "sunspec"
            address = "127.0.0.1:1"
            read_s = 10
            [follow]
            {follow}
            """
        self.node = compose(parse_config(text, self.spine.folder / f"{name}.toml"), self.spine.databases)
        self.node.follower._south = self.device
        return self.node.follower

    @asynccontextmanager
    async def head_end(self, credential=None, *, context=None):
        """Open the scripted head-end, which shows this DER and nothing else."""
        async with ScriptedServer(context or self.context(credential), self.now) as server:
            server.devices = [Device(self.lfdi)]
            self.server = server
            yield server

    @asynccontextmanager
    async def following(self, **more):
        """Run the gateway at the head-end."""
        follower = self.compose(self.server.port, **more)
        running = asyncio.ensure_future(follower.run())
        try:
            yield follower
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def until(self, holds, civil_s=600):
        await self.spine.until(holds, civil_s)

    async def sleep_until(self, t):
        await self.clock.sleep_until(datetime.fromtimestamp(t, UTC))

    async def walked(self, times=1):
        """Wait until the gateway has begun that many further walks, so that those before are whole."""
        begun = len(self.server.asked("GET", "^/dcap$"))
        await self.until(lambda: len(self.server.asked("GET", "^/dcap$")) >= begun + times + 1)

    def statuses(self, mrid):
        """List what was answered to one event, in order."""
        return [status for _, subject, status, _ in self.server.responses() if subject == mrid]

    async def close(self):
        await self.spine.close()
