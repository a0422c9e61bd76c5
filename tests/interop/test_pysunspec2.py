"""pysunspec2 as foreign client of our server face, over real sockets, and as judge of our codec."""

import asyncio
from decimal import Decimal

import pytest
import sunspec2.device
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP, SunSpecModbusClientException
from sunspec2.modbus.modbus import ModbusClientException

from tierline.env.network import RealNetwork
from tierline.protocols.sunspec.codec import compile_layout
from tierline.protocols.sunspec.device import InverterType, standard_image
from tierline.protocols.sunspec.inverter import Adopted, Changed, SunSpecInverter
from tierline.protocols.sunspec.north import NorthFace

pytestmark = pytest.mark.interop

KIND = InverterType(
    manufacturer="Acme",
    model="X1",
    serial="000123",
    rated_w=Decimal(8000),
    rated_va=Decimal(8800),
    rated_var=Decimal(3800),
    phases=3,
    charge_w=Decimal(8000),
    capacity_wh=Decimal(20000),
)


class Served:
    """Our server face and a pysunspec2 client, which blocks and so lives in a thread."""

    def __init__(self):
        self.changes = []
        self.journal = []
        self.inverter = SunSpecInverter(standard_image(KIND), on_change=self.changes.append)
        self.face = NorthFace({1: self.inverter}, journal=self.journal.append)

    async def __aenter__(self):
        self.port = await self.face.listen(RealNetwork(), "127.0.0.1", 0)
        self.client = SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr="127.0.0.1", ipport=self.port, timeout=2)
        await asyncio.to_thread(self.client.connect)
        await asyncio.to_thread(self.client.scan, connect=False)
        return self

    async def __aexit__(self, *_exc):
        await asyncio.to_thread(self.client.disconnect)
        await self.face.close()

    def model(self, model_id):
        return self.client.models[model_id][0]


def raw_points(block, group, prefix=""):
    """Pair every point of a pysunspec2 model with ours."""
    for name, point in group.points.items():
        yield prefix + name, point
    for name, child in group.groups.items():
        if isinstance(child, list):
            for index, each in enumerate(child):
                yield from raw_points(block, each, f"{prefix}{name}[{index}].")
        else:
            yield from raw_points(block, child, f"{prefix}{name}.")


async def test_a_foreign_client_finds_every_model_and_reads_every_point_as_we_do():
    async with Served() as served:
        served.inverter.set_measurements({"W": 7321.0, "Hz": 59.987, "VL1": 239.7, "Var": -512.0, "InvSt": 3})
        assert sorted(key for key in served.client.models if isinstance(key, int)) == [1, *range(701, 714)]
        compared = 0
        for model_id in served.inverter.image.models:
            model = served.model(model_id)
            await asyncio.to_thread(model.read)
            block = served.inverter.image.block(model_id)
            points = dict(raw_points(block, model))
            assert set(points) == set(block.layout.by_path)
            for path, point in points.items():
                ours, theirs = block.value(path), point.cvalue
                if isinstance(ours, Decimal):
                    assert theirs == pytest.approx(float(ours), rel=1e-12), (model_id, path)
                elif block.layout.place(path).point.type != "pad":
                    assert (theirs or None) == (ours or None), (model_id, path)
                compared += 1
        assert compared > 800


async def test_a_foreign_client_sets_a_limit():
    async with Served() as served:
        model = served.model(704)
        model.WMaxLimPct.cvalue = 42.5
        model.WMaxLimPctEna.value = 1
        await asyncio.to_thread(model.write)
        assert served.inverter.image.block(704).number("WMaxLimPct") == Decimal("42.5")
        assert Changed(model_id=704, path="WMaxLimPctEna", value=1) in served.changes
        assert all(entry.refusal == 0 and entry.raw for entry in served.journal)


async def test_a_foreign_client_adopts_a_volt_var_curve():
    async with Served() as served:
        model = served.model(705)
        curve = model.Crv[1]
        for index, (volts, var) in enumerate([(90, 40), (97.5, 0), (103, 0), (109, -40)]):
            curve.Pt[index].V.cvalue = volts
            curve.Pt[index].Var.cvalue = var
        curve.ActPt.value = 4
        await asyncio.to_thread(model.write)
        model.AdptCrvReq.value = 2
        model.Ena.value = 1
        await asyncio.to_thread(model.write)
        await asyncio.to_thread(model.read)
        assert model.AdptCrvRslt.value == 1
        active = [(point.V.cvalue, point.Var.cvalue) for point in model.Crv[0].Pt[:4]]
        assert active == [(90.0, 40.0), (97.5, 0.0), (103.0, 0.0), (109.0, -40.0)]
        (adopted,) = [change for change in served.changes if isinstance(change, Adopted)]
        assert adopted.values["Pt[1].V"] == Decimal("97.5")


async def test_a_foreign_client_is_refused_an_invalid_curve_and_the_active_one():
    async with Served() as served:
        model = served.model(705)
        before = served.inverter.active(705)
        model.Crv[2].Pt[1].V.cvalue = 50
        await asyncio.to_thread(model.write)
        model.AdptCrvReq.value = 3
        await asyncio.to_thread(model.write)
        await asyncio.to_thread(model.read)
        assert model.AdptCrvRslt.value == 2
        assert served.inverter.active(705) == before
        model.Crv[0].ActPt.value = 2
        with pytest.raises((SunSpecModbusClientException, ModbusClientException)):
            await asyncio.to_thread(model.write)
        assert served.inverter.active(705) == before


@pytest.mark.parametrize("model_id", [1, *range(701, 716)])
def test_registers_of_our_codec_are_read_alike_by_pysunspec2(model_id):
    counts = {"NPt": 4, "NCrv": 3, "NCrvSet": 2, "NCtl": 2, "NPrt": 3}
    root = sunspec2.device.get_model_def(model_id)["group"]
    needed = {name: count for name, count in counts.items() if f'"{name}"' in str(root).replace("'", '"')}
    layout = compile_layout(model_id, needed)
    values = {}
    for index, place in enumerate(layout.places):
        if place.path in {"ID", "L", *needed} or place.point.type == "pad":
            continue
        if place.point.type == "sunssf":
            values[place.path] = index % 5 - 3
        elif place.point.type == "string":
            values[place.path] = f"text {index % 9}"
    for index, place in enumerate(layout.places):
        if place.path not in values and place.path not in {"ID", "L", *needed} and place.point.type != "pad":
            raw = 7 + index % 50
            signed = place.point.type.startswith("int") and index % 2
            exponent = values.get(place.scale, 0) if isinstance(place.scale, str) else 0
            number = Decimal(-raw if signed else raw)
            values[place.path] = number.scaleb(exponent) if place.scale else int(number)
    data = layout.encode(values)
    theirs = sunspec2.device.Model(model_id=model_id, model_len=layout.length - 2, data=data)
    theirs.set_mb(data=data)
    assert theirs.get_mb() == data
    block = layout.decode(data)
    for path, point in raw_points(block, theirs):
        if path in values:
            ours = block.value(path)
            expected = float(ours) if isinstance(ours, Decimal) else ours
            assert point.cvalue == (pytest.approx(expected) if isinstance(expected, float) else expected), path
