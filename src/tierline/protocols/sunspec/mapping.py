"""Canonical names to SunSpec models and points: one row per function and point, nothing else.

A row exists only for what is carried out. SunSpec spellings stand here as strings, exactly as published; tests look each of
them up in the published definitions. Signs agree with the canonical model (generation and injection positive); excitation
`Ext` 1 is under-excited, absorbing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Final

from tierline.model.control import Reference


class Rank(IntEnum):
    """The order in which an apply writes: what restricts before what frees, and registers before curves.

    A curve takes seconds to be adopted, so nothing waits for one, but what frees for a curve that restricts active power.
    """

    CEASE = 0
    LIMIT = 1
    SETTING = 2
    RELEASE = 3
    ENGAGE = 4
    RESTRICT = 5
    FREE = 6
    PERMIT = 7
    ADOPT = 8


class Release(Enum):
    """What happens to a function that is no longer commanded."""

    DISABLE = "its enable point is set to 0"
    KEEP = "it stays: a setting, or a protection that must not be switched off because nobody commands it"
    PERMIT = "the permission is given back"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalarRow:
    """A function that is one number in one point."""

    name: str
    """The canonical function."""
    model_id: int
    """The model number."""
    path: str
    """The point that holds the number, in the same unit as the function."""
    enable: str = ""
    """The point that switches it on; empty for a setting."""
    mode: tuple[str, int] | None = None
    """A point that selects what the number means, and its value."""
    rank: Rank = Rank.ENGAGE
    """When it is written."""
    rounding: str = ROUND_HALF_EVEN
    """How a number is brought to the device's resolution; a limit is never rounded up."""
    release: Release = Release.DISABLE
    """What happens when it is no longer commanded."""
    timer: str = ""
    """The prefix of its reversion timer: of the points `RvrtTms` and `EnaRvrt`; empty where it has none."""

    @property
    def reversion(self) -> Mapping[str, str]:
        """The points of its values after a reversion, by the points of its values."""
        return {self.path: f"{self.path}Rvrt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionRow:
    """A function that is a permission."""

    name: str
    """The canonical function."""
    model_id: int
    """The model number."""
    path: str
    """The enumeration point: 0 forbidden, 1 permitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerFactorRow:
    """A function that is a power factor."""

    name: str
    """The canonical function."""
    model_id: int
    """The model number."""
    displacement: str
    """The point of the power factor."""
    excitation: str
    """The point of the excitation: 0 over-excited (injecting), 1 under-excited (absorbing)."""
    enable: str
    """The point that switches it on."""
    timer: str
    """The prefix of its reversion timer."""

    @property
    def reversion(self) -> Mapping[str, str]:
        """The points of its values after a reversion, by the points of its values."""
        return {path: path.replace(".", "Rvrt.") for path in (self.displacement, self.excitation)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedVarRow:
    """A function that is a reactive power in percent of something."""

    name: str
    """The canonical function."""
    model_id: int
    """The model number."""
    path: str
    """The point of the percentage."""
    reference: str
    """The point that says of what."""
    references: Mapping[Reference, int]
    """Its values."""
    enable: str
    """The point that switches it on."""
    timer: str
    """The prefix of its reversion timer."""

    @property
    def reversion(self) -> Mapping[str, str]:
        """The points of its values after a reversion, by the points of its values."""
        return {self.path: f"{self.path}Rvrt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveRow:
    """A function that is a stored curve, adopted as a whole."""

    name: str
    """The canonical function."""
    model_id: int
    """The model number."""
    x: str
    """The name of the canonical x in a point of the curve; ride-through curves have their axes swapped."""
    y: str
    """The name of the canonical y in a point of the curve."""
    part: str = ""
    """The prefix of the curve in its set, for example `MustTrip.`."""
    references: Mapping[Reference, int] | None = None
    """The values of `DeptRef`; None where the curve has no reference."""
    rank: Rank = Rank.ADOPT
    """When it is written."""
    release: Release = Release.DISABLE
    """What happens when it is no longer commanded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DroopRow:
    """A function that is a frequency droop, adopted as a whole."""

    name: str
    """The canonical function."""
    model_id: int
    """The model number."""


FunctionRow = ScalarRow | PermissionRow | PowerFactorRow | FixedVarRow | CurveRow | DroopRow

_W_REFERENCES: Final = MappingProxyType({Reference.SET_MAX_W: 0, Reference.STAT_W_AVAIL: 1})
_VAR_REFERENCES: Final = MappingProxyType(
    {Reference.SET_MAX_W: 0, Reference.SET_MAX_VAR: 1, Reference.STAT_VAR_AVAIL: 2}
)


def _setting(name: str, model_id: int, path: str) -> ScalarRow:
    return ScalarRow(name=name, model_id=model_id, path=path, rank=Rank.SETTING, release=Release.KEEP)


def _ride_through(name: str, model_id: int, part: str, quantity: str) -> CurveRow:
    return CurveRow(name=name, model_id=model_id, x="Tms", y=quantity, part=part, release=Release.KEEP)


FUNCTIONS: Final[tuple[FunctionRow, ...]] = (
    PermissionRow(name="energize", model_id=703, path="ES"),
    ScalarRow(
        name="max_lim_w_pct",
        model_id=704,
        path="WMaxLimPct",
        enable="WMaxLimPctEna",
        rank=Rank.LIMIT,
        rounding=ROUND_DOWN,
        timer="WMaxLimPct",
    ),
    ScalarRow(name="fixed_w_pct", model_id=704, path="WSetPct", enable="WSetEna", mode=("WSetMod", 0), timer="WSet"),
    ScalarRow(name="target_w", model_id=704, path="WSet", enable="WSetEna", mode=("WSetMod", 1), timer="WSet"),
    PowerFactorRow(
        name="fixed_pf_inject_w",
        model_id=704,
        displacement="PFWInj.PF",
        excitation="PFWInj.Ext",
        enable="PFWInjEna",
        timer="PFWInj",
    ),
    PowerFactorRow(
        name="fixed_pf_absorb_w",
        model_id=704,
        displacement="PFWAbs.PF",
        excitation="PFWAbs.Ext",
        enable="PFWAbsEna",
        timer="PFWAbs",
    ),
    FixedVarRow(
        name="fixed_var",
        model_id=704,
        path="VarSetPct",
        reference="VarSetMod",
        references=_VAR_REFERENCES,
        enable="VarSetEna",
        timer="VarSet",
    ),
    ScalarRow(
        name="target_var", model_id=704, path="VarSet", enable="VarSetEna", mode=("VarSetMod", 4), timer="VarSet"
    ),
    CurveRow(name="volt_var", model_id=705, x="V", y="Var", references=_VAR_REFERENCES),
    CurveRow(name="volt_watt", model_id=706, x="V", y="W", references=_W_REFERENCES, rank=Rank.RESTRICT),
    _ride_through("lvrt_must_trip", 707, "MustTrip.", "V"),
    _ride_through("lvrt_may_trip", 707, "MayTrip.", "V"),
    _ride_through("lvrt_momentary_cessation", 707, "MomCess.", "V"),
    _ride_through("hvrt_must_trip", 708, "MustTrip.", "V"),
    _ride_through("hvrt_may_trip", 708, "MayTrip.", "V"),
    _ride_through("hvrt_momentary_cessation", 708, "MomCess.", "V"),
    _ride_through("lfrt_must_trip", 709, "MustTrip.", "Hz"),
    _ride_through("lfrt_may_trip", 709, "MayTrip.", "Hz"),
    _ride_through("hfrt_must_trip", 710, "MustTrip.", "Hz"),
    _ride_through("hfrt_may_trip", 710, "MayTrip.", "Hz"),
    DroopRow(name="freq_droop", model_id=711),
    CurveRow(name="watt_var", model_id=712, x="W", y="Var", references=_VAR_REFERENCES),
    _setting("grad_w_pct_per_s", 704, "WRmp"),
    _setting("es_ramp_s", 703, "ESRmpTms"),
    _setting("es_delay_s", 703, "ESDlyTms"),
    _setting("es_random_delay_s", 703, "ESRndTms"),
    _setting("es_high_volt_pct", 703, "ESVHi"),
    _setting("es_low_volt_pct", 703, "ESVLo"),
    _setting("es_high_freq_hz", 703, "ESHzHi"),
    _setting("es_low_freq_hz", 703, "ESHzLo"),
)
"""Every canonical function that a SunSpec device can carry out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointRow:
    """One reading, state, rating or setting: canonical = sign x SunSpec + plus."""

    name: str
    """The canonical point."""
    model_id: int
    """The model number."""
    path: str
    """The SunSpec point, in the same unit."""
    sign: int = 1
    """-1 where the canonical point counts the other way."""
    plus: int = 0
    """What is added to a code whose numbers begin elsewhere."""


def _point(name: str, path: str, *, model_id: int = 702, sign: int = 1, plus: int = 0) -> PointRow:
    return PointRow(name=name, model_id=model_id, path=path, sign=sign, plus=plus)


def _measured(name: str, path: str) -> PointRow:
    return _point(name, path, model_id=701)


MEASUREMENTS: Final[tuple[PointRow, ...]] = (
    _measured("w", "W"),
    _measured("var", "Var"),
    _measured("va", "VA"),
    _measured("pf", "PF"),
    _measured("a", "A"),
    _measured("hz", "Hz"),
    _measured("v_an", "VL1"),
    _measured("v_bn", "VL2"),
    _measured("v_cn", "VL3"),
    _measured("v_ab", "VL1L2"),
    _measured("v_bc", "VL2L3"),
    _measured("v_ca", "VL3L1"),
    _measured("v_ln", "LNV"),
    _measured("v_ll", "LLV"),
    _measured("w_a", "WL1"),
    _measured("w_b", "WL2"),
    _measured("w_c", "WL3"),
    _measured("var_a", "VarL1"),
    _measured("var_b", "VarL2"),
    _measured("var_c", "VarL3"),
    _measured("a_a", "AL1"),
    _measured("a_b", "AL2"),
    _measured("a_c", "AL3"),
    _measured("wh_generated", "TotWhInj"),
    _measured("wh_absorbed", "TotWhAbs"),
    # States count from 0 in SunSpec and from 1 in the canonical model.
    _point("inverter_status", "InvSt", model_id=701, plus=1),
    _point("operational_mode", "St", model_id=701, plus=1),
    _point("connect_status", "ConnSt", model_id=701),
    _point("soc_pct", "SoC", model_id=713),
    _point("wh_stored", "WHAvail", model_id=713),
    # SunSpec has 0 remote, 1 local; the canonical model the reverse.
    _point("local_control_mode", "LocRemCtl", model_id=715, sign=-1, plus=1),
)
"""What is read again and again: measurements and states."""

NAMEPLATE: Final[tuple[PointRow, ...]] = (
    _point("rtg_max_w", "WMaxRtg"),
    _point("rtg_over_excited_w", "WOvrExtRtg"),
    _point("rtg_over_excited_pf", "WOvrExtRtgPF"),
    _point("rtg_under_excited_w", "WUndExtRtg"),
    _point("rtg_under_excited_pf", "WUndExtRtgPF"),
    _point("rtg_max_va", "VAMaxRtg"),
    _point("rtg_max_var", "VarMaxInjRtg"),
    _point("rtg_max_var_neg", "VarMaxAbsRtg", sign=-1),
    _point("rtg_max_charge_rate_w", "WChaRteMaxRtg"),
    _point("rtg_max_discharge_rate_w", "WDisChaRteMaxRtg"),
    _point("rtg_max_charge_rate_va", "VAChaRteMaxRtg"),
    _point("rtg_max_discharge_rate_va", "VADisChaRteMaxRtg"),
    _point("rtg_v_nom", "VNomRtg"),
    _point("rtg_max_v", "VMaxRtg"),
    _point("rtg_min_v", "VMinRtg"),
    _point("rtg_max_a", "AMaxRtg"),
    _point("rtg_min_pf_over_excited", "PFOvrExtRtg"),
    _point("rtg_min_pf_under_excited", "PFUndExtRtg"),
    _point("rtg_reactive_susceptance", "ReactSusceptRtg"),
    # Categories count from 0 in SunSpec and from 1 in the canonical model.
    _point("rtg_normal_category", "NorOpCatRtg", plus=1),
    _point("rtg_abnormal_category", "AbnOpCatRtg", plus=1),
    _point("rtg_max_wh", "WHRtg", model_id=713),
)
"""What the device is rated for."""

SETTINGS: Final[tuple[PointRow, ...]] = (
    _point("set_max_w", "WMax"),
    _point("set_over_excited_w", "WMaxOvrExt"),
    _point("set_over_excited_pf", "WOvrExtPF"),
    _point("set_under_excited_w", "WMaxUndExt"),
    _point("set_under_excited_pf", "WUndExtPF"),
    _point("set_max_va", "VAMax"),
    _point("set_max_var", "VarMaxInj"),
    _point("set_max_var_neg", "VarMaxAbs", sign=-1),
    _point("set_max_a", "AMax"),
    _point("set_max_charge_rate_w", "WChaRteMax"),
    _point("set_max_discharge_rate_w", "WDisChaRteMax"),
    _point("set_max_charge_rate_va", "VAChaRteMax"),
    _point("set_max_discharge_rate_va", "VADisChaRteMax"),
    _point("set_v_nom", "VNom"),
    _point("set_max_v", "VMax"),
    _point("set_min_v", "VMin"),
    _point("set_min_pf_over_excited", "PFOvrExt"),
    _point("set_min_pf_under_excited", "PFUndExt"),
)
"""What the device is adjusted to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRow:
    """One bit of 701.Alrm."""

    name: str
    """The canonical alarm."""
    symbol: str
    """Its SunSpec name; where several share a canonical alarm it stands in the details."""
    bit: int
    """Its bit number."""


ALARM_MODEL: Final = 701
"""The model of the alarms."""
ALARM_PATH: Final = "Alrm"
"""The point of the alarms."""

ALARMS: Final[tuple[AlarmRow, ...]] = (
    AlarmRow(name="alarm_hardware", symbol="GROUND_FAULT", bit=0),
    AlarmRow(name="alarm_hardware", symbol="DC_OVER_VOLT", bit=1),
    AlarmRow(name="alarm_hardware", symbol="AC_DISCONNECT", bit=2),
    AlarmRow(name="alarm_hardware", symbol="DC_DISCONNECT", bit=3),
    AlarmRow(name="alarm_hardware", symbol="GRID_DISCONNECT", bit=4),
    AlarmRow(name="alarm_hardware", symbol="CABINET_OPEN", bit=5),
    AlarmRow(name="alarm_emergency_local", symbol="MANUAL_SHUTDOWN", bit=6),
    AlarmRow(name="alarm_hardware", symbol="OVER_TEMP", bit=7),
    AlarmRow(name="alarm_over_frequency", symbol="OVER_FREQUENCY", bit=8),
    AlarmRow(name="alarm_under_frequency", symbol="UNDER_FREQUENCY", bit=9),
    AlarmRow(name="alarm_over_voltage", symbol="AC_OVER_VOLT", bit=10),
    AlarmRow(name="alarm_under_voltage", symbol="AC_UNDER_VOLT", bit=11),
    AlarmRow(name="alarm_hardware", symbol="BLOWN_STRING_FUSE", bit=12),
    AlarmRow(name="alarm_hardware", symbol="UNDER_TEMP", bit=13),
    AlarmRow(name="alarm_hardware", symbol="MEMORY_LOSS", bit=14),
    AlarmRow(name="alarm_hardware", symbol="HW_TEST_FAILURE", bit=15),
    AlarmRow(name="alarm_hardware", symbol="MANUFACTURER_ALRM", bit=16),
)
"""The alarms of a device; the bit positions are not those of IEEE 2030.5."""

HEARTBEAT_MODEL: Final = 715
"""The model of the heartbeats."""
HEARTBEAT_PATH: Final = "ControllerHb"
"""What the controller counts up each second."""

MODELS: Final = frozenset(
    {1} | {row.model_id for row in FUNCTIONS} | {row.model_id for row in (*MEASUREMENTS, *NAMEPLATE, *SETTINGS)}
)
"""The models that are spoken; others are stepped over."""
