import asyncio
import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from tierline.model.errors import ConfigError
from tierline.node.config import parse_config
from tierline.node.field import Field, Journal, compose_field, load_plant
from tierline.node.field_inverter import rating_w
from tierline.protocols.sunspec.modbus import Client, Read, Refused, Registers, Server, Write, Written

GRID = """{
"format": "tierline-grid-1", "name": "small", "source": "made for a test", "licence": "Apache-2.0",
"nodes": [{"id": "bus", "kv": 20}, {"id": "near", "kv": 20}, {"id": "far", "kv": 20}, {"id": "hv", "kv": 110}],
"lines": [
 {"id": "head", "from_node": "bus", "to_node": "near", "length_km": 2, "r_ohm_per_km": 0.3, "x_ohm_per_km": 0.35,
  "c_nf_per_km": 10, "i_max_a": 400},
 {"id": "tail", "from_node": "near", "to_node": "far", "length_km": 4, "r_ohm_per_km": 0.3, "x_ohm_per_km": 0.35,
  "c_nf_per_km": 10, "i_max_a": 400}],
"transformers": [{"id": "trafo", "hv_node": "hv", "lv_node": "bus", "sn_mva": 25, "hv_kv": 110, "lv_kv": 20,
  "vk_percent": 12, "vkr_percent": 0.4, "pfe_kw": 14, "i0_percent": 0.07, "shift_degree": 150}],
"switches": [{"id": 7, "node": "near", "element": "tail", "kind": "sectionaliser", "closed": true}],
"sources": [{"id": "grid", "node": "hv"}],
"loads": [{"id": "load", "node": "far", "p_w": 500000, "q_var": 100000}],
"service_points": [{"id": "pv_near", "node": "near", "p_w": 100000}, {"id": "pv_far", "node": "far", "p_w": 600000}],
"feeders": [{"id": "feeder", "transformer": "trafo", "node": "bus", "branch": "head"}]
}"""
PLANT = """
[plant]
grid = "small.json"
weather = "greensboro.json"
day = "june-sunny"
starts_at_h = 12.5
source_u_pu = 1.02
dc_ac_ratio = 1.6  # clipped at noon
"""
START = datetime(2026, 6, 30, 17, 30, tzinfo=UTC)


class FakeClock:
    def __init__(self, t0=START):
        self.t0 = self.time = t0
        self.parked = asyncio.Event()

    def now(self):
        return self.time

    def deadline(self):
        return 0.0

    async def sleep(self, civil_s):
        await asyncio.sleep(0)

    async def sleep_until(self, when):
        while self.time < when:
            self.parked.set()
            await asyncio.sleep(0)

    async def advance(self, seconds, field):
        self.time += timedelta(seconds=seconds)
        while field.now + timedelta(seconds=1) <= self.time:  # noqa: ASYNC110 - steps are not announced
            await asyncio.sleep(0)


class FakeServer:
    def __init__(self, port):
        self.port = port
        self.is_closed = False

    def close(self):
        self.is_closed = True

    async def wait_closed(self):
        pass


class FakeNetwork:
    def __init__(self):
        self.faces = {}
        self.servers = []

    async def serve(self, protocol, host, port, **_):
        assert host == "127.0.0.1"
        self.faces[port] = protocol.__self__
        self.servers.append(FakeServer(port))
        return self.servers[-1]


class FakeFiles:
    def __init__(self):
        self.content = {}

    def write(self, path, data, *, mode=0o644):
        self.content[path] = data

    def append(self, path, data):
        self.content[path] += data


def config(tmp_path, *, more="", node="", clock=True):
    (tmp_path / "small.json").write_text(GRID)
    (tmp_path / "small.toml").write_text(PLANT)
    scaled = f"[clock]\nstart = {START.isoformat()}\nmonotonic_s = 0.0\nspeed = 30\n" if clock else ""
    text = (
        f'[node]\nname = "plant"\nlevel = 1\nparty = "owners"\nstate = "."\nseed = 7\n{node}\n{scaled}'
        f'[field]\nscenario = "./small.toml"\njournal = "journal.jsonl"\n{more}'
    )
    return parse_config(text, tmp_path / "plant.toml")


class Bench:
    """A field on a clock, a network and files that only pretend."""

    def __init__(self, tmp_path):
        composed = compose_field(config(tmp_path, more="ports = [15020, 15021]"))
        self.clock, self.network, self.files = FakeClock(), FakeNetwork(), FakeFiles()
        self.field = Field(
            config(tmp_path, more="ports = [15020, 15021]\nswitchgear_port = 15500").field,
            composed.plant,
            clock=self.clock,
            clock_start=START,
            network=self.network,
            journal=Journal(self.files, "j"),
            seed=7,
        )
        self.plant = self.field.plant

    @property
    def lines(self):
        self.field._journal.flush()
        return [json.loads(line) for line in self.files.content["j"].splitlines()]

    def kinds(self, kind):
        return [line for line in self.lines if line["kind"] == kind]

    def ask(self, request, *, port=15020):
        client = Client()
        (received,) = Server().receive(client.send(request))
        return client.receive(self.network.faces[port].answer(received))

    def image(self, row=0):
        return self.field.inverters[row].device.image

    def write(self, model_id, values, *, row=0):
        model = self.image(row).models[model_id]
        reply = None
        for run in model.layout.encode_runs(values, self.image(row).block(model_id)):
            request = Write(unit=1, address=model.address + run.offset, data=run.data)
            reply = self.ask(request, port=15020 + row)
            if isinstance(reply, Refused):
                return reply
        return reply

    def settle(self, seconds=60):
        for _ in range(seconds):
            self.field._step()
        state = self.plant.fleet.state
        return float(state.p_w[0]), float(state.q_var[0])


@pytest.fixture
async def bench(tmp_path):
    bench = Bench(tmp_path)
    await bench.field.listen()
    return bench


def adopt(bench, model_id, values):
    stored = {f"Crv[1].{path}": value for path, value in values.items()}
    assert isinstance(bench.write(model_id, stored), Written)
    bench.write(model_id, {"AdptCrvReq": 2})
    return bench.image().block(model_id).code("AdptCrvRslt")


def force(bench, v_pu, f_hz):
    """Hold voltage and frequency, whatever the power flow says."""
    plant = bench.plant
    plant.frequency_hz = f_hz
    solve = plant._power_flow.solve

    def held(*args, **kwargs):
        flow = solve(*args, **kwargs)
        return replace(flow, v_pu=np.full_like(flow.v_pu, v_pu))

    plant._power_flow.solve = held
    plant.flow = replace(plant.flow, v_pu=np.full_like(plant.flow.v_pu, v_pu))


def points(x, y, *pairs):
    found = {"ActPt": len(pairs)}
    for number, pair in enumerate(pairs):
        found |= {f"Pt[{number}].{x}": Decimal(pair[0]), f"Pt[{number}].{y}": Decimal(pair[1])}
    return found


# The start


async def test_the_journal_begins_with_all_that_reads_the_rest(bench):
    start, switches, flow = bench.lines
    assert (start["kind"], start["seed"], start["source_pu"]) == ("start", 7, 1.02)
    assert start["service_points"] == ["pv_near", "pv_far"]
    assert start["nodes"] == ["bus", "near", "far", "hv"]
    assert start["feeders"] == ["feeder"]
    assert start["base"] == 40000
    assert [number for number, _ in start["models"]] == [1, *range(701, 713)]
    assert start["scale_factors"]["704"]["WMaxLimPct_SF"] == -2
    assert start["repeats"]["705"] == {"NCrv": 3, "NPt": 10}
    assert (switches["kind"], switches["open"]) == ("switches", [])
    assert flow["t"] == start["t"] == START.timestamp()


async def test_the_models_stand_where_the_start_line_says(bench):
    start = bench.lines[0]
    address = start["base"] + 2
    for number, length in start["models"]:
        assert bench.ask(Read(unit=1, address=address, count=2)) == Registers(
            data=number.to_bytes(2, "big") + length.to_bytes(2, "big")
        )
        address += 2 + length


async def test_units_generate_what_the_sun_gives_from_the_first_instant(bench):
    assert bench.lines[-1]["p"] == pytest.approx([100_000, 600_000])
    assert bench.plant.fleet.state.p_w == pytest.approx(bench.plant.available_w.clip(max=[100_000, 600_000]))


async def test_each_service_point_has_a_listener(bench):
    assert sorted(bench.network.faces) == [15020, 15021, 15500]


def test_a_field_begins_where_it_is_told(tmp_path):
    field = compose_field(config(tmp_path, more=f"replay = true\nduration_s = 20\nbegin = {START.isoformat()}\n"))
    asyncio.run(field.listen())
    assert field.now == START


# Steps


async def test_a_flow_is_written_every_ten_seconds_of_the_simulation(bench):
    running = asyncio.create_task(bench.field.run())
    await bench.clock.parked.wait()
    await bench.clock.advance(35, bench.field)
    times = [line["t"] - START.timestamp() for line in bench.kinds("flow")]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert times == [0, 10, 20, 30]
    assert bench.lines[-1] == {"kind": "end", "t": START.timestamp() + 35}
    assert all(server.is_closed for server in bench.network.servers)


async def test_late_steps_are_made_up_for(bench):
    running = asyncio.create_task(bench.field.run())
    await bench.clock.advance(500, bench.field)
    assert bench.field.now == START + timedelta(seconds=500)
    assert len(bench.kinds("flow")) == 51
    running.cancel()


async def test_a_field_with_a_duration_ends_by_itself(tmp_path):
    more = "ports = [0, 0]\nduration_s = 2"
    field = compose_field(config(tmp_path, more=more, clock=False))
    await field.listen()
    async with asyncio.timeout(10):
        await field.run()
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert kinds == ["start", "switches", "flow", "end"]


async def test_the_same_seed_replays_the_same_flows_and_another_does_not(tmp_path):
    evening = START + timedelta(hours=4)  # when roofs differ

    async def lines(seed):
        made = config(tmp_path, more=f"replay = true\nduration_s = 60\nbegin = {evening.isoformat()}\n")
        node = made.node.model_copy(update={"seed": seed})
        field = compose_field(made.model_copy(update={"node": node}))
        await field.listen()
        await field.run()
        return [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]

    first, second, other = await lines(3), await lines(3), await lines(4)
    assert first == second
    assert [line["kind"] for line in first] == ["start", "switches", *["flow"] * 7, "end"]
    assert first[-1]["t"] == evening.timestamp() + 60
    assert other[0]["seed"] == 4
    assert other[2]["p"] != first[2]["p"]


async def test_a_switch_that_moves_is_written_down_and_darkens_what_is_behind_it(bench):
    bench.field.operate({7: False})
    bench.settle(2)
    assert bench.kinds("switches")[-1]["open"] == [7]
    assert bench.plant.flow.node_v_pu[2] == 0


async def test_a_switch_is_operated_through_its_register_and_read_back(bench):
    assert bench.ask(Read(unit=1, address=7, count=1), port=15500) == Registers(data=b"\0\1")
    assert bench.ask(Write(unit=1, address=7, data=b"\0\0"), port=15500) == Written(count=1)
    assert bench.ask(Read(unit=1, address=7, count=1), port=15500) == Registers(data=b"\0\0")
    assert bench.kinds("switches")[-1]["open"] == [7]


# Requests


async def test_a_request_is_written_down_with_its_bytes(bench):
    bench.clock.time += timedelta(seconds=3.25)
    address = bench.image().models[703].address + 2
    assert bench.ask(Write(unit=1, address=address, data=b"\0\1"), port=15021) == Written(count=1)
    assert bench.kinds("request") == [
        {
            "kind": "request",
            "t": START.timestamp() + 3.25,
            "port": 15021,
            "unit": 1,
            "pdu": f"10{address:04x}0001020001",
        }
    ]


async def test_a_refusal_is_written_down_in_place_of_the_request(bench):
    address = bench.image().models[701].address + 2
    assert bench.ask(Write(unit=1, address=address, data=b"\0\1")) == Refused(code=2)
    assert bench.ask(Read(unit=9, address=address, count=1)) == Refused(code=11)
    assert not bench.kinds("request")
    assert [(line["unit"], line["exception"]) for line in bench.kinds("refused")] == [(1, 2), (9, 11)]


async def test_reads_wholly_inside_the_measurements_are_not_written_down(bench):
    model = bench.image().models[701]
    bench.ask(Read(unit=1, address=model.address, count=125))
    assert not bench.kinds("request")
    bench.ask(Read(unit=1, address=model.address - 1, count=3))
    bench.ask(Read(unit=1, address=model.end - 1, count=2))
    assert len(bench.kinds("request")) == 2


async def test_a_field_without_a_journal_keeps_none(tmp_path):
    made = config(tmp_path, more="ports = [0, 0]\n")
    field = compose_field(
        made.model_copy(update={"field": made.field.model_copy(update={"journal": None, "duration_s": 1})})
    )
    await field.listen()
    field._steps = 1  # it is at its end
    await field.run()
    assert not (tmp_path / "journal.jsonl").exists()


# Measurements


async def test_measurements_are_those_of_the_last_step(bench):
    bench.settle(1)
    model = bench.image().models[701]
    reply = bench.ask(Read(unit=1, address=model.address, count=125))
    assert isinstance(reply, Registers)
    block = bench.image().block(701)
    v_pu = float(bench.plant.flow.v_pu[0])
    assert block.number("W") == 100_000
    assert float(block.number("LNV")) == pytest.approx(277 * v_pu, abs=0.1)
    assert float(block.number("LLV")) == pytest.approx(277 * v_pu * math.sqrt(3), abs=0.1)
    assert float(block.number("A")) == pytest.approx(100_000 / 3 / 277 / v_pu, abs=0.1)
    assert (block.number("Hz"), block.number("PF")) == (60, 1)
    assert (block.code("St"), block.code("InvSt"), block.code("ConnSt"), block.code("Alrm")) == (1, 3, 1, 0)


async def test_a_unit_out_of_service_says_how_long_it_will_wait(bench):
    bench.write(703, {"ES": 0})
    assert bench.settle(5) == (0, 0)
    bench.write(703, {"ES": 1})
    bench.settle(100)
    model = bench.image().models[701]
    bench.ask(Read(unit=1, address=model.address, count=10))
    assert bench.image().block(701).code("ConnSt") == 0
    assert bench.image().block(703).code("ESDlyRemTms") == 200
    assert bench.settle(600)[0] == pytest.approx(100_000)


@pytest.mark.parametrize(("v_pu", "f_hz", "bit"), [(1.15, 60, 10), (0.8, 60, 11), (1.0, 61.5, 8), (1.0, 58.0, 9)])
async def test_a_tripped_unit_says_what_keeps_it_out(bench, v_pu, f_hz, bit):
    bench.plant.fleet.state.service.in_service[:] = False
    bench.plant.fleet.state.service.tripped[:] = True
    bench.plant.flow.v_pu[:] = v_pu
    bench.plant.frequency_hz = f_hz
    model = bench.image().models[701]
    bench.ask(Read(unit=1, address=model.address, count=10))
    assert bench.image().block(701).code("Alrm") == 1 << bit


# What the registers offer acts


async def test_a_limit_acts_and_ends(bench):
    bench.write(704, {"WMaxLimPct": Decimal(40), "WMaxLimPctEna": 1})
    assert bench.settle()[0] == pytest.approx(40_000)
    bench.write(704, {"WMaxLimPctEna": 0})
    assert bench.settle()[0] == pytest.approx(100_000)


async def test_a_set_point_acts_in_percent_and_in_watts(bench):
    bench.write(704, {"WSetMod": 0, "WSetPct": Decimal(30), "WSetEna": 1})
    assert bench.settle()[0] == pytest.approx(30_000)
    bench.write(704, {"WSetMod": 1, "WSet": Decimal(20_000)})
    assert bench.settle()[0] == pytest.approx(20_000)


async def test_a_ramp_bounds_how_fast_a_limit_acts_and_zero_is_no_bound(bench):
    bench.write(704, {"WRmp": 1, "WMaxLimPct": Decimal(40), "WMaxLimPctEna": 1})
    assert bench.settle(10)[0] == pytest.approx(90_000, rel=0.02)
    bench.write(704, {"WRmp": 0})
    assert bench.settle(20)[0] == pytest.approx(40_000)


async def test_a_power_factor_acts_in_both_directions(bench):
    bench.write(704, {"PFWInj.PF": Decimal("0.95"), "PFWInj.Ext": 0, "PFWInjEna": 1})
    p_w, q_var = bench.settle()
    assert q_var / p_w == pytest.approx(math.tan(math.acos(0.95)), rel=1e-3)
    bench.write(704, {"PFWInj.Ext": 1})
    assert bench.settle()[1] == pytest.approx(-q_var, rel=1e-3)


@pytest.mark.parametrize(
    ("mode", "values", "q_var"),
    [
        (0, {"VarSetPct": Decimal(20)}, 20_000),
        (1, {"VarSetPct": Decimal(50)}, 24_200),
        (2, {"VarSetPct": Decimal(50)}, 24_200),
        (3, {"VarSetPct": Decimal(-20)}, -22_000),
        (4, {"VarSet": Decimal(-5_000)}, -5_000),
    ],
)
async def test_a_reactive_power_acts_in_every_reference(bench, mode, values, q_var):
    bench.write(704, {"VarSetMod": mode, **values, "VarSetEna": 1})
    assert bench.settle()[1] == pytest.approx(q_var, rel=2e-3)


async def test_a_volt_var_curve_acts_with_its_reference_and_response_time(bench):
    curve = points("V", "Var", (90, 100), (95, 100), (96, -50), (110, -50))
    assert adopt(bench, 705, {**curve, "DeptRef": 1, "Pri": 1, "VRef": Decimal(100), "RspTms": Decimal(50)}) == 1
    assert bench.settle()[1] == 0
    bench.write(705, {"Ena": 1})
    assert -16_000 < bench.settle(20)[1] < -2_000
    assert bench.settle(300)[1] == pytest.approx(-24_200, rel=0.01)


async def test_a_volt_watt_curve_acts(bench):
    curve = points("V", "W", (90, 60), (110, 60))
    assert adopt(bench, 706, {**curve, "DeptRef": 0, "RspTms": Decimal(10)}) == 1
    bench.write(706, {"Ena": 1})
    assert bench.settle(120)[0] == pytest.approx(60_000, rel=0.01)


async def test_a_watt_var_curve_acts(bench):
    assert adopt(bench, 712, {**points("W", "Var", (0, 0), (50, 0), (100, -40)), "DeptRef": 0, "Pri": 1}) == 1
    bench.write(712, {"Ena": 1})
    assert bench.settle()[1] == pytest.approx(-40_000, rel=0.02)


async def test_a_frequency_droop_acts(bench):
    values = {"DbOf": Decimal("0.1"), "DbUf": Decimal("0.1"), "KOf": Decimal("0.02"), "KUf": Decimal("0.02")}
    bench.write(711, {f"Ctl[1].{path}": value for path, value in values.items()})
    bench.write(711, {"AdptCtlReq": 2})
    bench.plant.frequency_hz = 60.7
    assert bench.settle(120)[0] == pytest.approx(50_000, rel=0.02)


def set_of(model_id, *, must, may=(), cease=()):
    quantity = "V" if model_id in {707, 708} else "Hz"
    parts = {"MustTrip.": must, "MayTrip.": may} | ({"MomCess.": cease} if model_id in {707, 708} else {})
    return {
        f"{part}{path}": value
        for part, pairs in parts.items()
        for path, value in points(quantity, "Tms", *pairs).items()
    }


@pytest.mark.parametrize(
    ("model_id", "must", "v_pu", "f_hz"),
    [
        (707, ((50, 2), (50, 20), (70, 20), (70, 40), (88, 40)), 0.6, 60.0),
        (708, ((120, 2), (120, 20), (112, 20)), 1.15, 60.0),
        (709, ((57, 2), (57, 20), (59, 20)), 1.0, 58.5),
        (710, ((62, 20), (62, 40), (61, 40)), 1.0, 62.5),
    ],
)
async def test_a_must_trip_curve_trips_after_its_time_and_not_before(bench, model_id, must, v_pu, f_hz):
    assert adopt(bench, model_id, set_of(model_id, must=must)) == 1
    force(bench, v_pu, f_hz)
    bench.settle(19)
    assert bench.plant.fleet.state.service.in_service[0]
    bench.settle(1)
    assert not bench.plant.fleet.state.service.in_service[0]
    assert bench.plant.fleet.state.service.in_service[1] == (model_id in {707, 709})  # the other has its own


@pytest.mark.parametrize(("model_id", "v_pu", "ceases"), [(707, 0.95, 0.97), (708, 1.07, 1.05)])
async def test_a_momentary_cessation_curve_acts_and_ends(bench, model_id, v_pu, ceases):
    must = {707: ((20, 100), (20, 200), (30, 200)), 708: ((120, 100), (120, 200), (115, 200))}[model_id]
    values = set_of(model_id, must=must, cease=((round(ceases * 100), 5),))
    assert adopt(bench, model_id, values) == 1
    before = bench.settle(1)[0]
    force(bench, v_pu, 60.0)
    assert bench.settle(4)[0] == pytest.approx(before)
    assert bench.settle(1)[0] == 0
    assert adopt(bench, model_id, set_of(model_id, must=must)) == 1
    assert bench.settle(1)[0] == pytest.approx(before)


@pytest.mark.parametrize(
    ("model_id", "must", "may"),
    [
        (707, (), ()),  # no protection at all
        (707, ((50, 2), (88, 21)), ()),  # a slope
        (707, ((88, 2), (88, 21), (50, 21)), ()),  # the level nearest to normal comes last
        (707, ((50, 1), (50, 21), (88, 21)), ((50, 2), (50, 20), (88, 20))),  # trips before it may
        (707, ((50, 2), (50, 21), (88, 21)), ((50, 1), (50, 20), (80, 20))),  # trips where it may not at all
        (710, ((61, 2), (61, 20), (62, 20)), ()),
    ],
)
async def test_a_trip_curve_that_is_not_carried_out_is_not_adopted(bench, model_id, must, may):
    before = bench.plant.fleet.settings.service.trip_at.copy()
    assert adopt(bench, model_id, set_of(model_id, must=must, may=may)) == 2
    assert (bench.plant.fleet.settings.service.trip_at == before).all()


async def test_a_may_trip_curve_that_must_trip_keeps_clear_of_is_adopted(bench):
    must = ((50, "1.5"), (50, 11), (70, 11), (70, 21), (88, 21))
    assert adopt(bench, 707, set_of(707, must=must, may=((50, 1), (50, 10), (70, 10), (70, 20), (88, 20)))) == 1
    assert adopt(bench, 707, set_of(707, must=must, may=((88, 20), (70, 20), (70, 10), (50, 10), (50, 1)))) == 1


async def test_two_levels_of_momentary_cessation_are_more_than_the_plant_has(bench):
    cease = ((50, 1), (50, 2), (60, 2))
    assert adopt(bench, 707, set_of(707, must=((50, 2), (50, 21), (88, 21)), cease=cease)) == 2


async def test_a_smaller_setting_of_maximum_power_acts_and_moves_what_refers_to_it(bench):
    bench.write(704, {"VarSetMod": 0, "VarSetPct": Decimal(20), "VarSetEna": 1})
    bench.write(702, {"WMax": Decimal(50_000)})
    p_w, q_var = bench.settle()
    assert p_w == pytest.approx(50_000)
    assert q_var == pytest.approx(10_000, rel=2e-3)


async def test_the_function_in_charge_says_which_power_yields(bench):
    priority = bench.plant.fleet.settings.watt_priority
    assert not priority[0]
    bench.write(704, {"VarSetPri": 0, "VarSetEna": 1})
    assert priority[0]
    assert adopt(bench, 712, {**points("W", "Var", (0, 0), (100, -40)), "Pri": 1}) == 1
    bench.write(712, {"Ena": 1})
    assert not priority[0]
    curve = {**points("V", "Var", (90, 0), (110, 0)), "Pri": 0, "VRef": Decimal(100)}
    assert adopt(bench, 705, curve) == 1
    bench.write(705, {"Ena": 1})
    assert priority[0]


async def test_a_reversion_timer_ends_a_limit(bench):
    bench.write(704, {"WMaxLimPct": Decimal(40), "WMaxLimPctEna": 1, "WMaxLimPctRvrtTms": 90})
    assert bench.settle(80)[0] == pytest.approx(40_000)
    assert bench.settle(60)[0] == pytest.approx(100_000)


# What would not act is refused


@pytest.mark.parametrize(
    ("model_id", "values", "code"),
    [
        (702, {"WMax": Decimal(0)}, 3),
        (702, {"WMax": Decimal(110_000)}, 3),
        (702, {"AMax": Decimal(10)}, 2),
        (704, {"PFWInj.PF": Decimal(0)}, 3),
        (704, {"PFWAbsEna": 1}, 2),
        (704, {"AntiIslEna": 0}, 2),
        (704, {"VarSetPri": 2}, 3),
        (706, {"Crv[1].DeptRef": 1}, 3),
        (707, {"Ena": 0}, 3),
        (711, {"Ctl[1].PMin": 10}, 3),
    ],
)
async def test_what_the_plant_cannot_do_is_refused(bench, model_id, values, code):
    assert bench.write(model_id, values) == Refused(code=code)


async def test_a_curve_that_the_plant_cannot_follow_is_not_adopted(bench):
    step = points("V", "Var", (95, 50), (100, 50), (100, -50))
    assert adopt(bench, 705, {**step, "VRef": Decimal(100)}) == 2
    assert adopt(bench, 705, points("V", "Var", (95, 50))) == 2


async def test_a_droop_without_a_slope_is_not_adopted(bench):
    bench.write(711, {"Ctl[1].KOf": Decimal(0)})
    bench.write(711, {"AdptCtlReq": 2})
    assert bench.image().block(711).code("AdptCtlRslt") == 2


# Composition


def test_a_missing_port_is_said_with_numbers(tmp_path):
    with pytest.raises(ConfigError, match="1 given; grid 'small' has 2 service points"):
        compose_field(config(tmp_path, more="ports = [15020]"))


def test_a_replay_without_an_end_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="duration_s is missing"):
        compose_field(config(tmp_path, more="replay = true"))


def test_a_node_without_a_field_is_none(tmp_path):
    made = config(tmp_path, more="ports = [0, 0]").model_copy(update={"field": None})
    with pytest.raises(ConfigError, match=r"\[field\] is missing"):
        compose_field(made)


def test_a_shipped_plant_is_read_by_its_name(tmp_path):
    setup, grid, weather = load_plant("oberrhein", tmp_path)
    assert (setup.grid, len(grid.service_points)) == ("oberrhein.json", 153)
    assert setup.day in weather.days


def test_an_unknown_plant_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no scenario 'nowhere'"):
        load_plant("nowhere", tmp_path)


def test_the_rating_is_that_of_the_register(tmp_path):
    config(tmp_path)
    _, grid, _ = load_plant("./small.toml", tmp_path)
    assert [rating_w(point, oversize=1.1) for point in grid.service_points] == [100_000, 600_000]
