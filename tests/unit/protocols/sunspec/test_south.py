import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tierline.model.capability import Firmness
from tierline.model.control import Curve, CurvePoint, Droop, FixedVar, PowerFactor, Reference, Setpoints
from tierline.model.errors import LinkError, PeerError, TierlineError, Unsupported
from tierline.model.identity import Mrid
from tierline.protocols.sunspec.codec import compile_layout
from tierline.protocols.sunspec.device import standard_image, standard_models
from tierline.protocols.sunspec.image import RegisterImage
from tierline.protocols.sunspec.inverter import Changed
from tierline.protocols.sunspec.modbus import ModbusFault
from tierline.protocols.sunspec.orders import DeadMan


def curve(*points, reference=Reference.SET_MAX_VAR, **extras) -> Curve:
    return Curve(
        mrid=Mrid("0" * 31 + "1"),
        points=tuple(CurvePoint(x=Decimal(str(x)), y=Decimal(str(y))) for x, y in points),
        y_reference=reference,
        **extras,
    )


VOLT_VAR = curve((91, 30), (99, 0), (101, 0), (109, -30), open_loop_s=Decimal(7))
VOLT_WATT = curve((106, 100), (110, 20), reference=Reference.SET_MAX_W)
OTHER = curve((90, 20), (95, 10), (105, -10), (110, -20), open_loop_s=Decimal(9))

EVERYTHING = {
    "energize": True,
    "max_lim_w_pct": Decimal("50.5"),
    "fixed_w_pct": Decimal("-12.25"),
    "volt_var": VOLT_VAR,
    "volt_watt": VOLT_WATT,
    "watt_var": curve((0, 0), (50, 0), (100, -40)),
    "freq_droop": Droop(
        dead_band_over_hz=Decimal("0.017"),
        dead_band_under_hz=Decimal("0.036"),
        slope_over=Decimal("0.04"),
        slope_under=Decimal("0.03"),
        open_loop_s=Decimal("1.5"),
    ),
    "lvrt_must_trip": curve((2, 45), (21, 70), reference=Reference.NONE),
    "lvrt_momentary_cessation": curve((0.08, 50), reference=Reference.NONE),
    "hfrt_must_trip": curve((300, 61.3), (0.16, 62.1), reference=Reference.NONE),
    "es_ramp_s": Decimal(120),
    "es_high_volt_pct": Decimal("104.5"),
    "es_low_freq_hz": Decimal("59.4"),
    "grad_w_pct_per_s": Decimal(20),
}


def target(**values) -> Setpoints:
    return Setpoints.of(values)


async def test_discovery_tells_what_the_device_is_and_can_do(bench):
    facts = await bench.device.discover()
    assert (facts.manufacturer, facts.model, facts.serial, facts.version) == ("Acme", "X1", "000123", "1.0")
    assert facts.nameplate["rtg_max_w"] == 5000
    assert facts.nameplate["rtg_max_var_neg"] == -2400
    assert facts.nameplate["rtg_normal_category"] == 2
    assert facts.settings["set_max_w"] == 5000
    assert {"max_lim_w_pct", "volt_var", "freq_droop", "energize", "lvrt_must_trip"} <= facts.functions
    assert "connect" not in facts.functions
    await bench.device.close()


@pytest.mark.parametrize("base", [0, 40000, 50000])
async def test_the_map_is_found_at_each_base_address(make_bench, kind, base):
    bench = make_bench(RegisterImage(standard_models(kind), base=base))
    assert (await bench.device.discover()).serial == "000123"
    await bench.device.close()


async def test_a_device_that_does_not_answer_outside_its_map_is_found_too(make_bench, kind):
    bench = make_bench(RegisterImage(standard_models(kind), base=0))
    bench.network.interfere = lambda _number, frame: (
        bench.DROP if frame[8:10] == (40000).to_bytes(2, "big") else bench.PASS
    )
    assert (await bench.device.discover()).serial == "000123"
    await bench.device.close()


async def test_a_device_without_a_map_is_no_sunspec_device(bench):
    class Nothing:
        def read(self, address, count):
            return bytes(2 * count)

    bench.unit = Nothing()
    with pytest.raises(PeerError, match="no SunSpec map"):
        await bench.device.discover()
    await bench.device.close()


async def test_a_device_that_never_answers_is_a_link_error(bench):
    bench.network.interfere = lambda _number, _frame: bench.DROP
    with pytest.raises(LinkError):
        await bench.device.discover()
    await bench.device.close()


async def test_an_end_model_without_a_length_ends_the_map(bench):
    image = bench.inverter.image
    del image.registers[-2:]
    assert (await bench.device.discover()).serial == "000123"
    await bench.device.close()


async def test_a_map_that_does_not_end_is_the_peers_fault(bench):
    class Endless:
        def read(self, address, count):
            return b"SunS" if (address, count) == (40000, 2) else b"\x03\xe7\x00\x00"[: 2 * count]

    bench.unit = Endless()
    with pytest.raises(PeerError, match="no end"):
        await bench.device.discover()
    await bench.device.close()


async def test_a_map_that_runs_out_of_addresses_is_the_peers_fault(bench):
    class Long:
        def read(self, address, count):
            return b"SunS" if (address, count) == (40000, 2) else b"\x03\xe7\x40\x00"[: 2 * count]

    bench.unit = Long()
    with pytest.raises(PeerError, match="no end"):
        await bench.device.discover()
    await bench.device.close()


async def test_a_device_without_model_1_is_refused(make_bench):
    bench = make_bench(RegisterImage([(compile_layout(703), {"ES": 1})]))
    with pytest.raises(PeerError, match="model 1"):
        await bench.device.discover()
    await bench.device.close()


async def test_models_that_are_not_spoken_are_stepped_over(make_bench, kind):
    models = [*standard_models(kind), (compile_layout(2), {})]
    models.insert(1, (compile_layout(103), {}))
    bench = make_bench(RegisterImage(models))
    assert "volt_var" in (await bench.device.discover()).functions
    await bench.device.close()


async def test_one_model_with_impossible_counts_does_not_hide_the_others(bench):
    bench.inverter.image.set_values(705, {"NPt": 5000})
    facts = await bench.device.discover()
    assert "volt_var" not in facts.functions
    assert "volt_watt" in facts.functions
    refused = (await bench.device.apply(target(volt_var=VOLT_VAR))).refused
    assert refused["volt_var"].firmness is Firmness.NEVER
    await bench.device.close()


async def test_a_curve_model_without_a_writable_curve_is_not_offered(bench):
    bench.inverter.image.set_values(705, {"Crv[1].ReadOnly": 1, "Crv[2].ReadOnly": 1})
    assert "volt_var" not in (await bench.device.discover()).functions
    await bench.device.close()


async def test_model_701_is_measured_in_one_read(bench):
    await bench.device.discover()
    bench.inverter.set_measurements({"W": 4321, "Hz": 59.98, "VL1": 241.5, "InvSt": 3, "St": 1, "ConnSt": 1, "Alrm": 0})
    before = len(bench.network.requests)
    readings, alarms = await bench.device.measure()
    assert len(bench.network.requests) - before == 2  # 701 and, of a storage, 713
    assert ("w", 0, 4321, 0) in readings
    assert ("hz", 0, 59980, -3) in readings
    assert ("v_an", 129, 2415, -1) in readings
    assert ("inverter_status", 0, 4, 0) in readings
    assert ("operational_mode", 0, 2, 0) in readings
    assert ("connect_status", 0, 1, 0) in readings
    assert ("soc_pct", 0, 500, -1) in readings
    assert not [reading for reading in readings if reading[0] == "v_bn"]
    assert alarms == []
    await bench.device.close()


async def test_alarms_are_told_by_their_canonical_names(bench):
    bench.inverter.set_measurements({"Alrm": 1 << 10 | 1 << 7})
    _, alarms = await bench.device.measure()
    assert [(alarm.point, alarm.details, alarm.active) for alarm in alarms] == [
        ("alarm_hardware", "OVER_TEMP", True),
        ("alarm_over_voltage", "AC_OVER_VOLT", True),
    ]
    await bench.device.close()


async def test_a_device_without_alarms_has_none(make_bench):
    bench = make_bench(RegisterImage([(compile_layout(1), {}), (compile_layout(715), {"LocRemCtl": 1})]))
    assert await bench.device.measure() == ([("local_control_mode", 0, 0, 0)], [])
    await bench.device.close()


async def test_a_target_of_every_kind_is_held_and_read_back(bench):
    back = await bench.device.apply(Setpoints.of(EVERYTHING))
    assert dict(back.setpoints) == EVERYTHING
    assert back.writes > 0
    await bench.device.close()


async def test_what_holds_already_is_not_written_again(bench):
    await bench.device.apply(Setpoints.of(EVERYTHING))
    writes = bench.network.writes()
    back = await bench.device.apply(Setpoints.of(EVERYTHING))
    assert (back.writes, bench.network.writes()) == (0, writes)
    assert dict(back.setpoints) == EVERYTHING
    await bench.device.close()


async def test_a_new_link_to_the_same_device_writes_nothing_either(bench):
    await bench.device.apply(Setpoints.of(EVERYTHING))
    await bench.device.close()
    anew = bench.link_anew()
    assert (await anew.apply(Setpoints.of(EVERYTHING))).writes == 0
    await anew.close()


@pytest.mark.parametrize(
    "values",
    [
        {"target_w": Decimal(-1250)},
        {"fixed_pf_inject_w": PowerFactor(displacement=Decimal("0.95"), absorbing=False)},
        {"fixed_pf_absorb_w": PowerFactor(displacement=Decimal("0.9"), absorbing=True)},
        {"fixed_var": FixedVar(value_pct=Decimal(-30), reference=Reference.STAT_VAR_AVAIL)},
        {"target_var": Decimal(-800)},
        {"energize": False},
        {"volt_var": replace(VOLT_VAR, v_ref_pct=Decimal(99))},
        {"volt_var": replace(VOLT_VAR, autonomous_v_ref=True, autonomous_v_ref_time_constant_s=Decimal(400))},
    ],
)
async def test_each_function_alone_is_held(bench, values):
    back = await bench.device.apply(Setpoints.of(values))
    assert dict(back.setpoints) == values
    await bench.device.close()


async def test_what_is_no_longer_commanded_is_released_and_protection_stays(bench):
    await bench.device.apply(Setpoints.of(EVERYTHING | {"energize": False}))
    await bench.device.apply(target())
    image = bench.inverter.image
    assert image.block(703).code("ES") == 1
    assert image.block(704).code("WMaxLimPctEna") == 0
    assert image.block(704).code("WSetEna") == 0
    assert {model_id for model_id in range(705, 713) if image.block(model_id).code("Ena") == 1} == {
        707,
        708,
        709,
        710,
        711,
    }
    assert image.block(703).number("ESRmpTms") == 120
    await bench.device.close()


async def test_a_limit_is_rounded_down_to_the_resolution_of_the_device(make_bench, kind):
    image = RegisterImage(standard_models(kind))
    image.set_values(704, {"WMaxLimPct": Decimal(1)})
    layout = image.models[704]
    image.store(layout.address + layout.layout.place("WMaxLimPct_SF").offset, b"\0\0")
    bench = make_bench(image)
    back = await bench.device.apply(target(max_lim_w_pct=Decimal("33.99")))
    assert back.setpoints["max_lim_w_pct"] == 33
    assert (await bench.device.apply(target(max_lim_w_pct=Decimal("33.99")))).writes == 0
    await bench.device.close()


def points_written(bench):
    return [(change.model_id, change.path, change.value) for change in bench.changes if isinstance(change, Changed)]


async def test_a_limit_is_written_before_it_is_switched_on(bench):
    await bench.device.apply(target(max_lim_w_pct=Decimal(40)))
    assert points_written(bench) == [(704, "WMaxLimPct", Decimal(40)), (704, "WMaxLimPctEna", 1)]
    await bench.device.close()


async def test_what_restricts_is_written_first_and_what_frees_last(bench):
    await bench.device.apply(target(energize=False, max_lim_w_pct=Decimal(40), fixed_w_pct=Decimal(30)))
    assert [path for _, path, _ in points_written(bench)][:2] == ["ES", "WMaxLimPct"]
    bench.changes.clear()
    await bench.device.apply(target(volt_watt=VOLT_WATT))
    paths = [path for _, path, _ in points_written(bench)]
    assert paths[0] == "WSetEna"
    assert paths[-2:] == ["WMaxLimPctEna", "ES"]
    await bench.device.close()


async def test_registers_are_written_before_a_curve_that_restricts_no_active_power(bench):
    await bench.device.apply(target(energize=False, fixed_w_pct=Decimal(30)))
    bench.changes.clear()
    await bench.device.apply(Setpoints.of({k: v for k, v in EVERYTHING.items() if k != "volt_watt"}))
    quick = [index for index, (model_id, *_) in enumerate(points_written(bench)) if model_id in {703, 704}]
    curves = [index for index, (model_id, *_) in enumerate(points_written(bench)) if model_id in {705, 711, 712}]
    assert quick[-1] < curves[0]
    await bench.device.close()


async def test_a_function_is_switched_off_before_the_curve_that_takes_its_place_is_switched_on(bench):
    await bench.device.apply(target(fixed_var=FixedVar(value_pct=Decimal(10), reference=Reference.SET_MAX_VAR)))
    bench.changes.clear()
    await bench.device.apply(target(volt_var=VOLT_VAR))
    assert points_written(bench)[0] == (704, "VarSetEna", 0)
    assert points_written(bench)[-1] == (705, "Ena", 1)
    await bench.device.close()


def limited(pct, **values):
    return target(max_lim_w_pct=Decimal(pct), **values)


async def interrupted(bench, running, newer, *, after_s=0.01):
    """Begin one apply, tell of a newer target while the device adopts, and give what the first apply raised."""
    first = asyncio.ensure_future(bench.device.apply(running))
    await asyncio.sleep(after_s)
    bench.device.give_way(newer)
    await asyncio.sleep(0.002)  # less than the time between two looks
    assert first.done()
    return first.exception()


async def test_a_limit_does_not_wait_for_a_curve_that_is_being_adopted(make_bench):
    bench = make_bench(defers_adoption=True)
    await bench.device.discover()
    error = await interrupted(bench, limited(80, volt_var=VOLT_VAR), limited(40, volt_var=VOLT_VAR))
    assert isinstance(error, LinkError)
    assert "goes on adopting the new DERVoltVar" in str(error)
    second = asyncio.ensure_future(bench.device.apply(limited(40, volt_var=VOLT_VAR)))
    await asyncio.sleep(0.01)
    assert bench.inverter.image.block(704).number("WMaxLimPct") == 40
    assert not second.done()
    requests = [path for _, path, _ in points_written(bench)].count("AdptCrvReq")
    bench.inverter.settle()
    assert dict((await second).setpoints) == dict(limited(40, volt_var=VOLT_VAR))
    assert [path for _, path, _ in points_written(bench)].count("AdptCrvReq") == requests == 1
    await bench.device.close()


async def test_another_curve_is_stored_only_after_the_one_that_is_being_adopted(make_bench):
    bench = make_bench(defers_adoption=True)
    await bench.device.discover()
    await interrupted(bench, limited(80, volt_var=VOLT_VAR), limited(40, volt_var=OTHER))
    bench.changes.clear()
    second = asyncio.ensure_future(bench.device.apply(limited(40, volt_var=OTHER)))
    await asyncio.sleep(0.01)
    assert {model_id for model_id, *_ in points_written(bench)} == {704}
    bench.inverter.settle()
    assert active_curve(bench) == shape_of(VOLT_VAR)
    await asyncio.sleep(0.01)
    bench.inverter.settle()
    assert dict((await second).setpoints) == dict(limited(40, volt_var=OTHER))
    assert active_curve(bench) == shape_of(OTHER)
    await bench.device.close()


async def test_the_curve_in_force_is_restored_when_another_is_being_adopted(make_bench):
    bench = make_bench(defers_adoption=True)
    await bench.device.discover()
    first = asyncio.ensure_future(bench.device.apply(target(volt_var=VOLT_VAR)))
    await asyncio.sleep(0.01)
    bench.inverter.settle()
    await first
    await interrupted(bench, target(volt_var=OTHER), limited(40, volt_var=VOLT_VAR))
    back = asyncio.ensure_future(bench.device.apply(limited(40, volt_var=VOLT_VAR)))
    for _ in range(2):
        await asyncio.sleep(0.01)
        bench.inverter.settle()
    assert (await back).setpoints["volt_var"] == VOLT_VAR
    assert active_curve(bench) == shape_of(VOLT_VAR)
    await bench.device.close()


async def test_an_adoption_that_fails_after_an_apply_gave_way_is_asked_for_once_more(make_bench):
    bench = make_bench(defers_adoption=True)
    await bench.device.discover()
    wrong = curve((110, 0), (90, 10))
    await interrupted(bench, target(volt_var=wrong), limited(40, volt_var=VOLT_VAR))
    second = asyncio.ensure_future(bench.device.apply(limited(40, volt_var=VOLT_VAR)))
    for _ in range(2):
        await asyncio.sleep(0.012)
        bench.inverter.settle()
    assert (await second).setpoints["volt_var"] == VOLT_VAR
    await bench.device.close()


async def test_another_adoption_may_give_way_again(make_bench):
    bench = make_bench(defers_adoption=True)
    await bench.device.discover()
    for pct in (80, 60, 40):
        error = await interrupted(bench, limited(pct, volt_var=VOLT_VAR), limited(pct - 20, volt_var=VOLT_VAR))
        assert "goes on adopting" in str(error)
        assert bench.inverter.image.block(704).number("WMaxLimPct") == pct
    bench.inverter.settle()
    assert (await bench.device.apply(limited(20, volt_var=VOLT_VAR))).setpoints["volt_var"] == VOLT_VAR
    assert [path for _, path, _ in points_written(bench)].count("AdptCrvReq") == 1
    await bench.device.close()


@pytest.mark.parametrize(
    "newer",
    [
        {"max_lim_w_pct": Decimal(80), "volt_var": OTHER},
        {"max_lim_w_pct": Decimal(80), "volt_var": VOLT_VAR, "volt_watt": VOLT_VAR},
    ],
)
async def test_what_differs_in_curves_only_waits_for_the_adoption(make_bench, newer):
    bench = make_bench(defers_adoption=True)
    await bench.device.discover()
    first = asyncio.ensure_future(bench.device.apply(limited(80, volt_var=VOLT_VAR)))
    await asyncio.sleep(0.01)
    bench.device.give_way(Setpoints.of(newer))
    await asyncio.sleep(0.01)
    assert not first.done()
    bench.inverter.settle()
    assert (await first).setpoints["volt_var"] == VOLT_VAR
    await bench.device.close()


async def test_a_curve_that_is_released_holds_nothing_up(make_bench):
    bench = make_bench(defers_adoption=True)
    await bench.device.discover()
    await interrupted(bench, target(volt_var=VOLT_VAR), target())
    assert dict((await bench.device.apply(target())).setpoints) == {}
    await bench.device.close()


async def test_a_device_found_anew_is_asked_anew(make_bench):
    bench = make_bench(defers_adoption=True)
    await bench.device.discover()
    await interrupted(bench, target(volt_var=VOLT_VAR), limited(40))
    await bench.device.discover()
    second = asyncio.ensure_future(bench.device.apply(limited(40, volt_var=VOLT_VAR)))
    await asyncio.sleep(0.01)
    bench.inverter.settle()
    await second
    assert [path for _, path, _ in points_written(bench)].count("AdptCrvReq") == 2
    await bench.device.close()


async def test_where_nothing_is_written_nothing_gives_way(bench):
    bench.device.give_way(limited(40))
    assert (await bench.device.apply(limited(50))).setpoints["max_lim_w_pct"] == 50
    await bench.device.close()


async def test_a_value_never_holds_with_the_meaning_of_another(bench):
    await bench.device.apply(target(fixed_var=FixedVar(value_pct=Decimal(10), reference=Reference.SET_MAX_VAR)))
    bench.changes.clear()
    await bench.device.apply(target(fixed_var=FixedVar(value_pct=Decimal(90), reference=Reference.STAT_VAR_AVAIL)))
    assert points_written(bench)[0] == (704, "VarSetEna", 0)
    assert points_written(bench)[-1] == (704, "VarSetEna", 1)
    await bench.device.close()


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"connect": False}, "no place for connect"),
        ({"fixed_w_pct": Decimal(1), "target_w": Decimal(1)}, "share 704.WSetEna"),
        ({"max_lim_w_pct": True}, "type bool"),
        ({"target_w": Decimal(10) ** 12}, "WSet"),
        ({"grad_w_pct_per_s": Decimal("0.27")}, "finer than 704.WRmp"),
        ({"volt_var": replace(VOLT_VAR, y_reference=Reference.NONE)}, "no NONE"),
        ({"volt_var": replace(VOLT_VAR, points=VOLT_VAR.points * 3)}, "12 points"),
        ({"volt_var": replace(VOLT_VAR, points=())}, "0 points"),
        ({"volt_var": replace(VOLT_VAR, ramp_decrease_pct_per_s=Decimal(5))}, "asked for by rampDecTms"),
        ({"volt_var": replace(VOLT_VAR, low_pass_s=Decimal(5))}, "asked for by rampPT1Tms"),
        ({"volt_watt": curve((106, 100), reference=Reference.SET_MAX_W, v_ref_pct=Decimal(99))}, "VRef"),
        ({"fixed_var": FixedVar(value_pct=Decimal(1), reference=Reference.SET_EFFECTIVE_V)}, "SET_EFFECTIVE_V"),
    ],
)
async def test_what_cannot_be_carried_out_is_refused_alone_and_none_of_it_is_written(bench, values, complaint):
    """Of two that exclude each other the second."""
    back = await bench.device.apply(Setpoints.of({"energize": False} | values))
    last = list(values)[-1]
    assert complaint in back.refused[last].reason
    assert {name: refusal.firmness for name, refusal in back.refused.items()} == {last: Firmness.NEVER}
    assert set(back.setpoints) == {"energize", *values} - {last}
    assert bench.inverter.image.block(703).code("ES") == 0
    assert bench.network.writes() == 1 + 2 * (len(values) - 1)
    await bench.device.close()


@pytest.mark.parametrize("function", ["volt_var", "volt_watt"])
async def test_a_low_pass_filter_is_told_as_the_response_time_it_comes_to(bench, function):
    wanted = replace(EVERYTHING[function], open_loop_s=None, low_pass_s=Decimal(10))
    back = await bench.device.apply(Setpoints.of({function: wanted}))
    assert back.setpoints[function] == wanted
    held = bench.inverter.image.block({"volt_var": 705, "volt_watt": 706}[function])
    assert abs(held.number("Crv[0].RspTms") - Decimal("7.686")) <= held.resolution("Crv[0].RspTms") / 2
    assert (await bench.device.apply(Setpoints.of({function: wanted}))).writes == 0
    await bench.device.close()


async def test_a_ramp_time_is_refused_before_anything_is_written(bench):
    assert not (await bench.device.discover()).carries_ramp_time
    with pytest.raises(Unsupported, match="10 s cannot be kept to"):
        await bench.device.apply(target(max_lim_w_pct=Decimal(40)), ramp_time_s=Decimal(10))
    assert bench.network.writes() == 0
    await bench.device.close()


async def test_a_device_that_holds_another_value_than_was_written_is_found_out(bench):
    class Clamping:
        def read(self, address, count):
            return bench.inverter.read(address, count)

        def write(self, address, data):
            bench.inverter.write(address, (max(int.from_bytes(data, "big"), 5000)).to_bytes(2, "big"))

    await bench.device.discover()
    bench.unit = Clamping()
    back = await bench.device.apply(target(max_lim_w_pct=Decimal(40)))
    assert "holds 1388 after 0fa0 was written to WMaxLimPct" in back.refused["max_lim_w_pct"].reason
    assert back.refused["max_lim_w_pct"].firmness is Firmness.DECLINED
    assert dict(back.setpoints) == {}
    await bench.device.close()


async def test_a_device_that_forgets_after_the_read_back_is_found_out(bench):
    forget = []

    class Forgetful:
        def read(self, address, count):
            data = bench.inverter.read(address, count)
            if forget:
                bench.inverter.image.set_values(704, {"WMaxLimPct": Decimal(100)})
            return data

        def write(self, address, data):
            bench.inverter.write(address, data)
            forget.append(address)

    await bench.device.discover()
    bench.unit = Forgetful()
    back = await bench.device.apply(target(max_lim_w_pct=Decimal(40)))
    assert "does not hold" in back.refused["max_lim_w_pct"].reason
    await bench.device.close()


async def test_a_device_that_moved_its_map_is_walked_again(bench, kind):
    await bench.device.discover()
    bench.inverter.image = RegisterImage(standard_models(kind)[:1] + standard_models(kind)[2:])
    with pytest.raises(PeerError, match="no longer at register"):
        await bench.device.measure()
    assert "volt_var" in (await bench.device.discover()).functions
    await bench.device.close()


async def test_two_applies_do_not_mix(bench):
    first, second = target(volt_var=VOLT_VAR), target(volt_var=OTHER)
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.device.apply(first))
        group.create_task(bench.device.apply(second))
        group.create_task(bench.device.measure())
    actives = [change.values["Pt[0].V"] for change in bench.adopted]
    assert actives == [Decimal(91), Decimal(90)]
    await bench.device.close()


# ---- curves: old or new, never mixed


def active_curve(bench):
    values = bench.inverter.active(705)
    count = values["ActPt"]
    return tuple((values[f"Pt[{index}].V"], values[f"Pt[{index}].Var"]) for index in range(count)), values["RspTms"]


def shape_of(wanted):
    return tuple((point.x, point.y) for point in wanted.points), wanted.open_loop_s


async def test_a_curve_takes_few_writes(bench):
    back = await bench.device.apply(target(volt_var=VOLT_VAR))
    # The points are one run; RspTms, AdptCrvReq and Ena make the rest.
    assert back.writes == 4
    await bench.device.close()


async def test_the_active_curve_is_never_written(bench):
    await bench.device.apply(Setpoints.of(EVERYTHING))
    assert not [path for _, path, _ in points_written(bench) if "[0]." in path.partition("Pt[")[0]]
    await bench.device.close()


async def test_the_first_curve_is_not_written_even_where_the_device_says_it_may_be(bench):
    bench.inverter.image.set_values(705, {"Crv[0].ReadOnly": 0})
    await bench.device.apply(target(volt_var=VOLT_VAR))
    assert not [path for _, path, _ in points_written(bench) if path.startswith("Crv[0].")]
    assert active_curve(bench) == shape_of(VOLT_VAR)
    await bench.device.close()


async def test_an_old_success_is_not_taken_for_the_new_one(make_bench):
    bench = make_bench(defers_adoption=True)

    class Lazy:
        """A device that leaves the result of the adoption before where it is until it has adopted."""

        def read(self, address, count):
            return bench.inverter.read(address, count)

        def write(self, address, data):
            bench.inverter.write(address, data)
            bench.inverter.image.set_values(705, {"AdptCrvRslt": 1})

    bench.unit = Lazy()
    await bench.device.discover()
    asyncio.get_running_loop().call_later(0.02, bench.inverter.settle)
    back = await bench.device.apply(target(volt_var=VOLT_VAR))
    assert back.setpoints["volt_var"] == VOLT_VAR
    assert active_curve(bench) == shape_of(VOLT_VAR)
    await bench.device.close()


async def test_an_old_failure_is_not_taken_for_the_new_one(make_bench):
    bench = make_bench(defers_adoption=True)
    bench.inverter.image.set_values(705, {"AdptCrvRslt": 2})

    class Lazy:
        def read(self, address, count):
            return bench.inverter.read(address, count)

        def write(self, address, data):
            bench.inverter.write(address, data)
            bench.inverter.image.set_values(705, {"AdptCrvRslt": 2})

    bench.unit = Lazy()
    await bench.device.discover()
    asyncio.get_running_loop().call_later(0.004, bench.inverter.settle)
    assert (await bench.device.apply(target(volt_var=VOLT_VAR))).setpoints["volt_var"] == VOLT_VAR
    await bench.device.close()


async def test_curves_of_one_set_are_adopted_together_and_the_others_kept(bench):
    await bench.device.apply(
        target(
            lvrt_must_trip=curve((2, 45), (21, 70), reference=Reference.NONE),
            lvrt_momentary_cessation=curve((0.08, 50), reference=Reference.NONE),
        )
    )
    assert [change.model_id for change in bench.adopted] == [707]
    await bench.device.apply(target(lvrt_may_trip=curve((1, 60), reference=Reference.NONE)))
    active = bench.inverter.active(707)
    assert (active["MustTrip.Pt[1].V"], active["MomCess.ActPt"], active["MayTrip.Pt[0].V"]) == (70, 1, 60)
    await bench.device.close()


async def test_a_slow_adoption_is_waited_for(make_bench):
    bench = make_bench(defers_adoption=True)
    await bench.device.discover()
    asyncio.get_running_loop().call_later(0.02, bench.inverter.settle)
    await bench.device.apply(target(volt_var=VOLT_VAR))
    assert active_curve(bench) == shape_of(VOLT_VAR)
    await bench.device.close()


async def test_an_adoption_without_end_is_not_reported_as_done(make_bench):
    bench = make_bench(defers_adoption=True)
    before = active_curve(bench)
    back = await bench.device.apply(target(volt_var=VOLT_VAR, max_lim_w_pct=Decimal(40)))
    assert "did not show the new DERVoltVar" in back.refused["volt_var"].reason
    assert dict(back.setpoints) == {"max_lim_w_pct": Decimal(40)}
    assert active_curve(bench) == before
    assert bench.inverter.image.block(705).code("Ena") == 0
    await bench.device.close()


async def test_a_curve_that_the_device_refuses_leaves_the_old_one_and_keeps_nothing_else_from_being_written(bench):
    before = active_curve(bench)
    back = await bench.device.apply(target(volt_var=curve((110, 0), (90, 10)), max_lim_w_pct=Decimal(40)))
    assert "the old ones hold" in back.refused["volt_var"].reason
    assert back.refused["volt_var"].firmness is Firmness.DECLINED
    assert dict(back.setpoints) == {"max_lim_w_pct": Decimal(40)}
    assert active_curve(bench) == before
    assert bench.inverter.image.block(705).code("Ena") == 0
    assert (await bench.device.apply(target(volt_var=VOLT_VAR))).setpoints["volt_var"] == VOLT_VAR
    assert "volt_var" in (await bench.device.apply(target(volt_var=curve((110, 0), (90, 10))))).refused
    assert "volt_var" in (await bench.device.apply(target(volt_var=curve((111, 0), (90, 10))))).refused
    assert active_curve(bench) == shape_of(VOLT_VAR)
    await bench.device.close()


SWITCH_WRITES = 4
"""Writes by which one curve replaces another and its response time changes: response, points, request and, at first, enable."""


@pytest.mark.parametrize("fault", ["drop", "close", "close after", "garbage", "refuse", "busy"])
@pytest.mark.parametrize("index", range(SWITCH_WRITES + 1))
async def test_a_fault_at_any_write_leaves_the_old_or_the_new_curve(bench, fault, index):
    await bench.device.apply(target(volt_var=VOLT_VAR))
    await bench.device.apply(target())
    old, new = active_curve(bench), shape_of(OTHER)
    seen = []

    def interfere(_number, frame):
        if frame[7] not in {6, 16}:
            return bench.PASS
        seen.append(frame)
        return fault if len(seen) == index + 1 and fault not in {"refuse", "busy"} else bench.PASS

    class Refusing:
        def read(self, address, count):
            return bench.inverter.read(address, count)

        def write(self, address, data):
            if len(seen) == index + 1:
                raise ModbusFault(4 if fault == "refuse" else 6)
            bench.inverter.write(address, data)

    bench.network.interfere = interfere
    if fault in {"refuse", "busy"}:
        bench.unit = Refusing()
    failed = False
    try:
        back = await bench.device.apply(target(volt_var=OTHER))
        failed = "volt_var" in back.refused
        assert failed or back.setpoints["volt_var"] == OTHER
    except TierlineError:
        failed = True
    assert failed == (len(seen) >= index + 1 and index < len(seen))
    assert active_curve(bench) in {old, new}
    if not failed:
        assert active_curve(bench) == new
    bench.network.interfere = lambda _number, _frame: bench.PASS
    bench.unit = bench.inverter
    bench.clock.monotonic += 100
    back = await bench.device.apply(target(volt_var=OTHER))
    assert back.setpoints["volt_var"] == OTHER
    assert active_curve(bench) == new
    assert bench.inverter.image.block(705).code("Ena") == 1
    await bench.device.close()


@pytest.mark.parametrize("index", range(30))
async def test_a_fault_at_any_request_of_an_apply_is_an_error_and_the_next_apply_converges(bench, index):
    await bench.device.discover()
    first = len(bench.network.requests)
    bench.network.interfere = lambda number, _frame: bench.CLOSE_AFTER if number - first == index else bench.PASS
    wanted = target(max_lim_w_pct=Decimal(40), volt_var=VOLT_VAR, energize=True)
    old = active_curve(bench)
    try:
        await bench.device.apply(wanted)
        assert len(bench.network.requests) - first <= index
    except LinkError:
        pass
    assert active_curve(bench) in {old, shape_of(VOLT_VAR)}
    bench.clock.monotonic += 100
    bench.network.interfere = lambda _number, _frame: bench.PASS
    assert dict((await bench.device.apply(wanted)).setpoints) == dict(wanted)
    await bench.device.close()


# ---- what the device refuses, and what it does not


class Deaf:
    """A device that refuses, by a Modbus exception, to write the registers of some points."""

    def __init__(self, bench, *points, code=3):
        self.inverter, self.code = bench.inverter, code
        self.registers = {
            model.address + model.layout.place(path).offset
            for model_id, path in points
            for model in (bench.inverter.image.models[model_id],)
        }

    def read(self, address, count):
        return self.inverter.read(address, count)

    def write(self, address, data):
        if not self.registers.isdisjoint(range(address, address + len(data) // 2)):
            raise ModbusFault(self.code)
        self.inverter.write(address, data)


async def test_what_is_kept_of_each_function_is_found_out(make_bench, kind):
    bench = make_bench(standard_image(replace(kind, curve_points=4)))
    facts = await bench.device.discover()
    assert facts.capability.functions.keys() == facts.functions
    assert "at most 4" in facts.capability.why_not("volt_var", replace(VOLT_VAR, points=VOLT_VAR.points * 2))
    assert facts.capability.why_not("volt_var", VOLT_VAR) == ""
    await bench.device.close()


async def test_settings_that_change_leave_what_is_kept_as_it_was_found(bench):
    found = await bench.device.discover()
    bench.inverter.image.set_values(702, {"WMax": Decimal(4000)})
    bench.clock.time += timedelta(hours=2)
    changed = await bench.device.refreshed()
    assert changed.capability == found.capability
    await bench.device.close()


async def test_a_refusal_by_exception_is_said_of_its_function_alone(bench):
    await bench.device.discover()
    bench.unit = Deaf(bench, (704, "VarSetPct"))
    wanted = target(
        max_lim_w_pct=Decimal(40),
        fixed_var=FixedVar(value_pct=Decimal(5), reference=Reference.SET_MAX_VAR),
        energize=True,
    )
    back = await bench.device.apply(wanted)
    assert {name: refusal.firmness for name, refusal in back.refused.items()} == {"fixed_var": Firmness.DECLINED}
    assert dict(back.setpoints) == {"max_lim_w_pct": Decimal(40), "energize": True}
    assert bench.inverter.image.block(704).code("VarSetEna") == 0
    bench.unit = bench.inverter
    assert (await bench.device.apply(wanted)).refused == {}
    await bench.device.close()


@pytest.mark.parametrize(
    ("code", "firmness"),
    [(1, Firmness.DECLINED), (2, Firmness.DECLINED), (3, Firmness.DECLINED), (4, Firmness.PASSING)],
)
async def test_a_device_that_failed_says_nothing_of_the_value(bench, code, firmness):
    await bench.device.discover()
    bench.unit = Deaf(bench, (704, "WMaxLimPct"), code=code)
    back = await bench.device.apply(target(max_lim_w_pct=Decimal(40)))
    assert back.refused["max_lim_w_pct"].firmness is firmness
    await bench.device.close()


async def test_what_is_refused_leaves_its_registers_as_they_are(bench):
    await bench.device.apply(target(volt_var=VOLT_VAR))
    back = await bench.device.apply(target(volt_var=replace(VOLT_VAR, points=VOLT_VAR.points * 3)))
    assert back.refused.keys() == {"volt_var"}
    assert bench.inverter.image.block(705).code("Ena") == 1
    assert active_curve(bench) == shape_of(VOLT_VAR)
    await bench.device.close()


async def test_nothing_that_limits_is_given_back_while_a_limit_is_refused(bench):
    before = target(energize=False, volt_watt=VOLT_WATT, fixed_w_pct=Decimal(10))
    await bench.device.apply(before)
    bench.unit = Deaf(bench, (704, "WMaxLimPct"))
    back = await bench.device.apply(target(max_lim_w_pct=Decimal(40), energize=True, volt_var=VOLT_VAR))
    assert {name: refusal.firmness for name, refusal in back.refused.items()} == {
        "max_lim_w_pct": Firmness.DECLINED,
        "energize": Firmness.PASSING,
        "volt_watt": Firmness.PASSING,
    }
    assert set(back.setpoints) == {"volt_var"}
    image = bench.inverter.image
    assert [image.block(model).code(path) for model, path in ((703, "ES"), (706, "Ena"), (704, "WSetEna"))] == [0, 1, 0]
    bench.unit = bench.inverter
    back = await bench.device.apply(target(max_lim_w_pct=Decimal(40), energize=True, volt_var=VOLT_VAR))
    assert back.refused == {}
    assert [image.block(model).code(path) for model, path in ((703, "ES"), (706, "Ena"))] == [1, 0]
    await bench.device.close()


async def test_what_is_permitted_already_waits_for_nothing(bench):
    await bench.device.discover()
    bench.unit = Deaf(bench, (704, "WMaxLimPct"))
    back = await bench.device.apply(target(max_lim_w_pct=Decimal(40), energize=True))
    assert back.refused.keys() == {"max_lim_w_pct"}
    assert dict(back.setpoints) == {"energize": True}
    await bench.device.close()


@pytest.mark.parametrize(
    "refused", [{"energize": False}, {"volt_watt": replace(VOLT_WATT, points=VOLT_WATT.points * 9)}]
)
async def test_a_device_that_does_not_cease_or_takes_no_curve_that_limits_is_not_freed(bench, refused):
    await bench.device.apply(target(max_lim_w_pct=Decimal(40)))
    bench.unit = Deaf(bench, (703, "ES"))
    back = await bench.device.apply(Setpoints.of(refused))
    assert back.refused["max_lim_w_pct"].firmness is Firmness.PASSING
    assert bench.inverter.image.block(704).code("WMaxLimPctEna") == 1
    await bench.device.close()


async def test_a_function_that_cannot_be_released_keeps_nothing_else_from_being_written(bench):
    await bench.device.apply(target(fixed_w_pct=Decimal(10)))
    bench.unit = Deaf(bench, (704, "WSetEna"))
    back = await bench.device.apply(target(max_lim_w_pct=Decimal(40), volt_var=VOLT_VAR))
    assert set(back.setpoints) == {"max_lim_w_pct", "volt_var"}
    assert back.refused.keys() == {"fixed_w_pct"}
    await bench.device.close()


async def test_a_set_of_curves_is_refused_as_one_and_the_others_are_adopted(bench):
    rising = curve((21, 70), (2, 45), reference=Reference.NONE)  # trip times must rise
    back = await bench.device.apply(
        target(
            lvrt_must_trip=rising,
            lvrt_momentary_cessation=EVERYTHING["lvrt_momentary_cessation"],
            hfrt_must_trip=EVERYTHING["hfrt_must_trip"],
            freq_droop=EVERYTHING["freq_droop"],
        )
    )
    assert set(back.setpoints) | set(back.refused) == {
        "lvrt_must_trip",
        "lvrt_momentary_cessation",
        "hfrt_must_trip",
        "freq_droop",
    }
    assert {"hfrt_must_trip", "freq_droop"} <= back.setpoints.keys()
    await bench.device.close()


# ---- the device on its own


DEAD_MAN = DeadMan(
    after_s=60,
    default=Setpoints.of(
        {
            "max_lim_w_pct": Decimal(70),
            "fixed_pf_inject_w": PowerFactor(displacement=Decimal("0.98"), absorbing=False),
            "fixed_var": FixedVar(value_pct=Decimal(5), reference=Reference.SET_MAX_VAR),
        }
    ),
)


@pytest.mark.parametrize(
    ("values", "enable", "after", "held"),
    [
        ({"max_lim_w_pct": Decimal(40)}, "WMaxLimPctEna", "WMaxLimPct", Decimal(70)),
        (
            {"fixed_pf_inject_w": PowerFactor(displacement=Decimal("0.9"), absorbing=True)},
            "PFWInjEna",
            "PFWInj.PF",
            Decimal("0.98"),
        ),
        (
            {"fixed_var": FixedVar(value_pct=Decimal(20), reference=Reference.SET_MAX_VAR)},
            "VarSetEna",
            "VarSetPct",
            Decimal(5),
        ),
    ],
)
async def test_a_device_that_hears_nothing_more_reverts_to_the_default(bench, values, enable, after, held):
    device = bench.link_anew(DEAD_MAN)
    assert dict((await device.apply(Setpoints.of(values))).setpoints) == values
    assert (await device.apply(Setpoints.of(values))).writes == 0
    bench.inverter.tick(61)
    controls = bench.inverter.image.block(704)
    assert (controls.code(enable), controls.number(after)) == (1, held)
    assert dict((await device.apply(Setpoints.of(values))).setpoints) == values
    await device.close()


@pytest.mark.parametrize(
    "values",
    [
        {"target_w": Decimal(500)},
        {"fixed_var": FixedVar(value_pct=Decimal(20), reference=Reference.STAT_VAR_AVAIL)},
    ],
)
async def test_what_has_no_default_is_switched_off_by_the_dead_man(bench, values):
    device = bench.link_anew(DEAD_MAN)
    await device.apply(Setpoints.of(values))
    bench.inverter.tick(61)
    controls = bench.inverter.image.block(704)
    assert (controls.code("WSetEna"), controls.code("VarSetEna")) == (0, 0)
    await device.close()


async def test_a_sign_of_life_keeps_the_commands(bench):
    device = bench.link_anew(DEAD_MAN)
    await device.apply(target(max_lim_w_pct=Decimal(40)))
    for _ in range(3):
        bench.inverter.tick(50)
        await device.keep_alive()
    assert bench.inverter.image.block(704).number("WMaxLimPct") == 40
    await device.close()


async def test_without_a_dead_man_the_timers_are_left_alone(bench):
    await bench.device.apply(target(max_lim_w_pct=Decimal(40)))
    writes = bench.network.writes()
    await bench.device.keep_alive()
    assert bench.network.writes() == writes
    assert bench.inverter.image.block(704).code("WMaxLimPctRvrtTms") == 0
    await bench.device.close()


async def test_a_device_without_timers_is_commanded_without(bench):
    bench.inverter.image.set_values(704, {"WMaxLimPctRvrtTms": None})
    device = bench.link_anew(DEAD_MAN)
    assert (await device.apply(target(max_lim_w_pct=Decimal(40)))).setpoints["max_lim_w_pct"] == 40
    await device.close()


async def test_a_default_of_the_wrong_kind_is_refused(bench):
    device = bench.link_anew(DeadMan(after_s=60, default=target(max_lim_w_pct=True)))
    assert "type bool" in (await device.apply(target(max_lim_w_pct=Decimal(40)))).refused["max_lim_w_pct"].reason
    await device.close()


@pytest.mark.parametrize(("count", "next_count"), [(0, 1), (41, 42), (0xFFFFFFFE, 0)])
async def test_the_heartbeat_of_the_controller_counts_up(make_bench, kind, count, next_count):
    models = [*standard_models(kind), (compile_layout(715), {"ControllerHb": count, "LocRemCtl": 0})]
    bench = make_bench(RegisterImage(models))
    await bench.device.keep_alive()
    assert bench.inverter.image.block(715).code("ControllerHb") == next_count
    await bench.device.close()


async def test_a_device_without_a_heartbeat_gets_none(make_bench):
    bench = make_bench(RegisterImage([(compile_layout(1), {}), (compile_layout(715), {"LocRemCtl": 0})]))
    await bench.device.keep_alive()
    assert bench.network.writes() == 0
    await bench.device.close()


# ---- ratings and settings that change


async def test_settings_that_change_are_noticed_after_an_hour(bench):
    facts = await bench.device.discover()
    bench.inverter.image.set_values(702, {"WMax": Decimal(4000)})
    bench.clock.time += timedelta(minutes=59)
    requests = len(bench.network.requests)
    assert await bench.device.refreshed() is None
    assert len(bench.network.requests) == requests
    bench.clock.time += timedelta(minutes=1)
    assert await bench.device.refreshed() == replace(facts, settings=dict(facts.settings) | {"set_max_w": 4000})
    assert len(bench.network.requests) - requests <= 4
    bench.clock.time += timedelta(hours=1)
    assert await bench.device.refreshed() is None
    await bench.device.close()


async def test_settings_that_change_are_noticed_on_a_new_connection(bench):
    await bench.device.discover()
    bench.inverter.image.set_values(702, {"WMax": Decimal(4000)})
    assert await bench.device.refreshed() is None
    await bench.device.close()
    await bench.device.measure()
    assert (await bench.device.refreshed()).settings["set_max_w"] == 4000
    assert await bench.device.refreshed() is None
    await bench.device.close()


async def test_a_device_that_was_not_found_yet_has_not_changed(bench):
    bench.clock.time += timedelta(hours=2)
    assert await bench.device.refreshed() is None
    await bench.device.close()


async def test_a_device_whose_map_is_in_doubt_is_walked_before_it_is_read_again(bench, kind):
    await bench.device.discover()
    bench.inverter.image = RegisterImage(standard_models(kind)[:1] + standard_models(kind)[2:])
    with pytest.raises(PeerError, match="no longer at register"):
        await bench.device.measure()
    bench.clock.time += timedelta(hours=1)
    assert await bench.device.refreshed() is None
    bench.inverter.image = RegisterImage(standard_models(kind)[1:])
    with pytest.raises(PeerError, match="no longer at register"):
        await bench.device.measure()
    bench.clock.time += timedelta(hours=1)
    with pytest.raises(PeerError, match="model 1"):
        await bench.device.refreshed()
    await bench.device.close()
