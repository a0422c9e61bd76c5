"""The register image of an inverter of models 1 and 701 to 713, as it leaves the factory.

Settings are the defaults of IEEE 1547-2018 for categories B and III; points that would have no effect are not implemented. Adding a model is one entry in `standard_models`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tierline.protocols.sunspec.codec import Layout, Value, compile_layout
from tierline.protocols.sunspec.image import BASE, RegisterImage

POINTS: Final = 10
"""Points of a stored curve; a DERCurve has at most 10 (IEEE 2030.5-2018, CurveData)."""
TRIP_POINTS: Final = 5
"""Points of a trip curve: three levels, as steps."""
CURVES: Final = 3
"""Stored curves: the active one and two to write."""
_ACTIVE_AND_SPARE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class InverterType:
    """What an inverter says of itself."""

    manufacturer: str
    """1.Mn."""
    model: str
    """1.Md."""
    serial: str
    """1.SN. Label: identity."""
    version: str = "1.0"
    """1.Vr."""
    rated_w: Decimal
    """Active power at unity power factor."""
    rated_va: Decimal
    """Apparent power."""
    rated_var: Decimal
    """Reactive power, injected and absorbed."""
    v_nom: Decimal = Decimal(240)
    """Nominal voltage, in the sense of `phases`: line to neutral."""
    phases: int = 1
    """1 or 3."""
    charge_w: Decimal = Decimal(0)
    """The largest charging power of a storage; 0 for none."""
    capacity_wh: Decimal = Decimal(0)
    """The energy of a storage; 0 for none, and then there is no model 713."""
    curve_points: int = POINTS
    """Points of a stored volt-var or volt-watt curve: at least the four that IEEE 1547-2018 5.3.3 asks for."""


def power_exponent(rated: Decimal) -> int:
    """Choose the finest scale factor with which 1.5 times a rating fits a signed register."""
    exponent = -3
    while rated * Decimal("1.5") > Decimal(32767).scaleb(exponent):
        exponent += 1
    return exponent


def standard_image(kind: InverterType, *, base: int = BASE) -> RegisterImage:
    """Make the image of an inverter with every model of `standard_models`."""
    return RegisterImage(standard_models(kind), base=base)


def standard_models(kind: InverterType) -> list[tuple[Layout, Mapping[str, Value]]]:
    """List the models of an inverter with their first values, in the order of the registers."""
    curves = {"NPt": POINTS, "NCrv": CURVES}
    over_voltage = curves | {"NPt": kind.curve_points}
    sets = {"NPt": TRIP_POINTS, "NCrvSet": _ACTIVE_AND_SPARE}
    models: list[tuple[Layout, Mapping[str, Value]]] = [
        (compile_layout(1), _common(kind)),
        (compile_layout(701), _measured(kind)),
        (compile_layout(702), _capacity(kind)),
        (compile_layout(703), _ENTER_SERVICE),
        (compile_layout(704), _controls(kind)),
        (compile_layout(705, over_voltage), _stored(_VOLT_VAR_SCALES, _VOLT_VAR, kind.curve_points)),
        (compile_layout(706, over_voltage), _stored(_VOLT_WATT_SCALES, _VOLT_WATT, kind.curve_points)),
        *((compile_layout(trip.model_id, sets), _trip_sets(trip)) for trip in _TRIPS),
        (compile_layout(711, {"NCtl": _ACTIVE_AND_SPARE}), _droop()),
        (compile_layout(712, curves), _stored(_WATT_VAR_SCALES, _WATT_VAR, POINTS)),
    ]
    if kind.capacity_wh:
        models.append((compile_layout(713), _storage(kind)))
    return models


def _common(kind: InverterType) -> dict[str, Value]:
    return {
        "Mn": kind.manufacturer,
        "Md": kind.model,
        "Vr": kind.version,
        "SN": kind.serial,
        "DA": 1,
    }


def _measured(kind: InverterType) -> dict[str, Value]:
    power = power_exponent(kind.rated_va)
    values: dict[str, Value] = {
        "ACType": 2 if kind.phases == 3 else 0,
        "St": 0,
        "InvSt": 0,
        "ConnSt": 0,
        "Alrm": 0,
        "DERMode": 1,
        "A_SF": -2,
        "V_SF": -1,
        "Hz_SF": -3,
        "W_SF": power,
        "PF_SF": -3,
        "VA_SF": power,
        "Var_SF": power,
        "TotWh_SF": 0,
        "TotVarh_SF": 0,
        "Tmp_SF": -1,
    }
    zero = Decimal(0)
    values |= dict.fromkeys(("W", "VA", "Var", "A", "LNV", "Hz", "TotWhInj", "TotWhAbs", "VL1"), zero)
    if kind.phases == 3:
        values |= dict.fromkeys(("LLV", "VL2", "VL3", "VL1L2", "VL2L3", "VL3L1"), zero)
    return values


def _capacity(kind: InverterType) -> dict[str, Value]:
    power = power_exponent(kind.rated_va)
    watts, volts = kind.rated_w, kind.v_nom
    amperes = (kind.rated_va / volts / kind.phases).quantize(Decimal("0.1"))
    values: dict[str, Value] = {"W_SF": power, "PF_SF": -3, "VA_SF": power, "Var_SF": power, "V_SF": -1, "A_SF": -1}
    values |= {
        "WMaxRtg": watts,
        "VAMaxRtg": kind.rated_va,
        "VarMaxInjRtg": kind.rated_var,
        "VarMaxAbsRtg": kind.rated_var,
        "WChaRteMaxRtg": kind.charge_w,
        "WDisChaRteMaxRtg": watts if kind.charge_w else Decimal(0),
        "VNomRtg": volts,
        "VMaxRtg": volts * Decimal("1.2"),
        "VMinRtg": volts * Decimal("0.5"),
        "AMaxRtg": amperes,
        # Category B and III (IEEE 1547-2018, 1.4).
        "NorOpCatRtg": 1,
        "AbnOpCatRtg": 2,
        # All modes of the published bit field but dynamic reactive current (6) and schedules (11).
        "CtrlModes": 0x3FFF & ~(1 << 6 | 1 << 11),
    }
    values |= {
        "WMax": watts,
        "VAMax": kind.rated_va,
        "VarMaxInj": kind.rated_var,
        "VarMaxAbs": kind.rated_var,
        "WChaRteMax": kind.charge_w,
        "WDisChaRteMax": watts if kind.charge_w else Decimal(0),
        "VNom": volts,
        "VMax": volts * Decimal("1.2"),
        "VMin": volts * Decimal("0.5"),
        "AMax": amperes,
    }
    return values


# IEEE 1547-2018, table 4 (enter service criteria) and 4.10.3.
_ENTER_SERVICE: Final[Mapping[str, Value]] = {
    "ES": 1,
    "ESVHi": Decimal("105.0"),
    "ESVLo": Decimal("91.7"),
    "ESHzHi": Decimal("60.1"),
    "ESHzLo": Decimal("59.5"),
    "ESDlyTms": 300,
    "ESRndTms": 0,
    "ESRmpTms": 300,
    "ESDlyRemTms": 0,
    "V_SF": -2,
    "Hz_SF": -2,
}


def _controls(kind: InverterType) -> dict[str, Value]:
    power = min(0, power_exponent(kind.rated_va))
    values: dict[str, Value] = {
        "PF_SF": -3,
        "WMaxLimPct_SF": -2,
        "WSet_SF": power,
        "WSetPct_SF": -2,
        "VarSet_SF": power,
        "VarSetPct_SF": -2,
        "WMaxLimPct": Decimal(100),
        "WMaxLimPctRvrt": Decimal(100),
        "WSetMod": 0,
        "VarSetMod": 1,
        "VarSetPri": 1,
        "WRmp": 100,
        "WRmpRef": 1,
        "AntiIslEna": 1,
    }
    for function in ("PFWInj", "PFWAbs", "WMaxLimPct", "WSet", "VarSet"):
        values |= {f"{function}Ena": 0, f"{function}EnaRvrt": 0, f"{function}RvrtTms": 0, f"{function}RvrtRem": 0}
    values |= dict.fromkeys(
        ("WSet", "WSetRvrt", "WSetPct", "WSetPctRvrt", "VarSet", "VarSetRvrt", "VarSetPct", "VarSetPctRvrt"), Decimal(0)
    )
    for group in ("PFWInj", "PFWInjRvrt", "PFWAbs", "PFWAbsRvrt"):
        values |= {f"{group}.PF": Decimal(1), f"{group}.Ext": 1}
    return values


Points = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    x: str
    y: str
    points: Points
    extras: Mapping[str, Value]


def _stored(scales: Mapping[str, Value], curve: _Stored, room: int) -> dict[str, Value]:
    """Fill the active curve and every stored one alike; the first is read-only."""
    values: dict[str, Value] = {"Ena": 0, "AdptCrvReq": 0, "AdptCrvRslt": 1, **scales}
    for index in range(CURVES):
        prefix = f"Crv[{index}]."
        values[f"{prefix}ReadOnly"] = 1 if index == 0 else 0
        values |= {f"{prefix}{path}": value for path, value in curve.extras.items()}
        values |= _points(prefix, (curve.x, curve.y), curve.points, room)
    return values


def _points(prefix: str, axes: tuple[str, str], points: Points, room: int) -> dict[str, Value]:
    values: dict[str, Value] = {f"{prefix}ActPt": len(points)}
    for place in range(room):
        for axis, number in zip(axes, points[place] if place < len(points) else ("0", "0"), strict=True):
            values[f"{prefix}Pt[{place}].{axis}"] = Decimal(number)
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trip:
    model_id: int
    quantity: str
    scale: int
    must: Points
    """Quantity and time."""
    cessation: Points = ()


def _trip_sets(trip: _Trip) -> dict[str, Value]:
    """Fill the active set and the spare one alike; frequency has no momentary cessation."""
    values: dict[str, Value] = {"Ena": 1, "AdptCrvReq": 0, "AdptCrvRslt": 1}
    values |= {f"{trip.quantity}_SF": trip.scale, "Tms_SF": -3}
    parts = {"MustTrip.": trip.must, "MayTrip.": ()} | ({"MomCess.": trip.cessation} if trip.cessation else {})
    for index in range(_ACTIVE_AND_SPARE):
        prefix = f"Crv[{index}]."
        values[f"{prefix}ReadOnly"] = 1 if index == 0 else 0
        for part, points in parts.items():
            values |= _points(prefix + part, (trip.quantity, "Tms"), points, TRIP_POINTS)
    return values


# The models of stored curves have no reversion timers here; those of 704 have.
_VOLT_VAR_SCALES: Final[Mapping[str, Value]] = {
    "V_SF": -2,
    "DeptRef_SF": -2,
    "RspTms_SF": -1,
}
# IEEE 1547-2018, table 8, category B.
_VOLT_VAR: Final = _Stored(
    x="V",
    y="Var",
    points=(("92", "44"), ("98", "0"), ("102", "0"), ("108", "-44")),
    extras={
        "DeptRef": 1,
        "Pri": 1,
        "VRef": Decimal(100),
        "VRefAuto": Decimal(100),
        "VRefAutoEna": 0,
        "VRefAutoTms": 300,
        "RspTms": Decimal(5),
    },
)
_VOLT_WATT_SCALES: Final = _VOLT_VAR_SCALES
# IEEE 1547-2018, table 10, category B.
_VOLT_WATT: Final = _Stored(
    x="V",
    y="W",
    points=(("106", "100"), ("110", "0")),
    extras={"DeptRef": 0, "RspTms": Decimal(10)},
)
_WATT_VAR_SCALES: Final[Mapping[str, Value]] = {"W_SF": -2, "DeptRef_SF": -2}
# IEEE 1547-2018, table 9, category B.
_WATT_VAR: Final = _Stored(
    x="W",
    y="Var",
    points=(("-100", "44"), ("-50", "0"), ("-20", "0"), ("20", "0"), ("50", "0"), ("100", "-44")),
    extras={"DeptRef": 1, "Pri": 1},
)
# IEEE 1547-2018, tables 13 and 16 (voltage, category III) and 18 (frequency), as steps: a level holds from its time on.
_TRIPS: Final = (
    _Trip(
        model_id=707,
        quantity="V",
        scale=-2,
        must=(("50", "2"), ("50", "21"), ("88", "21")),
        cessation=(("50", "0.083"),),
    ),
    _Trip(
        model_id=708,
        quantity="V",
        scale=-2,
        must=(("120", "0.16"), ("120", "13"), ("110", "13")),
        cessation=(("110", "0.083"),),
    ),
    _Trip(model_id=709, quantity="Hz", scale=-2, must=(("56.5", "0.16"), ("56.5", "300"), ("58.5", "300"))),
    _Trip(model_id=710, quantity="Hz", scale=-2, must=(("62", "0.16"), ("62", "300"), ("61.2", "300"))),
)


def _droop() -> dict[str, Value]:
    values: dict[str, Value] = {
        "Ena": 1,
        "AdptCtlReq": 0,
        "AdptCtlRslt": 1,
        "Db_SF": -3,
        "K_SF": -3,
        "RspTms_SF": -1,
    }
    for index in range(_ACTIVE_AND_SPARE):
        # IEEE 1547-2018, table 24.
        values |= {
            f"Ctl[{index}].DbOf": Decimal("0.036"),
            f"Ctl[{index}].DbUf": Decimal("0.036"),
            f"Ctl[{index}].KOf": Decimal("0.05"),
            f"Ctl[{index}].KUf": Decimal("0.05"),
            f"Ctl[{index}].RspTms": Decimal(5),
            f"Ctl[{index}].PMin": 0,
            f"Ctl[{index}].ReadOnly": 1 if index == 0 else 0,
        }
    return values


def _storage(kind: InverterType) -> dict[str, Value]:
    return {
        "WHRtg": kind.capacity_wh,
        "WHAvail": kind.capacity_wh / 2,
        "SoC": Decimal(50),
        "SoH": Decimal(100),
        "Sta": 0,
        "WH_SF": power_exponent(kind.capacity_wh),
        "Pct_SF": -1,
    }
