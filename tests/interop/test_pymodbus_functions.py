"""Inverter functions of our client face against a pymodbus server whose registers pysunspec2 encoded and decodes.

What the registers hold is judged by pysunspec2, which knows nothing of us.
"""

import asyncio
import json
import struct
import warnings
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import sunspec2.device
import sunspec2.file.client
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from tierline.env.network import RealNetwork
from tierline.model.control import Curve, CurvePoint, Droop, FixedVar, PowerFactor, Reference, Setpoints
from tierline.model.identity import DerId, Mrid
from tierline.protocols.sunspec.link import Endpoint
from tierline.protocols.sunspec.south import Adopting, SunSpecDevice

pytestmark = pytest.mark.interop

BASE = 40000


def stored(*, read_only, x, y, points, room, **rest):
    filled = [*points, *[(0, 0)] * (room - len(points))]
    pairs = [{x: a, y: b} for a, b in filled]
    return {"ActPt": len(points), **rest, "ReadOnly": read_only, "Pt": pairs}


def trip_set(read_only):
    pairs = [{"V": 5000, "Tms": 200}, {"V": 5000, "Tms": 2100}, {"V": 8800, "Tms": 2100}]
    part = {"ActPt": 3, "Pt": pairs}
    return {"ReadOnly": read_only, "MustTrip": part, "MayTrip": {"ActPt": 0, "Pt": pairs}, "MomCess": part}


CONTROLS = {
    "ID": 704,
    "PF_SF": -3,
    "WSetPct_SF": -1,
    "WMaxLimPct_SF": -1,
    "VarSetPct_SF": -2,
    "WSet_SF": 1,
    "VarSet_SF": 0,
}
CONTROLS |= {"WMaxLimPctEna": 0, "WMaxLimPct": 1000, "PFWInjEna": 0, "PFWInj": {"PF": 1000, "Ext": 1}}
CONTROLS |= {"WSetEna": 0, "WSetMod": 0, "WSet": 0, "WSetPct": 0, "VarSetEna": 0, "VarSetMod": 1, "VarSetPri": 1}
CONTROLS |= {"VarSet": 0, "VarSetPct": 0, "PFWInjRvrt": {}, "PFWAbs": {}, "PFWAbsRvrt": {}}
ADOPTING = {"Ena": 0, "AdptCrvReq": 0, "AdptCrvRslt": 0, "NCrv": 2}
VOLT_WATT = {"x": "V", "y": "W", "points": [(1060, 100), (1100, 0)], "room": 4, "DeptRef": 0, "RspTms": 10}
WATT_VAR = {"x": "W", "y": "Var", "points": [(20, 0), (100, -44)], "room": 6, "DeptRef": 1, "Pri": 1}
DROOP = {"DbOf": 36, "DbUf": 36, "KOf": 50, "KUf": 50, "RspTms": 50, "PMin": 0}
IMAGE = {
    "name": "judge",
    "models": [
        {"ID": 1, "Mn": "Other", "Md": "Device", "SN": "1", "Vr": "1"},
        CONTROLS,
        {"ID": 706, **ADOPTING, "NPt": 4, "V_SF": -1, "DeptRef_SF": 0, "RspTms_SF": 0}
        | {"Crv": [stored(read_only=index == 0, **VOLT_WATT) for index in range(2)]},
        {"ID": 707, "Ena": 1, "AdptCrvReq": 0, "AdptCrvRslt": 0, "NPt": 3, "NCrvSet": 2, "V_SF": -2, "Tms_SF": -2}
        | {"Crv": [trip_set(1), trip_set(0)]},
        {"ID": 711, "Ena": 1, "AdptCtlReq": 0, "AdptCtlRslt": 0, "NCtl": 2, "Db_SF": -3, "K_SF": -3, "RspTms_SF": -1}
        | {"Ctl": [{**DROOP, "ReadOnly": int(index == 0)} for index in range(2)]},
        {"ID": 712, **ADOPTING, "NPt": 6, "W_SF": 0, "DeptRef_SF": 0}
        | {"Crv": [stored(read_only=index == 0, **WATT_VAR) for index in range(2)]},
    ],
}
STORED = {706: "Crv", 707: "Crv", 711: "Ctl", 712: "Crv"}


class Clock:
    def now(self):
        return datetime(2026, 11, 24, tzinfo=UTC)

    def deadline(self):
        return asyncio.get_running_loop().time()


class Half:
    def fraction(self):
        return 0.5


class Judge:
    """A pymodbus server that adopts stored curves and controls, and pysunspec2 to say what its registers hold."""

    def __init__(self, tmp_path):
        path = tmp_path / "judge.json"
        path.write_text(json.dumps(IMAGE))
        device = sunspec2.file.client.FileClientDevice(str(path), addr=BASE + 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # pysunspec2 1.3.7 leaves its file open
            device.scan()
        self.models = {model.model_id: model for model in device.model_list}
        self.image = b"SunS" + b"".join(model.get_mb() for model in device.model_list) + b"\xff\xff\0\0"
        self.registers = []

    async def __aenter__(self):
        values = list(struct.unpack(f">{len(self.image) // 2}H", self.image))
        data = SimData(address=BASE, values=values, datatype=DataType.REGISTERS)
        self.server = ModbusTcpServer(SimDevice(id=1, simdata=[data], action=self.action), address=("127.0.0.1", 0))
        await self.server.serve_forever(background=True)
        self.device = SunSpecDevice(
            network=RealNetwork(),
            clock=Clock(),
            random=Half(),
            endpoint=Endpoint(host="127.0.0.1", port=self.server.transport.sockets[0].getsockname()[1]),
            der_id=DerId("abc"),
            adopting=Adopting(poll_s=0.01, most_s=0.5),
        )
        return self

    async def __aexit__(self, *_exc):
        await self.device.close()
        await self.server.shutdown()
        await asyncio.sleep(0.02)

    async def action(self, function_code, start_address, address, count, current_registers, set_values):
        self.registers = current_registers
        for model_id, group in STORED.items():
            model = self.models[model_id]
            request = model.model_addr + model.points[f"Adpt{group}Req"].offset
            if set_values is not None and address == request:
                sets = getattr(model, group)
                length = len(sets[0].get_mb()) // 2
                active = model.model_addr + sets[0].offset - start_address
                chosen = active + (set_values[0] - 1) * length
                flag = active + sets[0].points["ReadOnly"].offset - sets[0].offset
                current_registers[active : active + length] = current_registers[chosen : chosen + length]
                current_registers[flag] = 1
                current_registers[model.model_addr + model.points[f"Adpt{group}Rslt"].offset - start_address] = 1

    def model(self, model_id):
        """Let pysunspec2 read the registers as they are now."""
        data = struct.pack(f">{len(self.registers)}H", *self.registers)
        known = self.models[model_id]
        start = 2 * (known.model_addr - BASE)
        part = data[start : start + 2 * known.len]
        found = sunspec2.device.Model(model_id=model_id, model_len=known.model_len, data=part)
        found.set_mb(data=part)
        return found


def curve(*pairs, **rest):
    points = tuple(CurvePoint(x=Decimal(x), y=Decimal(y)) for x, y in pairs)
    return Curve(mrid=Mrid("A" * 32), points=points, **rest)


@pytest.mark.parametrize("absorbing", [False, True])
async def test_a_power_factor_is_held_and_released(tmp_path, absorbing):
    target = Setpoints.of({"fixed_pf_inject_w": PowerFactor(displacement=Decimal("0.925"), absorbing=absorbing)})
    async with Judge(tmp_path) as judge:
        assert (await judge.device.apply(target)).setpoints == target
        held = judge.model(704)
        assert (held.PFWInjEna.value, held.PFWInj.PF.cvalue) == (1, pytest.approx(0.925))
        assert held.PFWInj.Ext.value == int(absorbing)  # 0 over-excited, 1 under-excited
        await judge.device.apply(Setpoints())
        assert judge.model(704).PFWInjEna.value == 0


@pytest.mark.parametrize(
    ("name", "value", "mode", "point", "expected"),
    [
        ("fixed_var", FixedVar(value_pct=Decimal("-12.34"), reference=Reference.SET_MAX_W), 0, "VarSetPct", -12.34),
        ("fixed_var", FixedVar(value_pct=Decimal(25), reference=Reference.SET_MAX_VAR), 1, "VarSetPct", 25),
        ("fixed_var", FixedVar(value_pct=Decimal(25), reference=Reference.STAT_VAR_AVAIL), 2, "VarSetPct", 25),
        ("target_var", Decimal(-1234), 4, "VarSet", -1234),
    ],
)
async def test_a_constant_var_is_held_and_released(tmp_path, name, value, mode, point, expected):
    target = Setpoints.of({name: value})
    async with Judge(tmp_path) as judge:
        assert (await judge.device.apply(target)).setpoints == target
        held = judge.model(704)
        assert (held.VarSetEna.value, held.VarSetMod.value) == (1, mode)
        assert held.points[point].cvalue == pytest.approx(expected)
        await judge.device.apply(Setpoints())
        assert judge.model(704).VarSetEna.value == 0


async def test_limit_and_set_point_are_held_together_and_released(tmp_path):
    target = Setpoints.of({"max_lim_w_pct": Decimal("62.5"), "fixed_w_pct": Decimal(40)})
    async with Judge(tmp_path) as judge:
        assert (await judge.device.apply(target)).setpoints == target
        held = judge.model(704)
        assert (held.WMaxLimPctEna.value, held.WMaxLimPct.cvalue) == (1, pytest.approx(62.5))
        assert (held.WSetEna.value, held.WSetMod.value, held.WSetPct.cvalue) == (1, 0, pytest.approx(40))
        await judge.device.apply(Setpoints())
        held = judge.model(704)
        assert (held.WMaxLimPctEna.value, held.WSetEna.value) == (0, 0)


async def test_a_volt_watt_curve_is_adopted_and_released(tmp_path):
    wanted = curve((104, 100), ("108.5", 20), (110, 0), y_reference=Reference.SET_MAX_W, open_loop_s=Decimal(7))
    target = Setpoints.of({"volt_watt": wanted})
    async with Judge(tmp_path) as judge:
        assert (await judge.device.apply(target)).setpoints == target
        held = judge.model(706)
        points = [(point.V.cvalue, point.W.cvalue) for point in held.Crv[0].Pt[: held.Crv[0].ActPt.value]]
        assert points == [(104, 100), (108.5, 20), (110, 0)]
        assert (held.Ena.value, held.Crv[0].DeptRef.value, held.Crv[0].RspTms.cvalue) == (1, 0, 7)
        await judge.device.apply(Setpoints())
        assert judge.model(706).Ena.value == 0


async def test_a_watt_var_curve_is_adopted_and_released(tmp_path):
    wanted = curve((-100, 44), (-20, 0), (20, 0), (100, -40), y_reference=Reference.SET_MAX_VAR)
    target = Setpoints.of({"watt_var": wanted})
    async with Judge(tmp_path) as judge:
        assert (await judge.device.apply(target)).setpoints == target
        held = judge.model(712)
        points = [(point.W.cvalue, point.Var.cvalue) for point in held.Crv[0].Pt[: held.Crv[0].ActPt.value]]
        assert points == [(-100, 44), (-20, 0), (20, 0), (100, -40)]
        assert (held.Ena.value, held.Crv[0].DeptRef.value) == (1, 1)
        await judge.device.apply(Setpoints())
        assert judge.model(712).Ena.value == 0


async def test_a_frequency_droop_is_adopted_whole_and_stays(tmp_path):
    droop = Droop(
        dead_band_over_hz=Decimal("0.1"),
        dead_band_under_hz=Decimal("0.05"),
        slope_over=Decimal("0.03"),
        slope_under=Decimal("0.04"),
        open_loop_s=Decimal("2.5"),
    )
    async with Judge(tmp_path) as judge:
        back = await judge.device.apply(Setpoints.of({"freq_droop": droop}))
        assert back.setpoints["freq_droop"] == droop
        await judge.device.apply(Setpoints())
        held = judge.model(711)
        names = ("DbOf", "DbUf", "KOf", "KUf", "RspTms")
        assert [held.Ctl[0].points[name].cvalue for name in names] == pytest.approx([0.1, 0.05, 0.03, 0.04, 2.5])
        assert (held.Ena.value, held.AdptCtlReq.value, held.AdptCtlRslt.value) == (1, 2, 1)


async def test_a_trip_curve_is_adopted_and_the_other_curves_of_its_set_stay(tmp_path):
    wanted = curve(("1.5", 50), (11, 50), (11, 70))
    async with Judge(tmp_path) as judge:
        back = await judge.device.apply(Setpoints.of({"lvrt_must_trip": wanted}))
        assert back.setpoints["lvrt_must_trip"] == wanted
        held = judge.model(707).Crv[0]
        assert [(p.Tms.cvalue, p.V.cvalue) for p in held.MustTrip.Pt] == [(1.5, 50), (11, 50), (11, 70)]
        assert [(p.Tms.cvalue, p.V.cvalue) for p in held.MomCess.Pt] == [(2, 50), (21, 50), (21, 88)]
        assert held.MayTrip.ActPt.value == 0
