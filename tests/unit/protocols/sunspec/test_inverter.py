from decimal import Decimal

import pytest

from tierline.protocols.sunspec.codec import compile_layout
from tierline.protocols.sunspec.device import standard_image
from tierline.protocols.sunspec.image import RegisterImage
from tierline.protocols.sunspec.inverter import ADOPTIONS, Adopted, Changed, SunSpecInverter, is_valid_curve
from tierline.protocols.sunspec.modbus import ModbusFault


@pytest.fixture
def changes():
    return []


@pytest.fixture
def inverter(kind, changes):
    return SunSpecInverter(standard_image(kind), on_change=changes.append)


def write(inverter, model_id, **values):
    write_paths(inverter, model_id, values)


def write_paths(inverter, model_id, values):
    model = inverter.image.models[model_id]
    for run in model.layout.encode_runs(values, inverter.image.block(model_id)):
        inverter.write(model.address + run.offset, run.data)


def refusal(inverter, model_id, values) -> int:
    before = bytes(inverter.image.registers)
    with pytest.raises(ModbusFault) as fault:
        write_paths(inverter, model_id, values)
    assert bytes(inverter.image.registers) == before
    return fault.value.code


def test_a_setting_that_is_written_appears_as_a_typed_change(inverter, changes):
    write(inverter, 704, WMaxLimPct=Decimal("40.25"))
    write(inverter, 703, ES=0)
    assert changes == [
        Changed(model_id=704, path="WMaxLimPct", value=Decimal("40.25")),
        Changed(model_id=703, path="ES", value=0),
    ]


def test_measurements_set_by_code_are_read_from_the_registers(inverter):
    inverter.set_measurements({"W": 4321.4, "InvSt": 3, "Alrm": 1 << 10})
    inverter.set_measurements({"SoC": 42.5}, model_id=713)
    block = inverter.image.block(701)
    assert (block.number("W"), block.code("InvSt"), block.code("Alrm")) == (4321, 3, 1024)
    assert inverter.image.block(713).number("SoC") == Decimal("42.5")


@pytest.mark.parametrize(
    ("model_id", "path", "value", "code"),
    [
        (701, "W", Decimal(1), 2),
        (702, "WMaxRtg", Decimal(1), 2),
        (704, "WMaxLimPct_SF", 0, 2),
        (705, "Crv[0].ActPt", 2, 2),
        (705, "AdptCrvRslt", 1, 2),
        (703, "ES", 2, 3),
        (704, "WMaxLimPct", Decimal(101), 3),
        (704, "WSetPct", Decimal(-101), 3),
        (704, "PFWInj.PF", Decimal("1.1"), 3),
        (704, "WMaxLimPct", None, 3),
        (705, "AdptCrvReq", 4, 3),
        (705, "Crv[1].DeptRef", 9, 3),
    ],
)
def test_what_may_not_be_written_is_refused_and_leaves_the_registers(inverter, changes, model_id, path, value, code):
    assert refusal(inverter, model_id, {path: value}) == code
    assert changes == []


def test_a_write_is_taken_whole_or_not_at_all(inverter, changes):
    assert refusal(inverter, 703, {"ES": 1, "ESVHi": Decimal(106), "ESVLo": None}) == 3
    assert changes == []


def test_a_write_that_cuts_a_number_in_two_is_refused(inverter):
    address = inverter.image.models[703].address + 5
    for start in (address, address + 1):
        with pytest.raises(ModbusFault, match="cut a point in two"):
            inverter.write(start, b"\0\0")


def test_a_write_outside_one_model_is_refused(inverter):
    with pytest.raises(ModbusFault, match="one model"):
        inverter.write(inverter.image.models[704].address - 1, b"\0\0\0\0")
    with pytest.raises(ModbusFault, match="one model"):
        inverter.write(1, b"\0\0")


CURVE = {
    "Crv[1].ActPt": 2,
    "Crv[1].Pt[0].V": Decimal(90),
    "Crv[1].Pt[0].Var": Decimal(30),
    "Crv[1].Pt[1].V": Decimal(110),
    "Crv[1].Pt[1].Var": Decimal(-30),
}


def test_an_adopted_curve_becomes_the_active_one(inverter, changes):
    write_paths(inverter, 705, CURVE)
    assert inverter.active(705)["ActPt"] == 4
    write(inverter, 705, AdptCrvReq=2)
    active = inverter.active(705)
    assert (active["ActPt"], active["Pt[1].V"], active["ReadOnly"]) == (2, Decimal(110), 1)
    assert inverter.image.block(705).code("AdptCrvRslt") == 1
    adopted = [change for change in changes if isinstance(change, Adopted)]
    assert [(change.model_id, change.values["ActPt"]) for change in adopted] == [(705, 2)]


def test_a_deferred_adoption_is_in_progress_until_it_settles(kind, changes):
    inverter = SunSpecInverter(standard_image(kind), on_change=changes.append, defers_adoption=True)
    write_paths(inverter, 705, CURVE)
    write(inverter, 705, AdptCrvReq=2)
    assert inverter.image.block(705).code("AdptCrvRslt") == 0
    assert inverter.active(705)["ActPt"] == 4
    inverter.settle()
    inverter.settle()
    assert inverter.image.block(705).code("AdptCrvRslt") == 1
    assert sum(isinstance(change, Adopted) for change in changes) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"Crv[1].ActPt": 0},
        {"Crv[1].ActPt": 11},
        {"Crv[1].Pt[1].V": Decimal(80)},
    ],
)
def test_an_invalid_curve_is_not_adopted_and_the_old_one_stays(inverter, changes, fault):
    before = inverter.active(705)
    write_paths(inverter, 705, {**CURVE, **fault})
    write(inverter, 705, AdptCrvReq=2)
    assert inverter.image.block(705).code("AdptCrvRslt") == 2
    assert inverter.active(705) == before
    assert not any(isinstance(change, Adopted) for change in changes)


def test_a_request_for_no_curve_changes_nothing(inverter):
    before = inverter.active(705)
    write(inverter, 705, AdptCrvReq=0)
    assert inverter.active(705) == before
    assert inverter.image.block(705).code("AdptCrvRslt") == 1


def test_a_trip_set_is_adopted_with_all_its_curves(inverter, changes):
    write_paths(
        inverter,
        707,
        {
            "Crv[1].MomCess.ActPt": 1,
            "Crv[1].MomCess.Pt[0].V": Decimal(50),
            "Crv[1].MomCess.Pt[0].Tms": Decimal("0.08"),
        },
    )
    write(inverter, 707, AdptCrvReq=2)
    active = inverter.active(707)
    assert (active["MomCess.ActPt"], active["MustTrip.ActPt"], active["MomCess.Pt[0].Tms"]) == (1, 3, Decimal("0.08"))


def test_a_droop_is_adopted(inverter):
    write_paths(inverter, 711, {"Ctl[1].KOf": Decimal("0.03")})
    write(inverter, 711, AdptCtlReq=2)
    assert inverter.active(711)["KOf"] == Decimal("0.03")


def test_a_stored_point_that_is_not_implemented_is_no_valid_curve():
    adoption = ADOPTIONS[705]
    good = {"ActPt": 1, "Pt[0].V": Decimal(90), "Pt[0].Var": Decimal(0)}
    assert is_valid_curve(good, adoption)
    assert not is_valid_curve({**good, "Pt[0].Var": None}, adoption)
    assert not is_valid_curve({**good, "ActPt": None}, adoption)


def test_a_trip_curve_that_the_device_does_not_implement_does_not_spoil_its_set():
    adoption = ADOPTIONS[707]
    good = {"MustTrip.ActPt": 1, "MustTrip.Pt[0].V": Decimal(50), "MustTrip.Pt[0].Tms": Decimal(2)}
    assert is_valid_curve({**good, "MayTrip.ActPt": None, "MomCess.ActPt": 0}, adoption)


def test_a_droop_with_a_missing_value_is_not_valid():
    assert not is_valid_curve({"KOf": None, "KUf": Decimal("0.05")}, ADOPTIONS[711])


def test_an_inverter_without_a_listener_takes_writes_too(kind):
    inverter = SunSpecInverter(standard_image(kind))
    write(inverter, 703, ES=0)
    assert inverter.image.block(703).code("ES") == 0
    assert inverter.read(40000, 2) == b"SunS"


def controls(inverter):
    return inverter.image.block(704)


def limit_with_timer(inverter, seconds=60, **reversion):
    write(inverter, 704, WMaxLimPct=Decimal(40), WMaxLimPctRvrtTms=seconds, **reversion)
    write(inverter, 704, WMaxLimPctEna=1)


def test_a_function_reverts_when_its_timer_ends(inverter, changes):
    limit_with_timer(inverter, WMaxLimPctRvrt=Decimal(70), WMaxLimPctEnaRvrt=1)
    inverter.tick(59.5)
    assert (controls(inverter).number("WMaxLimPct"), controls(inverter).code("WMaxLimPctRvrtRem")) == (40, 1)
    changes.clear()
    inverter.tick(0.5)
    assert (controls(inverter).number("WMaxLimPct"), controls(inverter).code("WMaxLimPctEna")) == (70, 1)
    assert controls(inverter).code("WMaxLimPctRvrtRem") == 0
    assert [(change.path, change.value) for change in changes] == [("WMaxLimPct", Decimal(70)), ("WMaxLimPctEna", 1)]
    inverter.tick(1000)
    assert len(changes) == 2


def test_a_function_is_switched_off_by_its_timer_unless_it_reverts_to_on(inverter):
    limit_with_timer(inverter)
    inverter.tick(60)
    assert controls(inverter).code("WMaxLimPctEna") == 0


def test_a_sign_of_life_restarts_a_timer(inverter):
    limit_with_timer(inverter)
    inverter.tick(50)
    write(inverter, 704, WMaxLimPctRvrtTms=60)
    inverter.tick(50)
    assert controls(inverter).code("WMaxLimPctEna") == 1
    assert controls(inverter).code("WMaxLimPctRvrtRem") == 10


def test_switching_a_function_off_stops_its_timer(inverter, changes):
    limit_with_timer(inverter)
    write(inverter, 704, WMaxLimPctEna=0)
    changes.clear()
    inverter.tick(1000)
    assert changes == []
    assert controls(inverter).code("WMaxLimPctRvrtRem") == 0


def test_a_point_that_is_not_implemented_is_not_written(inverter):
    assert refusal(inverter, 705, {"RvrtTms": 60}) == 2


def test_a_text_that_is_not_text_is_refused():
    layout = compile_layout(12)
    inverter = SunSpecInverter(RegisterImage([(layout, {"Nam": "old"})]))
    with pytest.raises(ModbusFault, match="not UTF-8") as fault:
        inverter.write(inverter.image.models[12].address + layout.place("Nam").offset, b"\xff\xfe" + bytes(6))
    assert fault.value.code == 3


def test_a_value_that_the_device_does_not_offer_is_refused(kind):
    inverter = SunSpecInverter(
        standard_image(kind), accepts=lambda change: not (isinstance(change, Changed) and change.value == 0)
    )
    assert refusal(inverter, 703, {"ES": 0}) == 3
    write(inverter, 703, ES=1)


def test_a_curve_that_the_device_does_not_offer_is_not_adopted(kind, changes):
    inverter = SunSpecInverter(
        standard_image(kind), on_change=changes.append, accepts=lambda change: isinstance(change, Changed)
    )
    active = inverter.active(705)
    write_paths(inverter, 705, {"Crv[1].RspTms": Decimal(7)})
    write(inverter, 705, AdptCrvReq=2)
    assert inverter.image.block(705).code("AdptCrvRslt") == 2
    assert inverter.active(705) == active
    assert not any(isinstance(change, Adopted) for change in changes)
