"""Inverter functions the whole way: IEEE 2030.5 XML, setpoints, SunSpec registers over a socket, and what the plant makes of them.

The documents are written by hand, as a server of another maker would send them.
"""

import math
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from importlib import resources
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("power_grid_model", reason="power-grid-model is the extra `demo`")

from tierline.env.network import RealNetwork  # after the skip
from tierline.model.control import (
    Control,
    Curve,
    CurvePoint,
    Droop,
    EventStatus,
    FixedVar,
    Interval,
    PowerFactor,
    Reference,
    Setpoints,
)
from tierline.model.defaults import Category, Profile, curve_of, default_for
from tierline.model.identity import DerId, Mrid
from tierline.model.profiles import defaults_to_keep
from tierline.model.topology import Grid
from tierline.node.field_inverter import FieldInverter
from tierline.operations.following.autonomous import Autonomous
from tierline.plant.inverter import step
from tierline.plant.site import DRAWS_PER_UNIT, Plant, PlantSetup
from tierline.plant.weather import Weather
from tierline.protocols.sep2.codec import parse, render
from tierline.protocols.sep2.mapping.curves import read_curve, write_curve
from tierline.protocols.sep2.mapping.events import read_control, write_control
from tierline.protocols.sep2.resources.der import DERControl, DERCurve
from tierline.protocols.sunspec.link import Endpoint
from tierline.protocols.sunspec.north import NorthFace
from tierline.protocols.sunspec.south import Adopting, SunSpecDevice

pytestmark = pytest.mark.interop

WATTS = 100_000.0
VA = 110_000.0
VARS = 48_400.0
"""0.44 of VA: category B."""
MRID = Mrid("A0" * 16)

GRID = """{"format": "tierline-grid-1", "name": "one", "source": "made for a test", "licence": "Apache-2.0",
"nodes": [{"id": "bus", "kv": 20}, {"id": "near", "kv": 20}],
"lines": [{"id": "head", "from_node": "bus", "to_node": "near", "length_km": 1, "r_ohm_per_km": 0.3,
  "x_ohm_per_km": 0.35, "c_nf_per_km": 10, "i_max_a": 400}],
"transformers": [], "switches": [], "sources": [{"id": "grid", "node": "bus"}], "loads": [],
"service_points": [{"id": "pv", "node": "near", "p_w": 100000}], "feeders": []}"""


def make_plant():
    data = resources.files("tierline.scenario") / "data"
    setup = PlantSetup(grid="one", weather="greensboro", day="june-sunny", starts_at_h=12.0, watt_priority=False)
    weather = Weather.from_json((data / "greensboro.json").read_text("utf-8"))
    return Plant(setup, Grid.from_json(GRID), weather, np.full((DRAWS_PER_UNIT, 1), 0.5))


class Clock:
    def now(self):
        return datetime(2026, 6, 30, tzinfo=UTC)

    def deadline(self):
        return 0.0


class Site:
    """One simulated inverter behind its registers, at a voltage and frequency of the test's choice, and our link to it."""

    def __init__(self):
        self.plant = make_plant()
        self.plant.fleet.settings.service.es_dly_s[:] = 0.0
        self.inverter = FieldInverter(self.plant, 0)
        self.v_pu, self.f_hz, self.sun = 1.0, 60.0, 1.0

    async def __aenter__(self):
        self.face = NorthFace({1: self.inverter})
        port = await self.face.listen(RealNetwork(), "127.0.0.1", 0)
        self.device = SunSpecDevice(
            network=RealNetwork(),
            clock=Clock(),
            random=SimpleNamespace(fraction=lambda: 0.5),
            endpoint=Endpoint(host="127.0.0.1", port=port),
            der_id=DerId("abc"),
            adopting=Adopting(poll_s=0.01),
        )
        self.run(30)
        return self

    async def __aexit__(self, *_exc):
        await self.device.close()
        await self.face.close()

    def run(self, seconds=120):
        v = np.array([self.v_pu])
        self.plant.frequency_hz = self.f_hz
        self.plant.flow = replace(self.plant.flow, v_pu=v)
        for _ in range(seconds):
            step(self.plant.fleet, v, self.f_hz, np.array([self.sun * WATTS]), 1.0)

    async def measured(self):
        """Read power and reactive power over the socket."""
        readings, _ = await self.device.measure()
        values = {name: float(Decimal(value).scaleb(exponent)) for name, _, value, exponent in readings}
        return values["w"], values["var"]

    async def settled(self, seconds=120):
        self.run(seconds)
        return await self.measured()


def curve(*pairs, reference=Reference.NONE, **rest):
    points = tuple(CurvePoint(x=Decimal(str(x)), y=Decimal(str(y))) for x, y in pairs)
    return Curve(mrid=MRID, points=points, y_reference=reference, **rest)


PF = PowerFactor(displacement=Decimal("0.95"), absorbing=False)
TAN = math.tan(math.acos(0.95))
VOLT_WATT = curve((104, 100), (108, 20), reference=Reference.SET_MAX_W, open_loop_s=Decimal(5))
WATT_VAR = curve((0, 0), (50, 0), (100, -80), reference=Reference.SET_MAX_VAR)
VOLT_VAR = curve((92, 100), (98, 0), (102, 0), (108, -100), reference=Reference.SET_MAX_VAR, open_loop_s=Decimal(5))
DROOP = Droop(
    dead_band_over_hz=Decimal("0.1"),
    dead_band_under_hz=Decimal("0.2"),
    slope_over=Decimal("0.02"),
    slope_under=Decimal("0.04"),
    open_loop_s=Decimal(3),
)
OVER = (60.7 - 60.1) / (60 * 0.02)
UNDER = (59.8 - 59.0) / (60 * 0.04)

# id: setpoints, voltage, frequency, sun, W, var
CASES = {
    "limit": ({"max_lim_w_pct": Decimal("37.5")}, 1.0, 60.0, 1.0, 0.375 * WATTS, 0),
    "set-point in percent": ({"fixed_w_pct": Decimal(20)}, 1.0, 60.0, 1.0, 0.2 * WATTS, 0),
    "set-point in watts": ({"target_w": Decimal(31_000)}, 1.0, 60.0, 1.0, 31_000, 0),
    "set-point above the sun": ({"fixed_w_pct": Decimal(90)}, 1.0, 60.0, 0.4, 0.4 * WATTS, 0),
    "constant power factor, injecting": ({"fixed_pf_inject_w": PF}, 1.0, 60.0, 0.8, 80_000, 80_000 * TAN),
    "constant power factor, absorbing": (
        {"fixed_pf_inject_w": replace(PF, absorbing=True)},
        1.0,
        60.0,
        0.8,
        80_000,
        -80_000 * TAN,
    ),
    "constant var of setMaxW": (
        {"fixed_var": FixedVar(value_pct=Decimal(-30), reference=Reference.SET_MAX_W)},
        1.0,
        60.0,
        0.5,
        50_000,
        -30_000,
    ),
    "constant var of setMaxVar": (
        {"fixed_var": FixedVar(value_pct=Decimal(50), reference=Reference.SET_MAX_VAR)},
        1.0,
        60.0,
        0.5,
        50_000,
        VARS / 2,
    ),
    "constant var of statVarAvail": (
        {"fixed_var": FixedVar(value_pct=Decimal(50), reference=Reference.STAT_VAR_AVAIL)},
        1.0,
        60.0,
        0.5,
        50_000,
        VARS / 2,
    ),
    "constant var in vars": ({"target_var": Decimal(12_000)}, 1.0, 60.0, 0.5, 50_000, 12_000),
    "constant var takes from active power": (
        {"fixed_var": FixedVar(value_pct=Decimal(100), reference=Reference.SET_MAX_VAR)},
        1.0,
        60.0,
        1.0,
        math.sqrt(VA**2 - VARS**2),
        VARS,
    ),
    "volt-watt below its first point": ({"volt_watt": VOLT_WATT}, 1.03, 60.0, 1.0, WATTS, 0),
    "volt-watt on its slope": ({"volt_watt": VOLT_WATT}, 1.06, 60.0, 1.0, 0.6 * WATTS, 0),
    "volt-watt beyond its last point": ({"volt_watt": VOLT_WATT}, 1.09, 60.0, 1.0, 0.2 * WATTS, 0),
    "watt-var": ({"watt_var": WATT_VAR}, 1.0, 60.0, 0.75, 75_000, -0.4 * VARS),
    "volt-var low": ({"volt_var": VOLT_VAR}, 0.95, 60.0, 0.6, 60_000, VARS / 2),
    "volt-var high": ({"volt_var": VOLT_VAR}, 1.05, 60.0, 0.6, 60_000, -VARS / 2),
    "frequency droop above": ({"freq_droop": DROOP}, 1.0, 60.7, 1.0, (1 - OVER) * WATTS, 0),
    "frequency droop in its dead band": ({"freq_droop": DROOP}, 1.0, 60.09, 1.0, WATTS, 0),
    "frequency droop below, limited": (
        {"freq_droop": DROOP, "max_lim_w_pct": Decimal(40)},
        1.0,
        59.0,
        1.0,
        (0.4 + UNDER) * WATTS,
        0,
    ),
    "limit and set-point: the lower": (
        {"max_lim_w_pct": Decimal(30), "fixed_w_pct": Decimal(55)},
        1.0,
        60.0,
        1.0,
        0.3 * WATTS,
        0,
    ),
    "limit, set-point and volt-watt: volt-watt the lowest": (
        {"max_lim_w_pct": Decimal(80), "fixed_w_pct": Decimal(70), "volt_watt": VOLT_WATT},
        1.06,
        60.0,
        1.0,
        0.6 * WATTS,
        0,
    ),
    "limit, set-point and volt-watt: the set-point the lowest": (
        {"max_lim_w_pct": Decimal(80), "fixed_w_pct": Decimal(25), "volt_watt": VOLT_WATT},
        1.06,
        60.0,
        1.0,
        0.25 * WATTS,
        0,
    ),
    "constant power factor and volt-watt": (
        {"fixed_pf_inject_w": PF, "volt_watt": VOLT_WATT},
        1.06,
        60.0,
        1.0,
        0.6 * WATTS,
        0.6 * WATTS * TAN,
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_setpoint_reaches_the_plant_and_is_read_back(case):
    values, v_pu, f_hz, sun, watts, reactive = CASES[case]
    target = Setpoints.of(values)
    async with Site() as site:
        facts = await site.device.discover()
        assert set(values) <= facts.functions
        site.sun = sun
        back = await site.device.apply(target)
        assert dict(back.setpoints) == dict(target)
        await site.settled()
        site.v_pu, site.f_hz = v_pu, f_hz
        assert await site.settled() == pytest.approx((watts, reactive), abs=0.001 * VA)


@pytest.mark.parametrize("case", [name for name, row in CASES.items() if "freq_droop" not in row[0]])
async def test_what_is_commanded_no_more_is_switched_off_and_the_plant_is_free(case):
    values, v_pu, f_hz, sun, _, _ = CASES[case]
    async with Site() as site:
        site.v_pu, site.f_hz, site.sun = v_pu, f_hz, sun
        await site.device.apply(Setpoints.of(values))
        await site.settled()
        await site.device.apply(Setpoints())
        assert await site.settled() == pytest.approx((sun * WATTS, 0), abs=0.001 * VA)


async def test_a_droop_that_is_commanded_no_more_stays_as_it_was_adjusted():
    """Droop is mandatory and always on (IEEE 1547-2018 6.5.2.7): there is nothing to switch off."""
    async with Site() as site:
        await site.device.apply(Setpoints.of({"freq_droop": DROOP}))
        await site.device.apply(Setpoints())
        site.f_hz = 60.7
        assert (await site.settled())[0] == pytest.approx((1 - OVER) * WATTS, abs=0.001 * VA)


async def test_a_droop_responds_by_nine_tenths_in_its_open_loop_time():
    async with Site() as site:
        await site.device.apply(Setpoints.of({"freq_droop": replace(DROOP, open_loop_s=Decimal(10))}))
        site.f_hz = 60.7
        moved = 1 - (await site.settled(10))[0] / WATTS
        assert moved == pytest.approx(0.9 * OVER, abs=0.02)


ENTER_SERVICE = Setpoints.of(
    {
        "es_delay_s": Decimal(40),
        "es_ramp_s": Decimal(20),
        "es_high_volt_pct": Decimal(104),
        "es_low_volt_pct": Decimal(93),
        "es_high_freq_hz": Decimal("60.2"),
        "es_low_freq_hz": Decimal("59.7"),
    }
)


async def test_without_permission_a_unit_ceases_and_returns_after_delay_and_ramp():
    async with Site() as site:
        await site.device.apply(Setpoints.of({**ENTER_SERVICE, "energize": False}))
        assert await site.settled(1) == (0, 0)
        await site.device.apply(ENTER_SERVICE)  # commanded no more: the permission is given back
        assert (await site.settled(39))[0] == 0
        assert (await site.settled(11))[0] == pytest.approx(0.55 * WATTS, abs=0.06 * WATTS)
        assert (await site.settled(12))[0] == pytest.approx(WATTS)


@pytest.mark.parametrize(
    ("v_pu", "f_hz", "enters"),
    [
        (1.0, 60.0, True),
        (1.035, 60.0, True),
        (1.045, 60.0, False),
        (0.935, 60.0, True),
        (0.925, 60.0, False),
        (1.0, 60.15, True),
        (1.0, 60.25, False),
        (1.0, 59.75, True),
        (1.0, 59.65, False),
    ],
)
async def test_service_is_entered_only_inside_the_window_that_was_set(v_pu, f_hz, enters):
    async with Site() as site:
        back = await site.device.apply(Setpoints.of({**ENTER_SERVICE, "energize": False}))
        assert dict(back.setpoints) == {**ENTER_SERVICE, "energize": False}
        site.run(1)
        site.v_pu, site.f_hz = v_pu, f_hz
        await site.device.apply(ENTER_SERVICE)
        site.run(60)
        assert site.plant.fleet.state.service.in_service[0] == enters


async def test_a_ramp_rate_bounds_how_fast_a_set_point_is_reached():
    async with Site() as site:
        await site.device.apply(Setpoints.of({"grad_w_pct_per_s": Decimal(2), "fixed_w_pct": Decimal(40)}))
        assert (await site.settled(10))[0] == pytest.approx(0.8 * WATTS, abs=0.021 * WATTS)
        assert (await site.settled(30))[0] == pytest.approx(0.4 * WATTS)


@pytest.mark.parametrize(
    ("function", "v_pu", "f_hz", "after"),
    [
        ("lvrt_must_trip", 0.65, 60.0, 11),
        ("lvrt_must_trip", 0.80, 60.0, 21),
        ("hvrt_must_trip", 1.15, 60.0, 13),
        ("lfrt_must_trip", 1.0, 58.0, 300),
        ("hfrt_must_trip", 1.0, 60.8, 300),
    ],
)
async def test_the_trip_settings_of_rule_21_reach_the_plant_and_act(function, v_pu, f_hz, after):
    default = default_for(function, Category.III, profile=Profile.RULE21)
    target = Setpoints.of({function: curve_of(default, MRID)})
    async with Site() as site:
        back = await site.device.apply(target)
        assert dict(back.setpoints) == dict(target)
        service = site.plant.fleet.state.service
        site.v_pu, site.f_hz = v_pu, f_hz
        site.run(after - 1)
        assert service.in_service[0]
        site.run(1)
        assert not service.in_service[0]
        assert (await site.measured())[0] == 0


async def test_all_ride_through_curves_of_a_profile_are_held_together():
    functions = ("lvrt_must_trip", "lvrt_may_trip", "lvrt_momentary_cessation", "hvrt_must_trip", "hvrt_may_trip")
    target = Setpoints.of(
        {
            function: curve_of(default_for(function, Category.III, profile=Profile.RULE21), Mrid(f"{number:032X}"))
            for number, function in enumerate((*functions, "hvrt_momentary_cessation"))
        }
    )
    async with Site() as site:
        assert dict((await site.device.apply(target)).setpoints) == dict(target)


async def test_a_ride_through_curve_with_a_slope_is_refused_and_the_old_one_trips():
    async with Site() as site:
        back = await site.device.apply(Setpoints.of({"lvrt_must_trip": curve((2, 50), (21, 88))}))
        assert back.refused.keys() == {"lvrt_must_trip"}
        site.v_pu = 0.85
        site.run(20)
        assert site.plant.fleet.state.service.in_service[0]
        site.run(1)
        assert not site.plant.fleet.state.service.in_service[0]


@pytest.mark.parametrize("which", ["ramp_decrease_pct_per_s", "ramp_increase_pct_per_s"])
async def test_a_curve_with_a_ramp_of_its_own_is_refused_and_one_without_limit_is_not(which):
    async with Site() as site:
        back = await site.device.apply(Setpoints.of({"volt_watt": replace(VOLT_WATT, **{which: Decimal(6)})}))
        assert back.refused.keys() == {"volt_watt"}
        target = Setpoints.of({"volt_watt": replace(VOLT_WATT, **{which: Decimal(0)})})
        assert dict((await site.device.apply(target)).setpoints) == dict(target)


@pytest.mark.parametrize(("profile", "after", "watts"), [("ieee1547", 21, WATTS), ("rule21", 11, 0.5 * WATTS)])
async def test_the_same_device_trips_and_curtails_by_the_profile_its_gateway_keeps(profile, after, watts):
    async with Site() as site:
        link = Autonomous(site.device, defaults_to_keep(profile, "B", "III"))
        back = await link.apply(Setpoints.of({"max_lim_w_pct": Decimal(95)}))
        assert dict(back.setpoints) == {"max_lim_w_pct": Decimal(95)}
        await link.apply(Setpoints())
        site.v_pu = 1.08
        assert (await site.settled())[0] == pytest.approx(watts, abs=0.001 * VA)
        site.v_pu = 0.65
        site.run(after - 1)
        assert site.plant.fleet.state.service.in_service[0]
        site.run(1)
        assert not site.plant.fleet.state.service.in_service[0]


# From the document to the register and back

EVENT = """<DERControl xmlns="urn:ieee:std:2030.5:ns" href="/derp/0/derc/1" replyTo="/rsps/1/rsp" responseRequired="03">
<mRID>0F0E0D0C0B0A09080706050403020100</mRID><creationTime>1782000000</creationTime>
<EventStatus><currentStatus>0</currentStatus><dateTime>1782000000</dateTime>
<potentiallySuperseded>false</potentiallySuperseded></EventStatus>
<interval><duration>900</duration><start>1782000600</start></interval>
<DERControlBase>{modes}</DERControlBase></DERControl>"""

CURVE = """<DERCurve xmlns="urn:ieee:std:2030.5:ns" href="/dc/1"><mRID>000102030405060708090A0B0C0D0E0F</mRID>
<creationTime>1782000000</creationTime>{points}<curveType>{kind}</curveType>{response}
<xMultiplier>{x_power}</xMultiplier><yMultiplier>{y_power}</yMultiplier><yRefType>{reference}</yRefType></DERCurve>"""


def curve_document(pairs, *, kind, reference, x_power=-1, y_power=-1, response="<openLoopTms>500</openLoopTms>"):
    points = "".join(f"<CurveData><xvalue>{x}</xvalue><yvalue>{y}</yvalue></CurveData>" for x, y in pairs)
    return CURVE.format(
        points=points, kind=kind, reference=reference, x_power=x_power, y_power=y_power, response=response
    ).encode()


MODES = {
    "opModVoltWatt": (
        '<opModVoltWatt href="/dc/1"/>',
        curve_document([(1040, 1000), (1080, 200)], kind=12, reference=1),
        (1.06, 60.0, 1.0, 0.6 * WATTS, 0),
    ),
    "opModFixedPFInjectW, injecting": (
        (
            "<opModFixedPFInjectW><displacement>950</displacement><excitation>false</excitation>"
            "<multiplier>-3</multiplier></opModFixedPFInjectW>"
        ),
        b"",
        (1.0, 60.0, 0.8, 80_000, 80_000 * TAN),
    ),
    "opModFixedPFInjectW, absorbing": (
        (
            "<opModFixedPFInjectW><displacement>95</displacement><excitation>true</excitation>"
            "<multiplier>-2</multiplier></opModFixedPFInjectW>"
        ),
        b"",
        (1.0, 60.0, 0.8, 80_000, -80_000 * TAN),
    ),
    "opModFixedVar of setMaxVar": (
        "<opModFixedVar><refType>2</refType><value>-5000</value></opModFixedVar>",
        b"",
        (1.0, 60.0, 0.5, 50_000, -VARS / 2),
    ),
    "opModFixedVar of setMaxW": (
        "<opModFixedVar><refType>1</refType><value>2550</value></opModFixedVar>",
        b"",
        (1.0, 60.0, 0.5, 50_000, 25_500),
    ),
    "opModWattVar": (
        '<opModWattVar href="/dc/1"/>',
        curve_document([(0, 0), (500, 0), (1000, -800)], kind=14, reference=2, response=""),
        (1.0, 60.0, 0.75, 75_000, -0.4 * VARS),
    ),
    "opModFreqDroop": (
        (
            "<opModFreqDroop><dBOF>100</dBOF><dBUF>200</dBUF><kOF>20</kOF><kUF>40</kUF><openLoopTms>300</openLoopTms>"
            "</opModFreqDroop>"
        ),
        b"",
        (1.0, 60.7, 1.0, (1 - OVER) * WATTS, 0),
    ),
    "opModVoltVar": (
        '<opModVoltVar href="/dc/1"/>',
        curve_document([(920, 1000), (980, 0), (1020, 0), (1080, -1000)], kind=11, reference=2),
        (0.95, 60.0, 0.6, 60_000, VARS / 2),
    ),
    "opModLVRTMustTrip": (
        '<opModLVRTMustTrip href="/dc/1"/>',
        curve_document([(20, 500), (210, 500), (210, 880)], kind=10, reference=0, response=""),
        (0.45, 60.0, 1.0, 0, 0),
    ),
}


@pytest.mark.parametrize("mode", MODES)
async def test_a_document_becomes_registers_acts_and_comes_back_as_it_was(mode):
    elements, stored, (v_pu, f_hz, sun, watts, reactive) = MODES[mode]
    curves = {"/dc/1": read_curve(parse(stored, DERCurve))} if stored else {}
    asked = read_control(parse(EVENT.format(modes=elements).encode(), DERControl), curves.get)
    assert len(asked.setpoints) == 1
    async with Site() as site:
        site.sun = sun
        held = (await site.device.apply(asked.setpoints)).setpoints
        assert dict(held) == dict(asked.setpoints)
        await site.settled()
        site.v_pu, site.f_hz = v_pu, f_hz
        assert await site.settled() == pytest.approx((watts, reactive), abs=0.001 * VA)
    assert same_document(held) == asked.setpoints


def same_document(setpoints):
    """Send what the device holds as a document, and read that."""
    control = Control(
        mrid=MRID,
        creation_time=datetime(2026, 6, 30, tzinfo=UTC),
        interval=Interval(start=datetime(2026, 6, 30, tzinfo=UTC), duration_s=900),
        setpoints=setpoints,
    )
    sent = render(write_control(control, EventStatus.SCHEDULED, href="/e", reply_to="/r", curve_href=lambda _: "/dc/1"))
    ((name, value),) = setpoints.items()
    curves = {}
    if isinstance(value, Curve):
        curves["/dc/1"] = read_curve(parse(render(write_curve(value, name, "/dc/1")), DERCurve))
    return read_control(parse(sent, DERControl), curves.get).setpoints


async def test_a_power_factor_while_absorbing_active_power_is_refused_by_what_only_generates():
    modes = (
        "<opModFixedPFAbsorbW><displacement>95</displacement><excitation>true</excitation>"
        "<multiplier>-2</multiplier></opModFixedPFAbsorbW>"
    )
    asked = read_control(parse(EVENT.format(modes=modes).encode(), DERControl), {}.get)
    async with Site() as site:
        assert "fixed_pf_absorb_w" not in (await site.device.discover()).functions
        back = await site.device.apply(asked.setpoints)
        assert "fixed_pf_absorb_w" in back.refused["fixed_pf_absorb_w"].reason


async def test_a_value_finer_than_a_register_comes_back_within_half_a_step():
    droop = replace(DROOP, open_loop_s=Decimal("3.14"))
    async with Site() as site:
        held = (await site.device.apply(Setpoints.of({"freq_droop": droop}))).setpoints["freq_droop"]
        step_s = site.inverter.device.image.block(711).resolution("Ctl[0].RspTms")
        assert step_s == Decimal("0.1")
        assert abs(held.open_loop_s - droop.open_loop_s) <= step_s / 2
