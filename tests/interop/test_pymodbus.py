"""Our client face against a pymodbus server whose registers pysunspec2 encoded: neither end's bytes are ours."""

import asyncio
import importlib.resources
import struct
import warnings
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import sunspec2.file.client
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from tierline.env.network import RealNetwork
from tierline.model.control import Curve, CurvePoint, Reference, Setpoints
from tierline.model.errors import LinkError, TierlineError
from tierline.model.identity import DerId, Mrid
from tierline.protocols.sunspec.link import Endpoint, ModbusLink, Patience
from tierline.protocols.sunspec.modbus import ModbusFault
from tierline.protocols.sunspec.south import Adopting, SunSpecDevice

pytestmark = pytest.mark.interop

BASE = 40000


def device_1547() -> tuple[bytes, dict[int, sunspec2.file.client.FileClientModel]]:
    """Let pysunspec2 encode its own test device, with the points of 704 that its file still calls by their old names."""
    path = importlib.resources.files("sunspec2") / "tests" / "test_data" / "device_1547.json"
    device = sunspec2.file.client.FileClientDevice(str(path), addr=BASE + 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # pysunspec2 1.3.7 leaves its file open
        device.scan()
    limits = device.models[704][0]
    for name, value in {"WMaxLimPct_SF": -1, "WMaxLimPct": 1000, "WMaxLimPctEna": 0}.items():
        limits.points[name].value = value
    models = {model.model_id: model for model in device.model_list}
    return b"SunS" + b"".join(model.get_mb() for model in device.model_list) + b"\xff\xff\0\0", models


class Clock:
    def now(self):
        return datetime(2026, 11, 24, tzinfo=UTC)

    def deadline(self):
        return asyncio.get_running_loop().time()


class Half:
    def fraction(self):
        return 0.5


class Pymodbus:
    """A pymodbus server that adopts curves as SunSpec says and fails where it is told to."""

    def __init__(self):
        self.image, self.models = device_1547()
        self.volt_var = self.models[705]
        self.writes = 0
        self.fail_at = 0
        self.failure = None
        self.adopts = True
        self.registers = []

    async def __aenter__(self):
        registers = list(struct.unpack(f">{len(self.image) // 2}H", self.image))
        data = SimData(address=BASE, values=registers, datatype=DataType.REGISTERS)
        self.server = ModbusTcpServer(SimDevice(id=1, simdata=[data], action=self.action), address=("127.0.0.1", 0))
        await self.server.serve_forever(background=True)
        port = self.server.transport.sockets[0].getsockname()[1]
        self.endpoint = Endpoint(host="127.0.0.1", port=port)
        self.device = SunSpecDevice(
            network=RealNetwork(),
            clock=Clock(),
            random=Half(),
            endpoint=self.endpoint,
            der_id=DerId("abc"),
            patience=Patience(request_s=0.5),
            adopting=Adopting(poll_s=0.01, most_s=0.1),
        )
        return self

    async def __aexit__(self, *_exc):
        await self.device.close()
        await self.server.shutdown()
        await asyncio.sleep(0.02)

    async def action(self, function_code, start_address, address, count, current_registers, set_values):
        self.registers = current_registers
        if set_values is None:
            return None
        self.writes += 1
        if self.writes == self.fail_at:
            if self.failure == "silent":
                await asyncio.sleep(1)
            return self.failure if self.failure != "silent" else ExcCodes.DEVICE_BUSY
        if self.adopts and address == self.register(705, "AdptCrvReq"):
            length = len(self.volt_var.Crv[0].get_mb()) // 2
            active = self.volt_var.Crv[0].offset + self.volt_var.model_addr - start_address
            source = active + (set_values[0] - 1) * length
            read_only = current_registers[active + 9]
            current_registers[active : active + length] = current_registers[source : source + length]
            current_registers[active + 9] = read_only
            current_registers[self.register(705, "AdptCrvRslt") - start_address] = 1
        return None

    def register(self, model_id, name):
        model = self.models[model_id]
        return model.model_addr + model.points[name].offset

    def active_curve(self):
        start = self.volt_var.model_addr + self.volt_var.Crv[0].offset - BASE
        length = len(self.volt_var.Crv[0].get_mb()) // 2
        registers = self.registers[start : start + length]
        points = registers[10:]
        return [
            (points[index], struct.unpack(">h", struct.pack(">H", points[index + 1]))[0]) for index in range(0, 8, 2)
        ]


OLD = [(9200, 3000), (9670, 0), (10300, 0), (10700, -3000)]
NEW = [(9000, 2500), (9500, 1000), (10500, -1000), (11000, -2500)]
VOLT_VAR = Curve(
    mrid=Mrid("A" * 32),
    points=tuple(CurvePoint(x=Decimal(x) / 100, y=Decimal(y) / 100) for x, y in NEW),
    y_reference=Reference.SET_MAX_VAR,
)
TARGET = Setpoints.of({"volt_var": VOLT_VAR, "max_lim_w_pct": Decimal("55.5"), "energize": True})


async def test_the_device_is_discovered():
    async with Pymodbus() as peer:
        facts = await peer.device.discover()
        assert (facts.manufacturer, facts.model, facts.serial) == ("SunSpecTest", "Test-1547-1", "sn-123456789")
        assert facts.nameplate["rtg_max_w"] == 10000
        assert facts.nameplate["rtg_max_va"] == 11000
        assert facts.settings["set_max_w"] == 10000
        assert {"volt_var", "max_lim_w_pct", "energize"} <= facts.functions
        # 704.PFWAbs and the set points are not implemented by this device.
        assert not {"fixed_pf_absorb_w", "fixed_w_pct"} & facts.functions
        # NCtl = 1: the only control is the active one.
        assert "freq_droop" not in facts.functions


async def test_the_device_is_measured():
    async with Pymodbus() as peer:
        readings, alarms = await peer.device.measure()
        values = {name: Decimal(value).scaleb(exponent) for name, _, value, exponent in readings}
        assert values["w"] == 9800
        assert values["hz"] == Decimal("60.010")
        assert values["v_an"] == Decimal("12.0")
        assert values["pf"] == Decimal("0.985")
        assert alarms == []


async def test_a_target_is_held_and_read_back():
    async with Pymodbus() as peer:
        back = await peer.device.apply(TARGET)
        assert dict(back.setpoints) == dict(TARGET)
        assert peer.active_curve() == NEW
        writes = peer.writes
        assert (await peer.device.apply(TARGET)).writes == 0
        assert peer.writes == writes


@pytest.mark.parametrize("failure", [ExcCodes.DEVICE_FAILURE, ExcCodes.ILLEGAL_VALUE, "silent"])
@pytest.mark.parametrize("index", range(1, 4))
async def test_a_failure_in_mid_curve_leaves_the_old_or_the_new_curve(failure, index):
    async with Pymodbus() as peer:
        await peer.device.discover()
        peer.fail_at, peer.failure = index, failure
        try:
            back = await peer.device.apply(Setpoints.of({"volt_var": VOLT_VAR}))
            assert ("volt_var" in back.refused) == (peer.writes >= index)
        except TierlineError:
            assert peer.writes >= index
        assert peer.active_curve() in (OLD, NEW)
        peer.fail_at = 0
        back = await peer.device.apply(Setpoints.of({"volt_var": VOLT_VAR}))
        assert back.setpoints["volt_var"] == VOLT_VAR
        assert peer.active_curve() == NEW


async def test_a_device_that_takes_the_request_and_does_not_adopt_is_found_out():
    async with Pymodbus() as peer:
        peer.adopts = False
        back = await peer.device.apply(Setpoints.of({"volt_var": VOLT_VAR}))
        assert back.refused.keys() == {"volt_var"}
        assert peer.active_curve() == OLD


async def test_registers_outside_the_map_are_refused():
    async with Pymodbus() as peer:
        link = ModbusLink(RealNetwork(), peer.endpoint, deadline=lambda: 0.0, fraction=lambda: 0.5)
        with pytest.raises(ModbusFault) as refusal:
            await link.read(100, 2)
        assert refusal.value.code == 2
        await link.close()
        await asyncio.sleep(0.02)


async def test_a_server_that_goes_away_is_a_link_error():
    async with Pymodbus() as peer:
        await peer.device.discover()
        await peer.server.shutdown()
        await asyncio.sleep(0.05)
        for _ in range(2):
            with pytest.raises(LinkError):
                await peer.device.measure()
