"""Which element of DERControlBase or DefaultDERControl stands for which canonical function, and how its value is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from tierline.model import control as model
from tierline.model.errors import PeerError, Unsupported
from tierline.protocols.sep2.mapping.numbers import bounded, fitted, from_scale
from tierline.protocols.sep2.resources import objects
from tierline.protocols.sep2.resources.der import DefaultDERControl, DERControlBase, FreqDroopType
from tierline.protocols.sep2.resources.rows import Edition, Element, Integer, Value, includes, rows_of

if TYPE_CHECKING:
    import msgspec

CurveHref = Callable[[model.Curve], str]
"""Where a curve is served."""

CurveAt = Callable[[str], model.Curve | None]
"""The curve that was found at a path; None when it could not be had."""


class Form(Enum):
    """How a value is written."""

    FLAG = auto()
    PERCENT = auto()
    """0.01 %."""
    WATTS = auto()
    VARS = auto()
    POWER_FACTOR = auto()
    FIXED_VAR = auto()
    DROOP = auto()
    CURVE = auto()


@dataclass(frozen=True, slots=True)
class Mode:
    """One element of DERControlBase."""

    function: str
    element: str
    attribute: str
    form: Form
    bit: int | None = None
    """Its bit in modesSupported (DERControlType); None for CSIP-AUS elements, which have bitmaps of their own."""
    curve_type: int | None = None
    """DERCurveType of 2018, for curves."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One element of DefaultDERControl outside its base."""

    function: str
    element: str
    attribute: str
    exponent: int
    """The unit of the wire as a power of ten of the function's unit."""


MODES: tuple[Mode, ...] = (
    Mode("connect", "opModConnect", "op_mod_connect", Form.FLAG, 2),
    Mode("energize", "opModEnergize", "op_mod_energize", Form.FLAG, 3),
    Mode("fixed_pf_absorb_w", "opModFixedPFAbsorbW", "op_mod_fixed_pf_absorb_w", Form.POWER_FACTOR, 4),
    Mode("fixed_pf_inject_w", "opModFixedPFInjectW", "op_mod_fixed_pf_inject_w", Form.POWER_FACTOR, 5),
    Mode("fixed_var", "opModFixedVar", "op_mod_fixed_var", Form.FIXED_VAR, 6),
    Mode("fixed_w_pct", "opModFixedW", "op_mod_fixed_w", Form.PERCENT, 7),
    Mode("freq_droop", "opModFreqDroop", "op_mod_freq_droop", Form.DROOP, 8),
    Mode("freq_watt", "opModFreqWatt", "op_mod_freq_watt", Form.CURVE, 9, 0),
    Mode("hfrt_may_trip", "opModHFRTMayTrip", "op_mod_hfrt_may_trip", Form.CURVE, 10, 1),
    Mode("hfrt_must_trip", "opModHFRTMustTrip", "op_mod_hfrt_must_trip", Form.CURVE, 11, 2),
    Mode("hvrt_may_trip", "opModHVRTMayTrip", "op_mod_hvrt_may_trip", Form.CURVE, 12, 3),
    Mode(
        "hvrt_momentary_cessation",
        "opModHVRTMomentaryCessation",
        "op_mod_hvrt_momentary_cessation",
        Form.CURVE,
        13,
        4,
    ),
    Mode("hvrt_must_trip", "opModHVRTMustTrip", "op_mod_hvrt_must_trip", Form.CURVE, 14, 5),
    Mode("lfrt_may_trip", "opModLFRTMayTrip", "op_mod_lfrt_may_trip", Form.CURVE, 15, 6),
    Mode("lfrt_must_trip", "opModLFRTMustTrip", "op_mod_lfrt_must_trip", Form.CURVE, 16, 7),
    Mode("lvrt_may_trip", "opModLVRTMayTrip", "op_mod_lvrt_may_trip", Form.CURVE, 17, 8),
    Mode(
        "lvrt_momentary_cessation",
        "opModLVRTMomentaryCessation",
        "op_mod_lvrt_momentary_cessation",
        Form.CURVE,
        18,
        9,
    ),
    Mode("lvrt_must_trip", "opModLVRTMustTrip", "op_mod_lvrt_must_trip", Form.CURVE, 19, 10),
    Mode("max_lim_w_pct", "opModMaxLimW", "op_mod_max_lim_w", Form.PERCENT, 20),
    Mode("target_var", "opModTargetVar", "op_mod_target_var", Form.VARS, 21),
    Mode("target_w", "opModTargetW", "op_mod_target_w", Form.WATTS, 22),
    Mode("volt_var", "opModVoltVar", "op_mod_volt_var", Form.CURVE, 23, 11),
    Mode("volt_watt", "opModVoltWatt", "op_mod_volt_watt", Form.CURVE, 24, 12),
    Mode("watt_pf", "opModWattPF", "op_mod_watt_pf", Form.CURVE, 25, 13),
    Mode("watt_var", "opModWattVar", "op_mod_watt_var", Form.CURVE, 26, 14),
    Mode("imp_lim_w", "opModImpLimW", "op_mod_imp_lim_w", Form.WATTS),
    Mode("exp_lim_w", "opModExpLimW", "op_mod_exp_lim_w", Form.WATTS),
    Mode("gen_lim_w", "opModGenLimW", "op_mod_gen_lim_w", Form.WATTS),
    Mode("load_lim_w", "opModLoadLimW", "op_mod_load_lim_w", Form.WATTS),
    Mode("storage_target_w", "opModStorageTargetW", "op_mod_storage_target_w", Form.WATTS),
)
"""DERControlBase of the 2018 edition and its CSIP-AUS extension. Source: IEEE 2030.5-2018, DERControlType, DERCurveType."""

SETTINGS: tuple[Setting, ...] = (
    Setting("es_delay_s", "setESDelay", "set_es_delay", -2),
    Setting("es_high_freq_hz", "setESHighFreq", "set_es_high_freq", -2),
    Setting("es_high_volt_pct", "setESHighVolt", "set_es_high_volt", -2),
    Setting("es_low_freq_hz", "setESLowFreq", "set_es_low_freq", -2),
    Setting("es_low_volt_pct", "setESLowVolt", "set_es_low_volt", -2),
    Setting("es_ramp_s", "setESRampTms", "set_es_ramp_tms", -2),
    Setting("es_random_delay_s", "setESRandomDelay", "set_es_random_delay", -2),
    Setting("grad_w_pct_per_s", "setGradW", "set_grad_w", -2),
    Setting("soft_grad_w_pct_per_s", "setSoftGradW", "set_soft_grad_w", -2),
)
"""What only a default carries."""

MAPPING: Mapping[str, str] = {mode.function: mode.element for mode in MODES} | {
    setting.function: setting.element for setting in SETTINGS
}
"""Canonical name to element name, for the generated documentation and the tests against the schema."""

BY_FUNCTION = {mode.function: mode for mode in MODES}
_SETTING_OF = {setting.function: setting for setting in SETTINGS}
_SINCE = {row.field: row.mark.since for row in rows_of(DERControlBase) if isinstance(row.mark, Element)}


def modes_bitmap(functions: frozenset[str]) -> int:
    """Give modesSupported for a set of functions."""
    return sum(1 << mode.bit for mode in MODES if mode.bit is not None and mode.function in functions)


def functions_of_bitmap(bitmap: int) -> frozenset[str]:
    """Give the functions of a modesSupported bitmap."""
    return frozenset(mode.function for mode in MODES if mode.bit is not None and bitmap >> mode.bit & 1)


def write_base(
    setpoints: model.Setpoints,
    curve_href: CurveHref,
    *,
    ramp_time_s: Decimal | None = None,
    edition: Edition = Edition.IEEE_2018,
) -> DERControlBase:
    """Write setpoints as a DERControlBase; settings of a default are not part of it.

    Raises: Unsupported for a function that the edition has no element for, or a value that does not fit its element.
    """
    elements: dict[str, Any] = {}  # Any: one wire type per form
    for name, value in setpoints.items():
        if name in _SETTING_OF:
            continue
        mode = BY_FUNCTION.get(name)
        if mode is None or not includes(edition, _SINCE[mode.attribute]):
            raise Unsupported(f"IEEE 2030.5 (edition {edition}) has no element for {name}")
        elements[mode.attribute] = _write(mode, value, curve_href)
    if ramp_time_s is not None:
        elements["ramp_tms"] = _scaled(DERControlBase, "ramp_tms", ramp_time_s, -2)
    return DERControlBase(**elements)


def read_base(base: DERControlBase, curve_at: CurveAt) -> model.Setpoints:
    """Read setpoints from a DERControlBase.

    Raises: PeerError when a curve that is linked could not be had.
    """
    found: dict[str, model.Value] = {}
    for mode in MODES:
        element: Any = getattr(base, mode.attribute)  # Any: one wire type per form; the names are those of the rows
        if element is not None:
            found[mode.function] = _read(mode, element, curve_at)
    return model.Setpoints.of(found)


def write_settings(setpoints: model.Setpoints) -> dict[str, int]:
    """Give the setting attributes of a DefaultDERControl.

    Raises: Unsupported for a value that does not fit its element.
    """
    found = {}
    for setting in SETTINGS:
        value = setpoints.get(setting.function)
        if isinstance(value, Decimal):
            found[setting.attribute] = _scaled(DefaultDERControl, setting.attribute, value, setting.exponent)
    return found


def read_default(default: DefaultDERControl, curve_at: CurveAt) -> model.Setpoints:
    """Read setpoints and settings from a DefaultDERControl.

    Raises: PeerError when a curve that is linked could not be had.
    """
    found = dict(read_base(default.der_control_base, curve_at))
    for setting in SETTINGS:
        number: int | None = getattr(default, setting.attribute)  # the names are those of the rows
        if number is not None:
            found[setting.function] = from_scale(number, setting.exponent)
    return model.Setpoints.of(found)


def _scaled(owner: type[Value], attribute: str, value: Decimal, exponent: int) -> int:
    """Give the integer of an element of fixed resolution, within the bounds of its row."""
    row = next(row for row in rows_of(owner) if row.field == attribute)
    assert isinstance(row.kind, Integer)
    return bounded(value, exponent, row.kind.low, row.kind.high, row.name)


def _write(mode: Mode, value: model.Value, curve_href: CurveHref) -> bool | int | msgspec.Struct:
    match mode.form, value:
        case Form.FLAG, bool():
            return value
        case Form.PERCENT, Decimal():
            return _scaled(DERControlBase, mode.attribute, value, -2)
        case Form.WATTS, Decimal():
            number, power = fitted(value, low=-(2**15), high=2**15 - 1)
            return objects.ActivePower(multiplier=power, value=number)
        case Form.VARS, Decimal():
            number, power = fitted(value, low=-(2**15), high=2**15 - 1)
            return objects.ReactivePower(multiplier=power, value=number)
        case Form.POWER_FACTOR, model.PowerFactor():
            number, power = fitted(value.displacement, low=0, high=2**16 - 1)
            return objects.PowerFactorWithExcitation(displacement=number, excitation=value.absorbing, multiplier=power)
        case Form.FIXED_VAR, model.FixedVar():
            share = _scaled(objects.FixedVar, "value", value.value_pct, -2)
            return objects.FixedVar(ref_type=value.reference.value, value=share)
        case Form.DROOP, model.Droop():
            return FreqDroopType(
                dbof=_scaled(FreqDroopType, "dbof", value.dead_band_over_hz, -3),
                dbuf=_scaled(FreqDroopType, "dbuf", value.dead_band_under_hz, -3),
                kof=_scaled(FreqDroopType, "kof", value.slope_over, -3),
                kuf=_scaled(FreqDroopType, "kuf", value.slope_under, -3),
                open_loop_tms=_scaled(FreqDroopType, "open_loop_tms", value.open_loop_s, -2),
            )
        case Form.CURVE, model.Curve():
            return objects.Link(href=curve_href(value))
    raise Unsupported(f"{type(value).__name__} {value} is no value for {mode.element}")


def _read(mode: Mode, element: Any, curve_at: CurveAt) -> model.Value:  # Any: one wire type per form
    match mode.form:
        case Form.FLAG:
            return bool(element)
        case Form.PERCENT:
            return from_scale(element, -2)
        case Form.WATTS | Form.VARS:
            return from_scale(element.value, element.multiplier)
        case Form.POWER_FACTOR:
            displacement = from_scale(element.displacement, element.multiplier)
            return model.PowerFactor(displacement=displacement, absorbing=element.excitation)
        case Form.FIXED_VAR:
            try:
                reference = model.Reference(element.ref_type)
            except ValueError as error:
                raise PeerError(f"{element.ref_type} is no DERUnitRefType", path=f"{mode.element}/refType") from error
            return model.FixedVar(value_pct=from_scale(element.value, -2), reference=reference)
        case Form.DROOP:
            return model.Droop(
                dead_band_over_hz=from_scale(element.dbof, -3),
                dead_band_under_hz=from_scale(element.dbuf, -3),
                slope_over=from_scale(element.kof, -3),
                slope_under=from_scale(element.kuf, -3),
                open_loop_s=from_scale(element.open_loop_tms, -2),
            )
        case Form.CURVE:
            curve = curve_at(element.href)
            if curve is None:
                raise PeerError(f"the curve at {element.href} could not be read", path=mode.element)
            return curve
