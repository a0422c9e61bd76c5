"""One simulated inverter: SunSpec registers in front of one row of the plant's arrays.

The rule: what the registers offer acts on the plant, and what would not act is not offered. At the start the plant takes
over what the registers say, so both agree from then on.
"""

from __future__ import annotations

import math
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from tierline.node import field_trips
from tierline.plant.inverter import InverterStatus
from tierline.protocols.sunspec.device import InverterType, standard_models
from tierline.protocols.sunspec.image import RegisterImage
from tierline.protocols.sunspec.inverter import Adopted, Changed, SunSpecInverter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tierline.model.topology import ServicePoint
    from tierline.plant.inverter import Settings
    from tierline.plant.site import Plant
    from tierline.protocols.sunspec.codec import Block, Value
    from tierline.protocols.sunspec.inverter import Change

MODELS: Final = frozenset({1, *range(701, 713)})
"""What the inverters offer."""

V_NOM: Final = Decimal(277)
"""Nominal voltage, line to neutral [V]: 480Y/277, usual for three-phase inverters of this size in North America."""

_VAR_SHARE: Final = Decimal("0.44")
"""Reactive over apparent power of category B. Source: IEEE 1547-2018 table 7."""

_W_MAX, _VAR_MAX, _VAR_AVAILABLE, _VA_MAX, _VARS = range(5)
"""What a reactive power refers to: 704 VarSetMod, and DeptRef of 705 and 712."""
_REACTIVE: Final = 1
"""VarSetPri and Pri: reactive power first."""

_UNUSED: Final[Mapping[int, tuple[str, ...]]] = {
    702: ("VNom", "VMax", "VMin", "AMax", "WChaRteMaxRtg", "WDisChaRteMaxRtg", "WChaRteMax", "WDisChaRteMax"),
    704: ("WRmpRef", "AntiIslEna"),
}
"""Points that the plant does not know; those of constant power factor when absorbing go too: it only generates."""

_MODES: Final = sum(1 << bit for bit in (0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13))
"""702 CtrlModes: all but dynamic reactive current and schedules."""

_OVER_FREQUENCY, _UNDER_FREQUENCY, _OVER_VOLTAGE, _UNDER_VOLTAGE = (1 << bit for bit in (8, 9, 10, 11))
"""Bits of 701 Alrm."""

_STORED: Final = ("Crv[1]", "Crv[2]", "Ctl[1]", "Adpt")
"""How the paths begin that act only once they are adopted."""

_RATED: Final[Mapping[str, str]] = {
    "WMax": "WMaxRtg",
    "VAMax": "VAMaxRtg",
    "VarMaxInj": "VarMaxInjRtg",
    "VarMaxAbs": "VarMaxAbsRtg",
}
"""Settings of 702 and the ratings that bound them."""


def inverter_type(point: ServicePoint, *, oversize: float) -> InverterType:
    """Describe the inverter at a service point.

    Units: `oversize` is apparent over active power.
    """
    apparent = point.p_w * Decimal(str(oversize))
    return InverterType(
        manufacturer="tierline",
        model="Simulated PV",
        serial=point.id,
        rated_w=point.p_w,
        rated_va=apparent,
        rated_var=apparent * _VAR_SHARE,
        v_nom=V_NOM,
        phases=3,
    )


def make_image(kind: InverterType) -> RegisterImage:
    """Make the registers of an inverter: those that the plant acts on, and what it measures."""
    models = [(layout, values) for layout, values in standard_models(kind) if layout.model_id in MODELS]
    return RegisterImage([(layout, _offered(layout.model_id, values)) for layout, values in models])


def rating_w(point: ServicePoint, *, oversize: float) -> float:
    """Tell WMax of the inverter at a service point, as its register holds it [W]."""
    return float(make_image(inverter_type(point, oversize=oversize)).block(702).number("WMax") or 0)


def _offered(model_id: int, values: Mapping[str, Value]) -> dict[str, Value]:
    offered = dict(values)
    for path in values:
        if path in _UNUSED.get(model_id, ()) or path.startswith("PFWAbs"):
            offered[path] = None
        elif path.startswith(_STORED[:2]) and not path.endswith("ReadOnly"):
            offered[path] = 0  # nothing is stored there yet
    if model_id in {705, 712}:
        # The defaults of IEEE 1547-2018 tables 8 and 9 are in % of rated apparent power.
        offered["Crv[0].DeptRef"] = _VA_MAX
    if model_id == 702:
        offered |= {"CtrlModes": _MODES, "AbnOpCatRtg": 2}  # trips as category III
    return offered


class FieldInverter:
    """The device behind one listener."""

    def __init__(self, plant: Plant, row: int) -> None:
        self._plant = plant
        self._row = row
        self._changed: set[int] = set()
        kind = inverter_type(plant.grid.service_points[row], oversize=plant.setup.oversize)
        self.device = SunSpecInverter(make_image(kind), on_change=self._note, accepts=self._accepts)
        """Its registers and their rules."""
        measured = self.device.image.models[701]
        self.measured = range(measured.address, measured.end)
        """The registers of its measurements, which change by themselves."""
        for model_id in (*_TAKERS, *field_trips.SIDES):
            self._take_over(model_id)

    def read(self, address: int, count: int) -> bytes:
        """Give registers, the measurements as of the last step.

        Raises: ModbusFault.
        """
        if address < self.measured.stop and self.measured.start < address + count:
            self._measure()
        return self.device.read(address, count)

    def write(self, address: int, data: bytes) -> None:
        """Take a write whole or not at all; it acts from the next step on.

        Raises: ModbusFault.
        """
        self.device.write(address, data)
        self._take_changes()

    def tick(self, elapsed_s: float) -> None:
        """Let the reversion timers run."""
        self.device.tick(elapsed_s)
        self._take_changes()

    def _accepts(self, change: Change) -> bool:
        match change:
            case Changed(path="AdptCrvReq" | "AdptCtlReq"):
                return True
            case Changed(model_id=702, path=path, value=Decimal() as value) if path in _RATED:
                return 0 < value <= (self.device.image.block(702).number(_RATED[path]) or 0)
            case Changed(model_id=704, path=path, value=value) if path.endswith(".PF"):
                return value is not None and Decimal(value) > 0
            case Changed(model_id=706, path=path, value=value) if path.endswith("DeptRef"):
                return value == 0  # the plant's volt-watt is in % of WMax
            case Changed(model_id=711, path=path, value=value) if path.endswith("PMin"):
                return value == 0  # the plant's droop ends where its units cannot generate less
            case Changed(path=path, value=value) if path.endswith("Pri"):
                return value in {0, _REACTIVE}
            case Changed(model_id=model_id, path="Ena", value=value) if model_id in field_trips.SIDES:
                return value == 1  # a protection is adjusted, never switched off
            case Adopted(model_id=model_id, values=values) if model_id in field_trips.SIDES:
                return field_trips.may_be_adopted(model_id, values)
            case Adopted(model_id=711, values=values):
                return all(values[path] for path in ("KOf", "KUf"))
            case Adopted(model_id=model_id, values=values):
                x, y = _AXES[model_id]
                used = range(int(_number(values["ActPt"])))
                return _is_curve([(_number(values[f"Pt[{k}].{x}"]), _number(values[f"Pt[{k}].{y}"])) for k in used])
            case _:
                return True

    def _note(self, change: Change) -> None:
        """Remember which model has changed in what is in force; a stored curve is not."""
        if isinstance(change, Adopted) or not change.path.startswith(_STORED):
            self._changed.add(change.model_id)

    def _take_changes(self) -> None:
        while self._changed:
            self._take_over(self._changed.pop())

    def _take_over(self, model_id: int) -> None:
        """Let the plant act on what a model says now."""
        image, settings = self.device.image, self._plant.fleet.settings
        if model_id in field_trips.SIDES:
            field_trips.take_over(settings.service, self._row, model_id, self.device.active(model_id))
        taker = _TAKERS.get(model_id)
        if taker is None:
            return
        taker(settings, self._row, image.block(model_id))
        if model_id == 702:  # curves and set-points refer to it
            for other in (704, 705, 712):
                _TAKERS[other](settings, self._row, image.block(other))
        if model_id in {702, 704, 705, 712}:
            settings.watt_priority[self._row] = not self._is_reactive_first()

    def _is_reactive_first(self) -> bool:
        """Tell which power yields, as the function in charge of reactive power says it."""
        image, settings, row = self.device.image, self._plant.fleet.settings, self._row
        if settings.vv_ena[row]:
            return image.block(705).code("Crv[0].Pri") == _REACTIVE
        if settings.wv_ena[row]:
            return image.block(712).code("Crv[0].Pri") == _REACTIVE
        if settings.var_set_ena[row]:
            return image.block(704).code("VarSetPri") == _REACTIVE
        return not self._plant.setup.watt_priority

    def _measure(self) -> None:
        """Put what the last step gave into the registers."""
        plant, row = self._plant, self._row
        state = plant.fleet.state
        service = state.service
        p_w, q_var, v_pu = float(state.p_w[row]), float(state.q_var[row]), float(plant.flow.v_pu[row])
        apparent = math.hypot(p_w, q_var)
        volts = v_pu * float(V_NOM)
        status = int(plant.fleet.status()[row])
        values: dict[str, float | Decimal | None] = {
            "W": p_w,
            "Var": q_var,
            "VA": apparent,
            # Its sign is that of active power (SunSpec 701 PF): always positive here.
            "PF": p_w / apparent if apparent > 0 else 1.0,
            "A": apparent / volts / 3 if volts > 0 else 0.0,
            "Hz": plant.frequency_hz,
            "TotWhInj": float(state.energy_wh[row]),
            "St": int(bool(service.in_service[row])),
            "InvSt": status,
            "ConnSt": int(bool(service.in_service[row])),
            "Alrm": self._alarms() if status == InverterStatus.FAULT else 0,
            "DERMode": 1,  # grid following
        }
        values |= dict.fromkeys(("LNV", "VL1", "VL2", "VL3"), volts)
        values |= dict.fromkeys(("LLV", "VL1L2", "VL2L3", "VL3L1"), volts * math.sqrt(3))
        self.device.set_measurements(values)
        waits_s = (
            0.0 if service.in_service[row] else float(plant.fleet.settings.service.es_dly_s[row] - service.good_s[row])
        )
        self.device.set_measurements({"ESDlyRemTms": math.ceil(max(0.0, waits_s))}, model_id=703)

    def _alarms(self) -> int:
        """Say what keeps a tripped unit out."""
        plant, row = self._plant, self._row
        limits, v_pu = plant.fleet.settings.service, plant.flow.v_pu[row]
        bits = _OVER_VOLTAGE if v_pu > limits.es_v_hi_pu[row] else 0
        bits |= _UNDER_VOLTAGE if v_pu < limits.es_v_lo_pu[row] else 0
        bits |= _OVER_FREQUENCY if plant.frequency_hz > limits.es_hz_hi[row] else 0
        return bits | (_UNDER_FREQUENCY if plant.frequency_hz < limits.es_hz_lo[row] else 0)


def _number(value: Value) -> float:
    return 0.0 if value is None or isinstance(value, str) else float(value)


def _read(block: Block, path: str) -> float:
    return _number(block.value(path))


def _is_curve(points: list[tuple[float, float]]) -> bool:
    """Tell whether the plant can follow it: two points or more, from left to right, without a step."""
    return len(points) >= 2 and all(x1 > x0 or (x1 == x0 and y1 == y0) for (x0, y0), (x1, y1) in pairwise(points))


def _points(block: Block, x: str, y: str, y_scale: float) -> list[tuple[float, float]]:
    number = int(_read(block, "Crv[0].ActPt"))
    return [
        (_read(block, f"Crv[0].Pt[{k}].{x}") * 0.01, _read(block, f"Crv[0].Pt[{k}].{y}") * 0.01 * y_scale)
        for k in range(number)
    ]


def _var_scale(settings: Settings, row: int, reference: int) -> float:
    """Turn a share of what a reactive percentage refers to into a share of VAMax."""
    base = {
        _W_MAX: settings.w_max_w,
        _VAR_MAX: settings.var_max_inj_var,
        # A unit of category B keeps this much whatever active power it generates (IEEE 1547-2018 5.2).
        _VAR_AVAILABLE: settings.var_max_inj_var,
        _VA_MAX: settings.va_max_va,
    }[reference]
    return float(base[row] / settings.va_max_va[row])


def _take_702(settings: Settings, row: int, block: Block) -> None:
    settings.w_max_w[row] = _read(block, "WMax")
    settings.va_max_va[row] = _read(block, "VAMax")
    settings.var_max_inj_var[row] = _read(block, "VarMaxInj")
    settings.var_max_abs_var[row] = _read(block, "VarMaxAbs")


def _take_703(settings: Settings, row: int, block: Block) -> None:
    service = settings.service
    service.es[row] = block.code("ES") == 1
    service.es_v_hi_pu[row] = _read(block, "ESVHi") * 0.01
    service.es_v_lo_pu[row] = _read(block, "ESVLo") * 0.01
    service.es_hz_hi[row] = _read(block, "ESHzHi")
    service.es_hz_lo[row] = _read(block, "ESHzLo")
    service.es_dly_s[row] = _read(block, "ESDlyTms")
    service.es_rnd_s[row] = _read(block, "ESRndTms")
    service.es_rmp_s[row] = _read(block, "ESRmpTms")


def _take_704(settings: Settings, row: int, block: Block) -> None:
    settings.w_max_lim_pct_ena[row] = block.code("WMaxLimPctEna") == 1
    settings.w_max_lim_pct[row] = _read(block, "WMaxLimPct")
    settings.w_set_ena[row] = block.code("WSetEna") == 1
    is_watts = block.code("WSetMod") == 1
    settings.w_set_pct[row] = (
        100.0 * _read(block, "WSet") / settings.w_max_w[row] if is_watts else _read(block, "WSetPct")
    )
    ramp = _read(block, "WRmp")
    settings.w_rmp_pct_s[row] = ramp if ramp > 0 else np.inf  # 0: no limit, as IEEE 2030.5 setGradW has it
    settings.pf_ena[row] = block.code("PFWInjEna") == 1
    settings.pf[row] = _read(block, "PFWInj.PF")
    settings.pf_inject[row] = block.code("PFWInj.Ext") == 0  # over-excited
    settings.var_set_ena[row] = block.code("VarSetEna") == 1
    mode = block.code("VarSetMod") or 0
    if mode == _VARS:
        settings.var_set_pct[row] = 100.0 * _read(block, "VarSet") / settings.va_max_va[row]
    else:
        settings.var_set_pct[row] = _read(block, "VarSetPct") * _var_scale(settings, row, mode)


def _take_705(settings: Settings, row: int, block: Block) -> None:
    settings.vv_ena[row] = block.code("Ena") == 1
    scale = _var_scale(settings, row, block.code("Crv[0].DeptRef") or 0)
    settings.vv_curve.adopt(row, _points(block, "V", "Var", scale))
    settings.vv_rsp_s[row] = _read(block, "Crv[0].RspTms")
    settings.vv_v_ref_pu[row] = _read(block, "Crv[0].VRef") * 0.01
    settings.vv_v_ref_auto_ena[row] = block.code("Crv[0].VRefAutoEna") == 1
    settings.vv_v_ref_auto_s[row] = _read(block, "Crv[0].VRefAutoTms")


def _take_706(settings: Settings, row: int, block: Block) -> None:
    settings.vw_ena[row] = block.code("Ena") == 1
    settings.vw_curve.adopt(row, _points(block, "V", "W", 1.0))
    settings.vw_rsp_s[row] = _read(block, "Crv[0].RspTms")


def _take_711(settings: Settings, row: int, block: Block) -> None:
    settings.fd_ena[row] = block.code("Ena") == 1
    settings.fd_db_of_hz[row] = _read(block, "Ctl[0].DbOf")
    settings.fd_db_uf_hz[row] = _read(block, "Ctl[0].DbUf")
    settings.fd_k_of[row] = _read(block, "Ctl[0].KOf")
    settings.fd_k_uf[row] = _read(block, "Ctl[0].KUf")
    settings.fd_rsp_s[row] = _read(block, "Ctl[0].RspTms")


def _take_712(settings: Settings, row: int, block: Block) -> None:
    settings.wv_ena[row] = block.code("Ena") == 1
    scale = _var_scale(settings, row, block.code("Crv[0].DeptRef") or 0)
    settings.wv_curve.adopt(row, _points(block, "W", "Var", scale))


_TAKERS: Final[Mapping[int, Callable[[Settings, int, Block], None]]] = {
    702: _take_702,
    703: _take_703,
    704: _take_704,
    705: _take_705,
    706: _take_706,
    711: _take_711,
    712: _take_712,
}
_AXES: Final[Mapping[int, tuple[str, str]]] = {705: ("V", "Var"), 706: ("V", "W"), 712: ("W", "Var")}
